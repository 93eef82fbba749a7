"""Which recipes the simulated Gaudi finds again: in memory, on disk, in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gaudi.process import child, run, simulated


def compile_shapes(*widths: int, inference: bool = False) -> tuple[int, int, int, int]:
    """Compiles, hits and misses of one operator at these widths, and what the metric says of compilations."""
    import habana_frameworks.torch.core as htcore
    import torch
    from habana_frameworks.torch.hpu.metrics import metric_global
    from habana_frameworks.torch.simulated import counts

    if inference:
        htcore.hpu_set_env()
    for width in widths:
        torch.ones(width).to("hpu").relu().cpu()
    metric = metric_global("graph_compilation")
    assert metric is not None
    return counts().compiles, counts().recipe_hits, counts().recipe_misses, dict(metric.stats())["TotalNumber"]


def environment(tmp_path: Path, config: str = "") -> dict[str, str]:
    values = {"PT_HPU_LAZY_MODE": "1", "SIMULATED_GAUDI_FOLDER": str(tmp_path / "cards")}
    return values | ({"PT_HPU_RECIPE_CACHE_CONFIG": config} if config else {})


def test_without_a_folder_every_process_compiles(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(compile_shapes, 2, 3, 2, **environment(tmp_path)) == (2, 1, 2, 2)


def test_with_a_folder_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    settings = environment(tmp_path, f"{tmp_path / 'recipes'},false,64")
    assert run(compile_shapes, 2, 3, **settings) == (2, 0, 2, 2)
    assert run(compile_shapes, 3, 2, 4, **settings) == (1, 2, 1, 1)


def test_the_folder_is_emptied_where_that_is_asked_for(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(compile_shapes, 2, **environment(tmp_path, f"{tmp_path / 'recipes'},true"))[0] == 1


def test_the_two_modes_do_not_share_recipes(tmp_path: Path) -> None:
    settings = environment(tmp_path, str(tmp_path / "recipes"))
    assert run(compile_shapes, 2, **settings)[0] == 1
    assert run(compile_shapes, 2, **settings | {"PT_HPU_LAZY_MODE": "0"})[0] == 1


def test_the_rank_is_appended_in_inference_mode(tmp_path: Path) -> None:
    def compile_in_inference(rank: str) -> tuple[int, int, int, int]:
        settings = environment(tmp_path, str(tmp_path / "recipes")) | {"PT_HPU_INFERENCE_MODE": "1", "RANK": rank}
        result: tuple[int, int, int, int] = run(compile_shapes, 2, **settings)
        return result

    assert [compile_in_inference("0")[0], compile_in_inference("3")[0], compile_in_inference("3")[0]] == [1, 1, 0]
    assert sorted(path.name for path in tmp_path.glob("recipes*")) == ["recipes0", "recipes3"]


def compile_in_inference_mode() -> tuple[int, int, int, int]:
    return compile_shapes(2, inference=True)


def test_setting_the_inference_environment_appends_it_too(tmp_path: Path) -> None:
    run(compile_in_inference_mode, **environment(tmp_path, str(tmp_path / "recipes")))
    assert [path.name for path in tmp_path.glob("recipes*")] == ["recipes0"]


def test_the_oldest_recipes_go_when_the_folder_is_full(tmp_path: Path) -> None:
    run(compile_shapes, 2, 3, 4, **environment(tmp_path, f"{tmp_path / 'recipes'},false,0"))
    assert len(list((tmp_path / "recipes").glob("*.recipe"))) == 1


@pytest.mark.parametrize(("software", "most"), [("1.19", 3), ("1.21", 4)])
def test_too_many_fields_are_refused(tmp_path: Path, software: str, most: int) -> None:
    settings = environment(tmp_path, ",".join(["x"] * 5)) | {"SIMULATED_GAUDI_SOFTWARE": software}
    with child(compile_shapes, 2, **settings) as outcome:
        assert outcome.error is not None and f"should be from range <1:{most}>." in outcome.error


def test_the_older_variables_still_work_and_say_what_replaces_them(tmp_path: Path) -> None:
    settings = environment(tmp_path) | {"PT_RECIPE_CACHE_PATH": str(tmp_path / "old")}
    with child(compile_shapes, 2, **settings) as outcome:
        assert "PT_RECIPE_CACHE_PATH flag is going to be deprecated" in outcome.stderr
    assert run(compile_shapes, 2, **settings)[0] == 0


@simulated(HABANA_PGM_LRU_MAX="2")
def test_memory_forgets_the_recipe_used_longest_ago() -> None:
    assert compile_shapes(2, 3, 2, 4, 2, 3)[0] == 4  # 4 pushes 3 out, and 3 comes again
