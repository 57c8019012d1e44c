from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.catalogue import FAMILIES, NAMED
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.registry import GROUP, build, family_of, settings_of, task, tasks
from tests.plugin_files import TASK, install, installed


def test_names_and_settings() -> None:
    assert task("quadratic") == Quadratic()
    assert task("quadratic", size=9, log10_smallest=-1) == Quadratic(9, -1.0)
    assert task("mlp", hidden=[3, 4], activation="tanh") == MLP(hidden=(3, 4), activation="tanh")
    assert task("mlp-orig") == MLP()
    assert task("mlp-relu", data="mnist") == MLP(data="mnist", activation="relu")
    assert task("mlp-deeper", batch_size=32) == MLP(hidden=(20, 20), batch_size=32)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mlp-deper", {}, "unknown task: got 'mlp-deper'; did you mean 'mlp-deeper'"),
        ("zzz", {}, "unknown task: got 'zzz'; known: "),
        ("mlp-orig", {"dat": "mnist"}, "unknown setting of task 'mlp-orig': got 'dat'; did you mean 'data'"),
        ("mlp-orig", {"hidden": (50,)}, "'hidden' is fixed by task 'mlp-orig': got (50,); use task 'mlp'"),
        ("mlp-orig", {"data": "mnits"}, "did you mean 'mnist'"),
        ("mlp-orig", {"batch_size": "12"}, "mlp-orig.batch_size has the wrong type"),
        ("quadratic", {"data": "digits"}, "unknown setting of task 'quadratic'"),
    ],
)
def test_mistakes(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        task(name, **settings)
    assert message in str(caught.value)


def test_a_spec_names_a_family_not_a_task() -> None:
    with pytest.raises(UserError, match="unknown task family: got 'mlp-orig'; did you mean 'mlp'"):
        family_of(TaskSpec("mlp-orig"))


def test_build_from_specs_alone() -> None:
    family = Quadratic(4)
    rng = torch.Generator().manual_seed(0)
    specs = [family.sample(rng) for _ in range(3)]
    again = [TaskSpec.from_json(json.loads(json.dumps(spec.to_json()))) for spec in specs]
    params = torch.ones(3, 4, dtype=torch.float64)
    task_batch = build(again, dtype=torch.float64)
    assert torch.equal(task_batch.loss(params, None), family.build(specs, dtype=torch.float64).loss(params, None))
    with pytest.raises(UserError, match="different families"):
        build([specs[0], TaskSpec("mlp")])
    with pytest.raises(ValueError, match="at least one spec"):
        build([])


def test_the_list_says_name_source_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    infos = {info.name: info for info in tasks() if info.source == "built-in"}
    assert set(infos) == {*FAMILIES, *NAMED}
    known = {"quadratic": 5, "mlp": 15_910, "mlp-orig": 15_910, "mlp-deeper": 16_330, "two-moons": 8577, "p2": 40_480}
    assert {name: infos[name].params for name in known} == known
    assert infos["mixture"].params is None
    assert (infos["two-moons"].paper, infos["two-moons-small"].twin_of) == ("R", "two-moons")
    sizes = {"digits": 1930, "mnist": 16_330, "cifar10": 62_090}
    assert {data: infos["mlp-deeper"].params_by_data[data] for data in sizes} == sizes
    assert infos["quadratic"].params_by_data == {}
    assert {"data", "batch_size", "init_std", "split"} <= set(infos["mlp-orig"].settings)
    assert "hidden" not in infos["mlp-orig"].settings
    assert all(info.summary and info.error is None for info in infos.values())


def test_a_plugin_is_a_task_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, GROUP, "bowls", "bowls_c", TASK, {"bowl": "bowls_c:Bowl"})
    with installed(tmp_path, monkeypatch):
        family = task("bowl", size=2)
        spec = family.sample(torch.Generator())
        assert family_of(spec) == family
        assert build([spec, spec]).k == 2
        (info,) = (info for info in tasks() if info.name == "bowl")
        assert (info.source, info.summary, info.params, info.settings) == ("bowls", "A round bowl.", 3, ("size",))
        with pytest.raises(UserError, match="did you mean 'size'"):
            task("bowl", siez=2)
        with pytest.raises(UserError, match="did you mean 'bowl'"):
            task("bowll")


def test_a_broken_plugin_breaks_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"bad": "bowls_d_missing:Bowl", "mlp": "bowls_d:Bowl", "mlp-orig": "bowls_d:Bowl"}
    install(tmp_path, GROUP, "bowls", "bowls_d", TASK, entries)
    with installed(tmp_path, monkeypatch):
        assert task("mlp") == MLP()
        assert task("mlp-orig") == MLP()
        infos = [info for info in tasks() if info.source == "bowls"]
        assert [info.name for info in infos] == ["bad", "mlp", "mlp-orig"]
        assert "ModuleNotFoundError" in str(infos[0].error)
        assert all("its name is that of a built-in task" in str(info.error) for info in infos[1:])
        with pytest.raises(UserError, match=r"'bad' comes from a plugin that cannot be used .*'bowls'"):
            task("bad")
        with pytest.raises(UserError, match="its name is that of a built-in task"):
            family_of(TaskSpec("mlp-orig"))


def test_two_plugins_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, GROUP, "bowls", "bowls_e", TASK, {"bowl": "bowls_e:Bowl"})
    install(tmp_path, GROUP, "more-bowls", "bowls_f", TASK, {"bowl": "bowls_f:Bowl"})
    with (
        installed(tmp_path, monkeypatch),
        pytest.raises(UserError, match=r"several plugins: got \['bowls', 'more-bowls'"),
    ):
        task("bowl")


def test_a_plugin_without_the_protocol_or_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = TASK.replace("def build", "def make").replace("size: int = 3", "size: int")
    install(tmp_path, GROUP, "bowls", "bowls_g", code, {"bowl": "bowls_g:Bowl"})
    with installed(tmp_path, monkeypatch):
        with pytest.raises(UserError, match="comes from a plugin that is no task family"):
            task("bowl", size=2)
        (info,) = (info for info in tasks() if info.name == "bowl")
        assert (info.params, info.error) == (None, None)


def test_the_settings_that_a_task_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of("quadratic") == ("size", "log10_smallest", "log10_largest")
    assert "hidden" in settings_of("mlp")
    assert "hidden" not in settings_of("mlp-orig")
    assert settings_of("mixture") == ("tasks",)
    install(tmp_path, GROUP, "bowls", "bowls_h", TASK, {"bowl": "bowls_h:Bowl"})
    with installed(tmp_path, monkeypatch):
        assert settings_of("bowl") == ("size",)
        with pytest.raises(UserError, match="did you mean 'bowl'"):
            settings_of("bowll")
