"""Rules from other distributions: found, loaded when asked for, and named when they cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.plugins import plugins
from tests.rules.plugin_files import GOOD, install, installed


def test_a_plugin_is_found_without_being_imported_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "signs", "signs_a", GOOD, {"sign": "signs_a:Sign", "gone": "signs_a_gone:Sign"})
    assert not [plugin for plugin in plugins() if plugin.distribution == "signs"]
    with installed(tmp_path, monkeypatch):
        found = {plugin.name: plugin for plugin in plugins() if plugin.distribution == "signs"}
        assert set(found) == {"sign", "gone"}
        assert found["sign"].load(()).__name__ == "Sign"


BROKEN = {
    "no module": ("", "broken_rule_x:Sign", "ModuleNotFoundError"),
    "no attribute": ("", "{module}:Sign", "AttributeError"),
    "fails to import": ("1 / 0", "{module}:Sign", "ZeroDivisionError: division by zero"),
    "exits": ("import sys; sys.exit(3)", "{module}:Sign", "SystemExit"),
    "a function": ("def Sign(): pass", "{module}:Sign", "not a frozen dataclass"),
    "not a dataclass": ("class Sign: kind = 'sign'", "{module}:Sign", "not a frozen dataclass"),
    "another kind": (GOOD.replace('"sign"', '"vase"'), "{module}:Sign", "'kind' is 'vase', not 'sign'"),
    "no rule": (GOOD.replace("(Classic)", ""), "{module}:Sign", "lacks needs, coordinatewise, state_size, init_phi"),
    "bad annotation": (GOOD.replace("lr: float", "lr: 'Float'"), "{module}:Sign", "NameError"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    code, target, message = BROKEN[case]
    module = f"broken_rule_{case.replace(' ', '_')}"
    install(tmp_path, "signs", module, code, {"sign": target.format(module=module)})
    with installed(tmp_path, monkeypatch):
        (plugin,) = (plugin for plugin in plugins() if plugin.distribution == "signs")
        with pytest.raises(UserError) as caught:
            plugin.load(())
    assert message in str(caught.value)
    assert "'signs'" in str(caught.value)


def test_a_taken_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "signs", "signs_b", "1 / 0", {"adam": "signs_b:Sign"})
    with installed(tmp_path, monkeypatch):
        (plugin,) = (plugin for plugin in plugins() if plugin.distribution == "signs")
        with pytest.raises(UserError, match="its name is that of a built-in rule"):
            plugin.load({"adam"})
