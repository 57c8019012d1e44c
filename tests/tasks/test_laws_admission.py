"""A plugin is tried once per process, by what it is by default, and refused by the law's name wherever it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.laws import admission
from rayl2o.tasks.laws.admission import first_breach
from rayl2o.tasks.laws.case import LARGE
from rayl2o.tasks.registry import GROUP, family_of, task, tasks
from rayl2o.tasks.settings import from_settings
from tests.cli.command import rayl2o, refused
from tests.plugin_files import install, installed
from tests.tasks.lawless import Lawless, LawlessBatch

PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar
from tests.tasks.lawless import Lawless

@dataclass(frozen=True)
class Crooked(Lawless):
    """Not what it seems."""
    family: ClassVar[str] = "crooked"
    fault: str = "{}"
'''


def _law(family: Lawless) -> str | None:
    def resolve(spec: TaskSpec) -> Lawless:
        found = from_settings(type(family), spec.settings, spec.family)
        assert isinstance(found, Lawless)
        return found

    breach = first_breach(family, resolve)
    return None if breach is None else breach.law.name


def test_a_plugin_that_breaks_a_law_is_refused_by_name_and_listed_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, GROUP, "crooks", "crooks_a", PLUGIN.format("gradient of a mean"), {"crooked": "crooks_a:Crooked"})
    with installed(tmp_path, monkeypatch):
        for _ in range(2):
            with pytest.raises(UserError, match="task 'crooked' of the plugin 'crooks' breaks the law 'alone'"):
                task("crooked", size=4)
        (info,) = (info for info in tasks() if info.name == "crooked")
        assert "breaks the law 'alone'" in str(info.error)
        assert (info.params, info.summary, info.settings) == (6, "Not what it seems.", ("size", "fault"))
        (item,) = (item for item in rayl2o("list", "tasks", "--json").json["items"] if item["name"] == "crooked")
        assert item["error"] == info.error
        said = rayl2o("train", "quickstart", "task.name=crooked", "task.settings={}", "--out", tmp_path / "run")
        refused(said, "of the plugin 'crooks' breaks the law 'alone'", "gradient of instance 0 alone and among 2")


def test_settings_that_make_trouble_on_purpose_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, GROUP, "crooks", "crooks_b", PLUGIN.format(""), {"crooked": "crooks_b:Crooked"})
    with installed(tmp_path, monkeypatch):
        family = task("crooked", fault="raises")
        assert family_of(family.sample(torch.Generator())) == family
        assert [info.error for info in tasks() if info.name == "crooked"] == [None]


def test_a_class_is_tried_once() -> None:
    built = []

    @dataclass(frozen=True)
    class Counting(Lawless):
        def build(
            self,
            specs: Sequence[TaskSpec],
            device: torch.device | str = "cpu",
            dtype: torch.dtype = torch.float32,
        ) -> LawlessBatch:
            built.append(specs)
            return super().build(specs, device, dtype)

    assert _law(Counting(4)) is None
    count = len(built)
    assert 0 < count < 30
    assert _law(Counting(5, "raises")) is None
    assert len(built) == count


def test_what_is_wanted_is_tried_where_the_defaults_cannot_be() -> None:
    @dataclass(frozen=True)
    class Demanding(Lawless):
        need: int = -1

        def __post_init__(self) -> None:
            if self.need < 0:
                raise TypeError("need is needed")

    @dataclass(frozen=True)
    class Elsewhere(Lawless):
        fault: str = "data missing"

    @dataclass(frozen=True)
    class Broken(Lawless):
        fault: str = "raises"

    assert _law(Demanding(fault="another constant", need=1)) == "loss"
    assert _law(Elsewhere(fault="hvp of the wrong sign")) == "hessian"
    assert _law(Broken(fault="raises")) == "shapes"


def test_missing_data_are_an_error_of_their_own_where_the_task_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, GROUP, "crooks", "crooks_c", PLUGIN.format("data missing"), {"crooked": "crooks_c:Crooked"})
    with installed(tmp_path, monkeypatch):
        assert [info.error for info in tasks() if info.name == "crooked"] == [None]
        with pytest.raises(UserError, match=r"^bowls.csv is missing: got '/data'; fetch it$"):
            task("crooked")
        assert task("crooked", fault="") == task("crooked", fault="")


def test_a_large_family_is_not_evaluated_and_a_small_one_after_it_is() -> None:
    @dataclass(frozen=True)
    class Large(Lawless):
        size: int = LARGE + 1

    @dataclass(frozen=True)
    class Forgetful(Lawless):
        size: int = LARGE + 1
        fault: str = "a setting left out"

    assert _law(Large(fault="raises")) is None
    assert _law(Large(4, fault="raises")) == "shapes"
    assert _law(Forgetful()) == "json"


def test_a_slow_family_is_tried_by_what_time_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Slow(Lawless):
        fault: str = "another constant"

    monkeypatch.setattr(admission, "SECONDS", -1.0)
    assert _law(Slow()) is None
