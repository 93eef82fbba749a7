"""The configuration: what it says is what a worker does; a key or value nobody knows stops the start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from lseg_serve.segmenter import Config
from lseg_serve.segmenter.__main__ import main
from lseg_serve.segmenter.config import AccurateParams, HpuParams, StaticImageSizeParams, table
from lseg_serve.segmenter.config.torchserve import ModelConfigFile
from lseg_serve.segmenter.errors import ConfigError
from tests.conftest import PROJECT

CONFIG_FOLDER = PROJECT / "config"
MODEL_CONFIG = CONFIG_FOLDER / "model-config.yaml"


def _properties() -> dict[str, str]:
    lines = (CONFIG_FOLDER / "config.properties").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {key: value for key, _, value in pairs}


def _refused(section: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Config.from_mapping({"lseg": section})


def test_a_file_that_says_nothing_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "model-config.yaml"
    for text in ("", "# nothing\n", "lseg:\n", "lseg: {}\n", "minWorkers: 1\nmaxWorkers: 2\n"):
        path.write_text(text, encoding="utf-8")
        assert Config.from_file(path) == Config()


def test_every_key_reaches_its_field(tmp_path: Path) -> None:
    path = tmp_path / "model-config.yaml"
    path.write_text(
        """
        batchSize: 4
        lseg:
          device: cpu
          fall_back: true
          hpu_mode: graphs
          default_lazy_mode_label_number: 30
          dynamic_image_hw: [360, 480]
          hpu:
            bfloat16: false
            batch_sizes: [2]
            token_lengths: [8, 20]
            max_graphs: 9
            recipe_cache: ""
            recipe_cache_megabytes: 3
            card_locks: locks
            warm_up_seconds: 5
            least_free_megabytes: 6
          static_image_size_params: {hw_ratios: [[1, 2]], short_sizes: [64, 96]}
          max_labels: 10
          max_label_length: 20
          max_image_pixels: 1000
          max_response_bytes: 5000
          text_cache_size: 7
        """,
        encoding="utf-8",
    )
    assert Config.from_file(path) == Config(
        device="cpu",
        fall_back=True,
        hpu_mode="graphs",
        default_lazy_mode_label_number=30,
        dynamic_image_hw=(360, 480),
        hpu=HpuParams(
            bfloat16=False,
            batch_sizes=(2,),
            token_lengths=(8, 20),
            max_graphs=9,
            recipe_cache="",
            recipe_cache_megabytes=3,
            card_locks="locks",
            warm_up_seconds=5,
            least_free_megabytes=6,
        ),
        static_image_size_params=StaticImageSizeParams(hw_ratios=((1.0, 2.0),), short_sizes=(64, 96)),
        max_labels=10,
        max_label_length=20,
        max_image_pixels=1000,
        max_response_bytes=5000,
        text_cache_size=7,
    )


@pytest.mark.parametrize("key", ["Device", "hw_ratios", "max_label", "", 7])
def test_an_unknown_key_of_the_section_is_refused(key: object) -> None:
    _refused({key: 1}, f"unknown key 'lseg.{key}'; accepted: .*device")


@pytest.mark.parametrize("key", ["responseTimeOut", "device", "LSEG", "handler", 7])
def test_an_unknown_key_beside_torchserves_is_refused(key: object) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}'; accepted: .*lseg.*responseTimeout"):
        Config.from_mapping({key: 1})  # type: ignore[dict-item]


def test_an_unknown_key_of_the_image_sizes_is_refused() -> None:
    _refused({"static_image_size_params": {"ratios": [[1, 1]]}}, "unknown key 'lseg.static_image_size_params.ratios'")


@pytest.mark.parametrize("device", ["gpu", "CPU", "", None, 0, ["cpu"], {"kind": "cpu"}])
def test_an_unknown_device_is_refused(device: object) -> None:
    _refused({"device": device}, "device is .*; accepted: auto, hpu, cuda, cpu")


@pytest.mark.parametrize("device", ["auto", "hpu", "cuda", "cpu"])
def test_every_kind_of_device_is_accepted(device: str) -> None:
    assert Config.from_mapping({"lseg": {"device": device}}).device == device


@pytest.mark.parametrize(
    ("key", "lowest", "highest"),
    [
        ("default_lazy_mode_label_number", 1, 255),
        ("max_labels", 1, 255),
        ("max_label_length", 1, 1_000),
        ("max_image_pixels", 1, 1_000_000_000),
        ("max_response_bytes", 1_000, 2_000_000_000),
        ("text_cache_size", 1, 10_000_000),
        ("feature_cache_megabytes", 0, 1_000_000),
    ],
)
def test_a_count_out_of_its_range_is_refused(key: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        assert getattr(Config.from_mapping({"lseg": {key: value}}), key) == value
    bad_values: list[object] = [lowest - 1, highest + 1, -1, 1.5, float("nan"), "100", None, True, [5], {}]
    for bad in bad_values:
        _refused({key: bad}, f"{key} is .*; accepted: a whole number from {lowest} to {highest}")


@pytest.mark.parametrize(
    "ratios",
    [
        None,
        [],
        3,
        "9:16",
        {"a": 1},
        [[]],
        [[1]],
        [[1, 2, 3]],
        [1, 1],
        [[0, 1]],
        [[-1, 1]],
        [["9", "16"]],
        [[True, 1]],
        [[1, 1], None],
        [[float("nan"), 1]],
        [[float("inf"), 1]],
    ],
    ids=repr,
)
def test_ratios_that_are_no_pairs_are_refused(ratios: object) -> None:
    _refused({"static_image_size_params": {"hw_ratios": ratios}}, "hw_ratios is .*; accepted: a list of")


@pytest.mark.parametrize(
    "sizes", [None, [], 480, "480", ["480"], [31], [4097], [480.0], [True], [-480], [480, None]], ids=repr
)
def test_short_sizes_that_are_no_pixels_are_refused(sizes: object) -> None:
    _refused({"static_image_size_params": {"short_sizes": sizes}}, "short_sizes is .*; accepted: a list of whole")


@pytest.mark.parametrize("params", [None, [], [[1, 1]], 480, "small"], ids=repr)
def test_image_sizes_that_are_no_section_are_refused(params: object) -> None:
    _refused({"static_image_size_params": params}, "static_image_size_params is .*; accepted: hw_ratios, short_sizes")


@pytest.mark.parametrize("section", ["cpu", 7, ["device"], [], False, 0, ""], ids=repr)
def test_a_section_that_is_none_is_refused(section: object) -> None:
    _refused(section, "lseg is .*; accepted: device, fall_back")


@pytest.mark.parametrize("alone", ["minWorkers", "maxWorkers"])
def test_one_worker_count_without_the_other_is_refused(alone: str) -> None:
    with pytest.raises(ConfigError, match="minWorkers and maxWorkers must be given together"):
        Config.from_mapping({alone: 1})


@pytest.mark.parametrize("value", [0, -1, 1.5, "1", None, True, [1]], ids=repr)
@pytest.mark.parametrize("key", ["minWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout"])
def test_torchserves_counts_are_whole_numbers_from_one_on(key: str, value: object) -> None:
    document: dict[str, Any] = {key: value}
    if key == "minWorkers":
        document["maxWorkers"] = 1
    with pytest.raises(ConfigError, match=f"{key} is .*; accepted: a whole number from 1 on"):
        Config.from_mapping(document)


@pytest.mark.parametrize(
    "text",
    ["lseg: [", "\tlseg: 1", "a: b: c", "{", "lseg: !!python/object:os.system {}", "- lseg", "text", "7"],
    ids=repr,
)
def test_a_file_that_is_no_mapping_in_yaml_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"odd\.yaml: (cannot be read as YAML|holds \w+; accepted: keys and values)"):
        Config.from_file(path)


HOSTILE_YAML: dict[str, tuple[str, str]] = {
    "deep flow": ("lseg: " + "[" * 40_000, "it is too deep; accepted: up to 20"),
    "deep blocks": ("\n".join("  " * depth + "- a:" for depth in range(200)), "it is too deep; accepted: up to 20"),
    "deep mappings": ("lseg: " + "{a: " * 10_000, "it is too deep; accepted: up to 20"),
    "aliases that double": (
        "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(60)),
        "it has too many aliases; accepted: up to 10",
    ),
    "merges that double": (
        "m0: &m0 {k: 1}\n" + "".join(f"m{n + 1}: &m{n + 1} {{<<: [*m{n}, *m{n}]}}\n" for n in range(60)),
        "it has too many aliases; accepted: up to 10",
    ),
    "large": ("# " + "x" * 100_000, "it is too large; accepted: up to 100000 bytes"),
    "a number of many digits": ("lseg: {max_labels: " + "9" * 5000 + "}", "digits"),
    "an empty number": ('lseg: {max_labels: !!int ""}', "cannot be read as YAML"),
    "no truth value": ("lseg: {fall_back: !!bool perhaps}", "cannot be read as YAML"),
    "no date": ("lseg: 2026-13-45", "cannot be read as YAML"),
    "no timestamp": ("lseg: !!timestamp x", "cannot be read as YAML"),
    "a list as key": ("? [a]\n: b", "cannot be read as YAML"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_a_hostile_file_is_refused_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        Config.from_file(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_value_of_many_is_shown_short(tmp_path: Path) -> None:
    """Lists that hold each other are few in the file, and many when they are written out."""
    path = tmp_path / "odd.yaml"
    path.write_text("lseg: {max_labels: [&a [x, x], &b [*a, *a], &c [*b, *b], [*c, *c]]}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"lseg\.max_labels is \[\[.*; accepted: a whole number") as caught:
        Config.from_file(path)
    assert len(str(caught.value)) < 200


def test_a_few_aliases_are_served(tmp_path: Path) -> None:
    path = tmp_path / "aliases.yaml"
    path.write_text("lseg: {max_labels: &count 12, max_label_length: *count}", encoding="utf-8")
    assert (Config.from_file(path).max_labels, Config.from_file(path).max_label_length) == (12, 12)


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    with pytest.raises(ConfigError, match=r"odd\.yaml"):
        Config.from_file(path)
    path.write_bytes(b"lseg: \xff\xfe")
    with pytest.raises(ConfigError, match=r"odd\.yaml"):
        Config.from_file(path)


def test_the_bundled_configuration_is_accepted() -> None:
    config = Config.from_file(MODEL_CONFIG)
    assert config.device == "auto"
    assert config.static_image_size_params.short_sizes == (480,)


def test_the_bundled_configuration_names_the_timeouts_that_torchserve_takes_from_nowhere_else() -> None:
    document = yaml.safe_load(MODEL_CONFIG.read_text(encoding="utf-8"))
    assert document["responseTimeout"] > 120
    assert document["startupTimeout"] > 120
    assert document["maxRetryTimeoutInSec"] > document["startupTimeout"]
    assert 1 <= document["minWorkers"] <= document["maxWorkers"]


def test_the_handler_refuses_an_answer_before_torchserve_dies_of_it() -> None:
    assert Config.from_file(MODEL_CONFIG).max_response_bytes <= int(_properties()["max_response_size"])


def test_the_queue_of_a_file_that_names_none_is_the_servers() -> None:
    assert ModelConfigFile().job_queue_size == int(_properties()["job_queue_size"])


def test_the_bundled_server_lets_nobody_in_from_outside() -> None:
    properties = _properties()
    for service in ("inference", "management", "metrics"):
        assert properties[f"{service}_address"].startswith("http://127.0.0.1:")
    assert properties["enable_model_api"] == "false"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hpu_mode", 1, "hpu_mode is 1; accepted: auto, lazy, graphs, eager"),
        ("hpu_mode", "lazily", "hpu_mode is 'lazily'; accepted: auto, lazy, graphs, eager"),
        ("fall_back", "yes", "fall_back is 'yes'; accepted: true, false"),
        ("dynamic_image_hw", [360], r"dynamic_image_hw is .*; accepted: \[height, width\]"),
        ("dynamic_image_hw", [360, "480"], r"dynamic_image_hw is \[360, '480'\]; accepted: .*, each a whole"),
        ("dynamic_image_hw", 360, "dynamic_image_hw is 360"),
        ("hpu", [], "hpu is .*; accepted: bfloat16, attention, batch_sizes"),
        ("hpu", {"bf16": True}, "unknown key 'lseg.hpu.bf16'; accepted: attention, batch_sizes, bfloat16"),
        ("hpu", {"bfloat16": 1}, "hpu.bfloat16 is 1; accepted: true, false"),
        ("hpu", {"batch_sizes": 4}, "hpu.batch_sizes is 4; accepted: a list of whole numbers"),
        ("hpu", {"batch_sizes": [0]}, r"hpu.batch_sizes is \[0\]; accepted: a list of whole numbers from 1 to 64"),
        ("hpu", {"batch_sizes": []}, "hpu.batch_sizes is .*; accepted: a list"),
        ("hpu", {"token_lengths": [78]}, r"hpu.token_lengths is \[78\]; accepted: a list of .* from 1 to 77"),
        ("hpu", {"max_graphs": 0}, "hpu.max_graphs is 0"),
        ("hpu", {"recipe_cache": None}, "hpu.recipe_cache is None; accepted: a folder"),
        ("hpu", {"recipe_cache": "a,b"}, "hpu.recipe_cache is 'a,b'; accepted: a folder without a comma"),
        ("hpu", {"card_locks": ""}, "hpu.card_locks is ''; accepted: a folder"),
        ("hpu", {"warm_up_seconds": -1}, "hpu.warm_up_seconds is -1"),
    ],
)
def test_odd_values_for_gaudi_are_refused(key: str, value: object, message: str) -> None:
    _refused({key: value}, message)


def test_a_changed_copy_is_checked_like_any_other_configuration() -> None:
    config = Config(device="cpu", hpu=HpuParams(max_graphs=30))
    assert config.replaced(device="auto") == Config(hpu=HpuParams(max_graphs=30))
    assert config.device == "cpu"
    with pytest.raises(ConfigError, match=r"lseg\.device is 'tpu'; accepted: auto, hpu, cuda, cpu"):
        config.replaced(device="tpu")
    with pytest.raises(ConfigError, match=r"unknown key 'lseg\.devise'"):
        config.replaced(devise="cpu")


def test_a_configuration_made_in_python_is_refused_in_the_same_words() -> None:
    with pytest.raises(ConfigError, match=r"lseg\.max_labels is 256; accepted: a whole number from 1 to 255"):
        Config(max_labels=256)
    with pytest.raises(ConfigError, match=r"lseg.accurate.stride is 481; accepted: a whole number from 1 to 480"):
        AccurateParams(stride=481)


def test_nothing_of_a_configuration_can_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().device = "cpu"


def test_the_documented_keys_are_those_that_the_models_check() -> None:
    """`python -m segmenter configuration docs/configuration.md` writes them."""
    page = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert table.written_into(page) == page


def test_every_key_of_the_bundled_file_is_documented() -> None:
    document = yaml.safe_load(MODEL_CONFIG.read_text(encoding="utf-8"))
    documented = set(re.findall(r"^\| `([\w.]+)` ", table.markdown(), re.MULTILINE))
    section = document.pop("lseg")
    for name in ("hpu", "accurate", "static_image_size_params"):
        section |= {f"{name}.{key}": value for key, value in section.pop(name).items()}
    assert {*document, *section} <= documented


def test_the_defaults_are_those_of_the_bundled_file() -> None:
    """So that a key that is left out means what the file shows."""
    assert Config.from_file(MODEL_CONFIG) == Config()


def test_the_command_writes_the_keys_into_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nof yesterday\n{table.END}\nafter\n", encoding="utf-8")
    assert main(["configuration", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| `max_labels` | a whole number from 1 to 255 | `255` |" in text
    assert "of yesterday" not in text
    page.write_text("no markers", encoding="utf-8")
    assert main(["configuration", str(page)]) == 3
    assert "page.md: the page has no table; accepted: " in capsys.readouterr().err
