"""One hostile request, made from a seed and a number."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.damage import damaged
from tests.fuzz.images import corpus

_VALUES: dict[str, tuple[str, ...]] = {
    "labels": (
        "sky,tree",
        "",
        ",",
        "a,a",
        "\u0000",
        "ä,ö",
        "\u202e",
        "x" * 300,
        ",".join(map(str, range(256))),
        '["a"]',
        "[",
        "[1]",
        "[[]]",
    ),
    "format": ("png", "color", "overlay", "json", "npz", "zip", "hf", "coco", "embeddings", "PNG", "", "png\u0000"),
    "mode": ("fast", "accurate", "slow", ""),
    "threshold": ("0", "1", "-1", "nan", "inf", "1e309", "0x1", "0,5", "9" * 400),
    "alpha": ("0", "1", "2", "nan", "-0.0"),
    "geometry": ("rle", "polygons", "label_studio", "x"),
    "tolerance": ("0", "100", "-1", "nan", "1e9"),
    "parts": ("together", "apart", "x"),
    "bands": ("1", "3,2,1", "0", "-1", "1,2", "99999999999999999999", "1,2,3,4", "a"),
    "range": ("0,1", "1,0", "nan,nan", "0,inf", "-1e308,1e308", "0", "a,b"),
    "points": ("[[1,1]]", "[[-1,9e9]]", "[]", "[[1]]", "[[null,1]]", "[[NaN,1]]"),
    "dtype": ("float16", "float32", "int8"),
    "preset": ("openscene", "vlmaps", "none"),
    "scales": ("1", "0", "0.75,1", "1e9", "-1"),
    "flip": ("true", "maybe"),
    "base_size": ("100", "0", "99999999"),
    "crop_size": ("96", "1", "-5"),
    "container": ("npz", "safetensors", "zip"),
    "nothing": ("1",),
}
_JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**70,
    1e308,
    "",
    "a",
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
    "\ud800",
    "\u0000",
    "a" * 5000,
    ["a", "a"],
)
_TYPES = (
    "image/png",
    "image/jpeg",
    "application/octet-stream",
    "application/json",
    "text/plain",
    "text/html; charset=nothing",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary="\x01"',
    "application/json;charset=utf-16",
    "application/x-www-form-urlencoded",
    "*/*",
    "",
    "image/png; q=\xff",
)


@dataclass(frozen=True)
class Hostile:
    """A request as it goes over the wire, but for the headers that say where it goes and whose it is."""

    family: str
    path: str
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    method: str = "POST"
    framing: str = "length"  # or "chunked", or "none": then the headers say what there is
    # Whether what comes back may be nothing at all: the request breaks HTTP itself.
    broken: bool = False


def hostile(seed: int, number: int) -> Hostile:
    """The request with this number: the same wherever and whenever it is made."""
    rng = random.Random(f"{seed}:{number}")
    return rng.choices(_FAMILIES, [30, 20, 20, 15, 10, 10])[0](rng)


def image(rng: random.Random) -> bytes:
    """A file of any kind, most often damaged."""
    files = corpus()
    name = rng.choice(list(files))
    return damaged(rng, name, files[name], list(files.values())) if rng.random() < 0.9 else files[name]


def options(rng: random.Random, most: int) -> dict[str, str]:
    """Fields of a request, `most` of them and labels, with good and bad values."""
    chosen = {"labels": "sky,tree"} if rng.random() < 0.7 else {}
    for name in rng.sample(list(_VALUES), rng.randint(0, most)):
        chosen[name] = rng.choice(_VALUES[name])
    if chosen.get("mode") == "accurate" and rng.random() < 0.9:
        del chosen["mode"]  # it takes long, and few of it say as much as many
    return chosen


def _body(rng: random.Random) -> Hostile:
    headers = [("Content-Type", rng.choice(_TYPES) if rng.random() < 0.3 else "image/png")]
    headers += [(f"X-LSeg-{name}", value) for name, value in options(rng, 2).items()]
    return Hostile(
        "body", "/predictions/lseg", image(rng), headers, framing=rng.choice(("length", "length", "chunked"))
    )


def _form(rng: random.Random) -> Hostile:
    boundary = rng.choice(("b", "----x", "a" * 70, "a" * 200, "--", "b b"))
    fields: list[tuple[str, bytes, str]] = [
        ("image", image(rng), rng.choice(('; filename="a.png"', "", '; filename="../../x"')))
    ]
    fields += [(name, value.encode("utf-8", "surrogatepass"), "") for name, value in options(rng, 3).items()]
    if rng.random() < 0.2:
        fields.append(rng.choice(fields))
    rng.shuffle(fields)
    parts = []
    for name, value, more in fields:
        header = f'Content-Disposition: form-data; name="{name}"{more}\r\n'
        if rng.random() < 0.15:
            header += rng.choice(
                (
                    "Content-Type: text/plain; charset=x-none\r\n",
                    "Content-Transfer-Encoding: base64\r\n",
                    "X: y\r\n" * 50,
                )
            )
        parts.append(f"--{boundary}\r\n{header}\r\n".encode() + value + b"\r\n")
    body = b"".join(parts) + (f"--{boundary}--\r\n".encode() if rng.random() < 0.85 else b"")
    if rng.random() < 0.2:
        body = body.replace(b"\r\n", rng.choice((b"\n", b"\r")), rng.randint(1, 4))
    if rng.random() < 0.15:
        body = body[: rng.randint(0, len(body))]
    kind = f"multipart/form-data; boundary={boundary}" if rng.random() < 0.9 else rng.choice(_TYPES)
    return Hostile("form", "/predictions/lseg", body, [("Content-Type", kind)])


def _document(rng: random.Random) -> dict[str, Any]:
    encoded = base64.b64encode(image(rng)).decode()
    document: dict[str, Any] = {
        "image": rng.choice((encoded, f"data:image/png;base64,{encoded}", encoded[:-1], encoded.replace("A", "-")))
    }
    document["labels"] = rng.choice((["sky", "tree"], "sky,tree", *_JSON_VALUES))
    for name in rng.sample(list(_VALUES), rng.randint(0, 3)):
        document[name] = rng.choice((*_VALUES[name], *_JSON_VALUES))
    if document.get("mode") == "accurate":
        del document["mode"]
    return document


def _json_bytes(rng: random.Random, document: object) -> bytes:
    text = json.dumps(document)
    damage = rng.random()
    if damage < 0.1:
        text = text[: rng.randint(0, len(text))]
    elif damage < 0.15:
        text = "[" * rng.choice((100, 100_000)) + text
    elif damage < 0.2:
        text = text.replace('"labels"', '"image"')
    elif damage < 0.25:
        return text.encode(rng.choice(("utf-16", "utf-32", "utf-16-le", "utf-8-sig")))
    elif damage < 0.3:
        return bytes(byte ^ (rng.random() < 0.002) for byte in text.encode())
    return text.encode()


def _json(rng: random.Random) -> Hostile:
    document = rng.choice(_JSON_VALUES) if rng.random() < 0.1 else _document(rng)
    kind = "application/json" if rng.random() < 0.8 else rng.choice(_TYPES)
    headers = [("Content-Type", kind)]
    if rng.random() < 0.05:
        headers.append(("Content-Encoding", rng.choice(("gzip", "br", "x"))))
    return Hostile("json", "/predictions/lseg", _json_bytes(rng, document), headers)


def _protocol(rng: random.Random) -> Hostile:
    """Bodies of the protocols v1 and v2."""
    encoded = base64.b64encode(image(rng)).decode()
    if rng.random() < 0.4:
        instances = rng.choice(
            ([encoded], [{"b64": encoded}], [{"image": {"b64": encoded}, "labels": ["sky"]}] * 3, *_JSON_VALUES)
        )
        body = _json_bytes(rng, {"instances": instances})
        return Hostile("v1", "/v1/models/lseg:predict", body, [("Content-Type", "application/json")])
    tensor: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded]}
    if rng.random() < 0.5:
        tensor[rng.choice(("name", "datatype", "shape", "data"))] = rng.choice(
            (*_JSON_VALUES, [-1], [2**40, 2], "UINT8", "FP64")
        )
    document: dict[str, Any] = {
        "id": rng.choice(("1", *_JSON_VALUES)),
        "inputs": [tensor] * rng.choice((0, 1, 1, 1, 3)),
    }
    if rng.random() < 0.3:
        document["parameters"] = rng.choice(({"binary_data_output": True}, {"labels": "sky"}, *_JSON_VALUES))
    headers = [("Content-Type", "application/json")] if rng.random() < 0.7 else []
    body = _json_bytes(rng, document)
    if rng.random() < 0.4:
        raw = image(rng)
        tensor.pop("data", None)
        tensor["parameters"] = {"binary_data_size": rng.choice((len(raw) + 4, 0, -1, 2**40))}
        head = _json_bytes(rng, {"inputs": [tensor]})
        length = rng.choice((len(head), 0, -1, 10**12, "x"))
        headers = [("Inference-Header-Content-Length", str(length)), ("Content-Type", "application/octet-stream")]
        body = head + len(raw).to_bytes(4, "little") + raw
    return Hostile("v2", "/v2/models/lseg/infer", body, headers)


def _headers(rng: random.Random) -> Hostile:
    """Headers that are many, long, odd, or meant for others."""
    odd = [
        ("describe", "True"),
        ("explain", "True"),
        ("url_path", "x"),
        ("X-LSeg-Labels", "sky"),
        ("x-lseg-labels", "tree"),
        ("X-LSeg-Labels", "a" * 7000),
        ("X-LSeg-Format", "\xff\xfe"),
        ("Accept", "a/b;q=x," * 100),
        ("Accept", "image/png;q=0"),
        ("X-Request-Id", "'\";{}"),
        ("Traceparent", "00-zz-00-00"),
        ("Content-Encoding", "gzip"),
        ("Cookie", "a=" + "b" * 4000),
        ("Expect", "200-ok"),
        ("Range", "bytes=0-"),
        ("If-Match", "*"),
        ("Upgrade", "h2c"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Host", "evil"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-LSeg-Labels", '["' + "x" * 100 + '"]'),
        ("X-Accel-Redirect", "/models"),
    ]
    chosen = [rng.choice(odd) for _ in range(rng.choice((1, 2, 5, 90)))]
    if rng.random() < 0.1:
        chosen.append(("X" * rng.choice((300, 9000)), "y"))
    path = rng.choice(
        (
            "/predictions/lseg",
            "/predictions/lseg",
            "/predictions/lseg/1.0",
            "/predictions/" + "l" * 200,
            "/predictions/%zz",
        )
    )
    return Hostile("headers", path, corpus()["png"], [("Content-Type", "image/png"), *chosen], broken=True)


def _framing(rng: random.Random) -> Hostile:
    """What says where a request ends, wrong."""
    lengths = ("-1", "+5", "0x10", "5, 5", "", "99999999999999999999", "1e3", " 5 ", "5\t")
    codings = ("chunked", "identity", "xchunked", "chunked, chunked", "\tchunked", "gzip, chunked", "")
    headers = [("Content-Type", "image/png")]
    if rng.random() < 0.7:
        headers.append(("Content-Length", rng.choice(lengths)))
    if rng.random() < 0.7:
        headers.append(
            (rng.choice(("Transfer-Encoding", "transfer-encoding", "Transfer-Encoding ")), rng.choice(codings))
        )
    chunks = (
        b"0\r\n\r\n",
        b"zz\r\n",
        b"-1\r\nx\r\n",
        b"5;x=y\r\n12345\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"1\nx\n0\n\n",
        rng.randbytes(40),
    )
    method = rng.choice(("POST", "POST", "GET", "PUT", "OPTIONS", "BREW", "P\x00ST", ""))
    path = rng.choice(
        ("/predictions/lseg", "/", "*", "http://a/predictions/lseg", "//", "/\x00", "/predictions/lseg?" + "a" * 9000)
    )
    return Hostile("framing", path, rng.choice(chunks), headers, method, framing="none", broken=True)


_FAMILIES: tuple[Callable[[random.Random], Hostile], ...] = (_body, _form, _json, _protocol, _headers, _framing)
