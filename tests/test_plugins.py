"""Rules and tasks from other distributions: found, loaded when asked for, and named when they cannot be used."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.plugins import Group, load, plugins
from rayl2o.rules.registry import GROUP as RULES
from rayl2o.tasks.registry import GROUP as TASKS
from tests.plugin_files import RULE, TASK, install, installed


@dataclass(frozen=True)
class _Sample:
    """A plugin that works: its group, code, name, class, and one of its fields."""

    group: Group
    code: str
    name: str
    object: str
    field: str


SAMPLES = [
    _Sample(RULES, RULE, "sign", "Sign", "lr: float"),
    _Sample(TASKS, TASK, "bowl", "Bowl", "size: int"),
]
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.group.noun)


@each_sample
def test_a_plugin_is_found_without_being_imported_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: _Sample
) -> None:
    module = f"found_{sample.name}"
    entries = {sample.name: f"{module}:{sample.object}", "gone": f"{module}_gone:{sample.object}"}
    install(tmp_path, sample.group, "others", module, sample.code, entries)
    assert not [plugin for plugin in plugins(sample.group) if plugin.distribution == "others"]
    with installed(tmp_path, monkeypatch):
        found = {plugin.name for plugin in plugins(sample.group) if plugin.distribution == "others"}
        assert found == {sample.name, "gone"}
        assert module not in sys.modules
        assert load(sample.group, sample.name, "thing", ()).__name__ == sample.object
        with pytest.raises(UserError, match="unknown thing: got 'gnoe'; did you mean 'gone'"):
            load(sample.group, "gnoe", "thing", ())
    assert not [plugin for plugin in plugins(sample.group) if plugin.distribution == "others"]


def test_a_plugin_of_one_group_is_none_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, RULES, "others", "apart", RULE, {"sign": "apart:Sign"})
    with installed(tmp_path, monkeypatch):
        assert "sign" in {plugin.name for plugin in plugins(RULES)}
        assert "sign" not in {plugin.name for plugin in plugins(TASKS)}


def _refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, group: Group, name: str, module: str, code: str, target: str
) -> str:
    """What is said of a plugin that cannot be used."""
    install(folder, group, "others", module, code, {name: f"{module}{target}"})
    with installed(folder, monkeypatch):
        (plugin,) = (plugin for plugin in plugins(group) if plugin.distribution == "others")
        with pytest.raises(UserError) as caught:
            plugin.load()
    said = str(caught.value)
    assert said.startswith(f"{group.noun} {name!r} comes from a plugin that cannot be used (")
    assert said.endswith("): got 'others'; update or remove that distribution")
    return said


BROKEN = {
    "no module": ("", "_gone:{object}", "ModuleNotFoundError"),
    "no attribute": ("", ":{object}", "AttributeError"),
    "fails to import": ("1 / 0", ":{object}", "ZeroDivisionError: division by zero"),
    "exits": ("import sys; sys.exit(3)", ":{object}", "SystemExit"),
    "a function": ("def {object}(): pass", ":{object}", "{object} is not a frozen dataclass"),
    "not a dataclass": ("class {object}: {key} = '{name}'", ":{object}", "{object} is not a frozen dataclass"),
    "not frozen": (
        "import dataclasses\n@dataclasses.dataclass\nclass {object}: {key} = '{name}'", ":{object}",
        "{object} is not a frozen dataclass",
    ),
}  # fmt: skip


@each_sample
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: _Sample, case: str) -> None:
    words = {"object": sample.object, "name": sample.name, "key": sample.group.key}
    code, target, message = (text.format(**words) for text in BROKEN[case])
    module = f"broken_{sample.name}_{case.replace(' ', '_')}"
    assert message in _refusal(tmp_path, monkeypatch, sample.group, sample.name, module, code, target)


@each_sample
def test_a_plugin_of_another_name_or_annotation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: _Sample
) -> None:
    group, name = sample.group, sample.name
    field, hint = sample.field.split(": ")
    changes = {
        "vase": (f'"{name}"', '"vase"', f"attribute {group.key!r} is 'vase', not {name!r}"),
        "hint": (sample.field, f"{field}: 'X{hint}'", "NameError"),
    }
    for case, (old, new, message) in changes.items():
        (tmp_path / case).mkdir()
        code = sample.code.replace(old, new)
        said = _refusal(tmp_path / case, monkeypatch, group, name, f"{case}_{name}", code, f":{sample.object}")
        assert message in said


def test_a_class_without_the_members_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = RULE.replace("(Classic)", "")
    said = _refusal(tmp_path, monkeypatch, RULES, "sign", "memberless", code, ":Sign")
    assert "it lacks needs, coordinatewise, state_size, init_phi, init_state, update, sequence" in said


@pytest.mark.parametrize(("group", "name"), [(RULES, "adam"), (RULES, "symbolic"), (TASKS, "mlp"), (TASKS, "mlp-orig")])
def test_a_taken_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: Group, name: str) -> None:
    said = _refusal(tmp_path, monkeypatch, group, name, "unread", "1 / 0", ":Thing")
    assert f"its name is that of a built-in {group.noun}" in said
