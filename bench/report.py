"""The results as docs/performance.md shows them: tables between its two markers, and a plot beside the CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lseg_serve.bench.load_tables import clients_table, soak_table, workers_table
from lseg_serve.bench.markdown import difference, ms, ms_of_few, ratio, share, table
from lseg_serve.bench.origins import UNKNOWN, Origin, load_origins
from lseg_serve.bench.rows import RESULTS, Row, read_rows
from lseg_serve.bench.setting import PROJECT
from lseg_serve.bench.soak_samples import read_samples

PAGE = PROJECT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PLOT = "speed.svg"
_PATHS = ("naive", "float32", "bfloat16", "int8")


def write(results: Path = RESULTS, page: Path = PAGE) -> str:
    """Put the tables of `results` between the markers of `page`, write the plot, and return the tables.

    Raises:
        ValueError: the page lacks a marker.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: there is no {BEGIN} followed by {END}")
    tables = as_markdown(results)
    page.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")
    # Here and not at the top: matplotlib is installed for development alone.
    from lseg_serve.bench.plot import write_plot

    write_plot(plotted(results), results / PLOT)
    return tables


def as_markdown(results: Path) -> str:
    """Every table that there are results for: those of `results`, then those of its folders, one for each machine."""
    folders = [results, *sorted(path for path in results.iterdir() if path.is_dir())]
    lines = [line for folder in folders for line in _tables(folder)]
    return "\n".join(lines).rstrip()


def _tables(folder: Path) -> list[str]:
    origins = load_origins(folder)
    known = (
        "network",
        "products",
        "answers",
        "endpoint",
        "accurate",
        "overhead",
        "load",
        "scenes",
        "decoding",
        "cost",
        "masks",
        "kinds",
        "embeddings",
        "page",
    )
    rows = {name: read_rows(name, folder) for name in known}
    sections = [
        ("The network alone", ("network",), _network_table(rows["network"])),
        ("Linear layers by MKL and by oneDNN", ("products",), _products_table(rows["products"])),
        ("Requests", ("endpoint", "accurate"), _endpoint_table([*rows["endpoint"], *rows["accurate"]])),
        ("Where the time of a request goes", ("overhead",), _stage_table(rows["overhead"])),
        ("The same with a full-size model, by precision", ("endpoint",), _stage_table(rows["endpoint"])),
        ("Several workers and clients", ("load",), workers_table(rows["load"])),
        ("Clients, and more than can be served", ("load",), clients_table(rows["load"])),
        ("Mixed requests, minute by minute", ("soak",), soak_table(read_samples(folder))),
        ("Accuracy", ("scenes",), _scenes_table(rows["scenes"])),
        ("JPEG to pixels", ("decoding",), _decoding_table(rows["decoding"])),
        ("What a request is estimated to cost", ("cost",), _cost_table(rows["cost"])),
        ("The mask with mean scores or a threshold", ("masks",), _masks_table(rows["masks"])),
        ("Every kind of file to pixels", ("kinds",), _kinds_table(rows["kinds"])),
        ("Large answers", ("answers",), _answers_table(rows["answers"])),
        ("The page in a browser", ("page",), _page_table(rows["page"])),
        ("Embeddings of a known image", ("embeddings",), _embeddings_table(rows["embeddings"])),
    ]
    lines: list[str] = []
    for title, names, shown in sections:
        if shown:
            lines += [f"### {title}{_of(origins, names)}", "", _provenance(origins, names), "", *shown]
    return lines


def _of(origins: Mapping[str, Origin], names: Sequence[str]) -> str:
    """The processor, for the heading."""
    origin = origins.get(names[0])
    return "" if origin is None else f", {origin.machine.short_name}"


def _provenance(origins: Mapping[str, Origin], names: Sequence[str]) -> str:
    """Which commit was measured, and on which machine."""
    origin = origins.get(names[0])
    if origin is None:
        return f"Measured at commit {UNKNOWN} on a machine that is {UNKNOWN}."
    machine = origin.machine
    commits = dict.fromkeys(origins[name].commit for name in names if name in origins)
    features = ", ".join(feature.replace("_", " ") for feature in machine.features)
    return (
        f"Measured at commit {' and '.join(commits)} on {machine.processor}, {machine.cores} cores ({features}), torch "
        f"{machine.versions['torch']}. Matrix products run there at {machine.gemm_float32:.0f} GFLOP/s in float32, "
        f"{machine.gemm_bfloat16:.0f} in bfloat16 and {machine.gemm_int8:.0f} Gop/s in int8."
    )


def _network_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (
            row.path if row.scenario == "network" else f"{row.path}, 20 new labels, feature cache hit",
            ms(row.median_ms),
            ratio(row.ratio),
            "" if row.gflop is None else f"{row.gflop:.0f}",
            "" if row.roofline_ms is None or row.median_ms is None else f"{row.roofline_ms / row.median_ms:.0%}",
            difference(row.max_difference),
            share(row.agreement),
        )
        for row in rows
    ]
    head = ("network, 480x480, 20 labels", "ms", "times naive", "Gop", "of roofline", "max difference", "same label")
    return table(head, body)


def _products_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (
            f"{row.path}, {row.note.replace(';', ',')}",
            ms(row.median_ms),
            ratio(row.ratio),
            ms(row.fastest_ms),
            "" if row.cpu_s is None else f"{row.cpu_s:.2f}",
            difference(row.max_difference),
            share(row.agreement),
        )
        for row in rows
    ]
    head = ("network, 480x480", "ms", "times torch's", "fastest ms", "CPU s", "max difference", "same label")
    return table(head, body)


def _endpoint_table(rows: Sequence[Row]) -> list[str]:
    cases = dict.fromkeys(_case(row) for row in rows)
    paths = [path for path in _PATHS if any(row.path == path for row in rows)]
    body = []
    for case in cases:
        found = {row.path: row for row in rows if _case(row) == case}
        mode, image, *_ = case
        cells = [f"{mode}, {image}, {_described(next(iter(found.values())))}"]
        cells += [ms(found[path].median_ms) + _in_words(found[path]) if path in found else "" for path in paths]
        body.append(tuple(cells))
    return table(("endpoint, ms", *paths), body)


def _embeddings_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (row.note, ms(row.median_ms), ms(row.embed_ms), "" if row.response_mb is None else f"{row.response_mb:.3f}")
        for row in rows
    ]
    return table(("640x480, feature cache hit", "ms", "of these embed", "response, MB"), body)


def _stage_table(rows: Sequence[Row]) -> list[str]:
    """Where a request's time goes, at 640x480."""
    body = []
    for row in rows:
        stages = (row.decode_ms, row.text_ms, row.network_ms, row.mask_ms)
        if row.image != "640x480" or row.median_ms is None or None in stages:
            continue
        rest = row.median_ms - sum(stage for stage in stages if stage is not None)
        name = f"{row.note or row.path}, {_described(row)}"
        cells = (*stages, rest, row.median_ms, row.overhead_ms)
        body.append((name, *(ms_of_few(cell) for cell in cells)))
    head = ("ms, 640x480", "decode", "text", "network", "mask", "server and PNG", "total", "all but the network")
    return table(head, body)


def _described(row: Row) -> str:
    words = f"{row.labels} {'new ' if row.text == 'cold' else ''}label{'' if row.labels == 1 else 's'}"
    return f"{words}{', feature cache hit' if row.features == 'warm' else ''}"


def _case(row: Row) -> tuple[str, str, int, str, str]:
    return row.mode, row.image, row.labels, row.text, row.features


def _in_words(row: Row) -> str:
    return "" if row.path == "naive" or row.ratio is None else f" ({row.ratio:.2f}x)"


def _scenes_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (
            row.path,
            "" if row.miou is None else f"{row.miou:.2f}",
            share(row.agreement),
            difference(row.max_difference),
        )
        for row in rows
    ]
    count = rows[0].image if rows else ""
    return table((f"bundled model, {count}", "mIoU, %", "same label as float32", "max difference"), body)


def _decoding_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (
            f"{row.image}{', ' if row.note else ''}{row.note}",
            "Pillow" if row.path == "naive" else row.path,
            ms_of_few(row.median_ms),
            ratio(row.ratio),
            share(row.agreement),
        )
        for row in rows
    ]
    return table(("image", "decoder", "ms", "times Pillow", "equal values"), body)


def _cost_table(rows: Sequence[Row]) -> list[str]:
    """The estimate that decides whether a request is refused, over what it took of one thread."""
    body = [
        (
            f"{row.mode}, {row.image}, {_described(row)}{', ' if row.note else ''}{row.note}",
            f"{row.estimate_ms / 1000:.2f}",
            f"{row.cpu_s:.2f}",
            f"{row.estimate_ms / 1000 / row.cpu_s:.2f}",
        )
        for row in rows
        if row.estimate_ms is not None and row.cpu_s is not None
    ]
    return table(("bundled model, one thread", "estimated s", "measured s", "estimate / measured"), body)


def _masks_table(rows: Sequence[Row]) -> list[str]:
    """Each way of asking beside the plain mask of the same picture."""
    plain = {row.image: row for row in rows if row.note == "png"}
    body = [
        (
            f"{row.image}, {_described(row)}, {row.note}",
            f"{row.median_ms:.1f}",
            f"{row.median_ms / (plain[row.image].median_ms or 1):.2f}",
            f"{row.fastest_ms:.1f}",
            "" if row.agreement is None else f"{100 * row.agreement:.5f}%",
            "" if row.max_difference is None else f"{row.max_difference:.1e}",
        )
        for row in rows
        if row.median_ms is not None and row.fastest_ms is not None
    ]
    header = (
        "bundled model, one thread",
        "ms",
        "times png",
        "fastest ms",
        "as pixel by pixel",
        "max difference of means",
    )
    return table(header, body)


def _kinds_table(rows: Sequence[Row]) -> list[str]:
    """One line for each kind, a megapixel being 10^6 pixels."""
    kinds = dict.fromkeys(row.note for row in rows)
    found = {(row.note, row.path): row for row in rows}
    body = []
    for kind in kinds:
        served, pillows = found.get((kind, "served")), found.get((kind, "naive"))
        body.append((kind.partition(";")[0], *_per_megapixel(served), *_per_megapixel(pillows)))
    head = ("kind", "s per megapixel", "MB per megapixel", "Pillow: s per megapixel", "Pillow: MB per megapixel")
    return table(head, body)


def _answers_table(rows: Sequence[Row]) -> list[str]:
    """Encoding alone, beside its plain definition."""
    body = [
        (
            f"{row.image}, {row.note}{', plain definition' if row.path == 'naive' else ''}",
            ms_of_few(row.median_ms),
            ms_of_few(row.fastest_ms),
            "" if row.cpu_s is None else f"{1000 * row.cpu_s:.1f}",
            "" if row.path == "naive" else ratio(row.ratio),
            "" if row.response_mb is None else f"{row.response_mb:.2f}",
            share(row.agreement),
        )
        for row in rows
    ]
    head = ("bundled model, 13 labels", "ms", "fastest ms", "CPU ms", "times plain", "MB", "the same answer")
    return table(head, body)


def _page_table(rows: Sequence[Row]) -> list[str]:
    body = [(f"{row.note}, {row.image}", ms_of_few(row.median_ms), ms_of_few(row.p90_ms)) for row in rows]
    return table(("page, bundled model", "ms, median", "ms, 9 of 10 within"), body)


def _per_megapixel(row: Row | None) -> tuple[str, str]:
    """Processor seconds, and memory besides the file; refused, where there is no row."""
    if row is None or row.cpu_s is None or row.peak_mb is None:
        return "refused", ""
    width, height = map(int, row.image.split("x"))
    megapixels = width * height / 1e6
    return f"{row.cpu_s / megapixels:.3f}", f"{row.peak_mb / megapixels:.1f}"


def plotted(results: Path) -> dict[str, list[Row]]:
    """The rows of the plot by case: the network, and requests with 20 cached labels."""
    rows = [row for row in read_rows("network", results) if row.scenario == "network"]
    rows += [row for row in read_rows("endpoint", results) if row.labels == 20 and not _is_cached(row)]
    rows += read_rows("accurate", results)
    names = [f"network, {row.image}" if row.scenario == "network" else f"{row.mode} mode, {row.image}" for row in rows]
    return {name: [row for row, own in zip(rows, names, strict=True) if own == name] for name in dict.fromkeys(names)}


def _is_cached(row: Row) -> bool:
    """Whether the image was seen before, or the labels were not: cases of their own."""
    return (row.text, row.features) != ("warm", "cold")
