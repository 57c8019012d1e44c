from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from rayl2o.envs import environments, register_all
from rayl2o.envs.registration import MAX_SIZE
from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.catalogue import NAMED
from rayl2o.tasks.registry import GROUP, task
from tests.plugin_files import TASK, install, installed


def test_every_environment_is_registered_once_with_both_entry_points() -> None:
    found = environments()
    assert len({info.id for info in found}) == len(found)
    for info in found:
        spec = gymnasium.spec(info.id)
        assert spec.kwargs == {"task": info.task}
        assert spec.entry_point == "rayl2o.envs.single:OptimizationEnv"
        assert spec.vector_entry_point == "rayl2o.envs.vector:OptimizationVectorEnv"
    register_all()  # again, which must neither warn nor replace


def test_small_tasks_with_data_that_ship_and_no_others() -> None:
    sizes = {info.task: info.size for info in environments()}
    assert sizes["quadratic"] == 5
    assert sizes["mlp-orig"] == 1510
    assert all(size is None or 0 < size <= MAX_SIZE for size in sizes.values())
    for name in sizes.keys() & NAMED.keys():
        assert getattr(task(name), "data", "") not in ("mnist", "fashion-mnist", "cifar10", "cifar100")


def test_every_twin_that_ships_with_its_data_has_one() -> None:
    names = {info.task for info in environments()}
    for name, named in NAMED.items():
        if named.twin_of and getattr(task(name), "data", "digits") == "digits":
            assert name in names


@pytest.mark.parametrize("error", [UserError("broken", value=0, mend="mend it"), ImportError("no library")])
def test_a_family_that_cannot_be_used_does_not_stop_the_others(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str) -> TaskFamily:
        if name == "quadratic":
            raise error
        return task(name)

    before = [info.task for info in environments()]
    monkeypatch.setattr("rayl2o.envs.registration.task", make)
    assert [info.task for info in environments()] == [name for name in before if name != "quadratic"]


def test_a_plugin_s_task_has_an_id_and_is_imported_when_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, GROUP, "bowls", "bowls_envs", TASK, {"bowl": "bowls_envs:Bowl"})
    install(tmp_path, GROUP, "broken", "broken_task", "raise RuntimeError('no')", {"pit": "broken_task:Pit"})
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
    with installed(tmp_path, monkeypatch):
        register_all()
        assert "bowls_envs" not in sys.modules
        env = gymnasium.make("rayl2o/bowl-v0")
        assert env.reset(seed=0)[0].shape == (3, 6)
        with pytest.raises(UserError, match=r"pit.*cannot be used"):
            gymnasium.make("rayl2o/pit-v0")


def test_an_id_with_its_module_needs_no_import_and_the_import_is_light() -> None:
    code = (
        "import sys, gymnasium; env = gymnasium.make('rayl2o.envs:rayl2o/quadratic-v0'); env.reset(seed=0); "
        "print(env.spec.id, [m for m in ('ray', 'matplotlib', 'sklearn', 'transformers', 'pyarrow') if m in sys.modules])"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "rayl2o/quadratic-v0 []"
