from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.plugins import plugins
from tests.tasks.plugin_files import GOOD, install, installed


def test_none_installed_none_found() -> None:
    assert [plugin for plugin in plugins() if plugin.distribution == "bowls"] == []


def test_a_plugin_is_found_without_being_imported_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "bowls", "bowls_a", GOOD, {"bowl": "bowls_a:Bowl", "gone": "bowls_a_gone:Bowl"})
    with installed(tmp_path, monkeypatch):
        found = {plugin.name: plugin for plugin in plugins()}
        assert found["bowl"].distribution == "bowls"
        assert found["bowl"].load(()).__name__ == "Bowl"


BROKEN = {
    "no module": ("", "broken_x:Bowl", "ModuleNotFoundError"),
    "no attribute": ("", "{module}:Bowl", "AttributeError"),
    "fails to import": ("1 / 0", "{module}:Bowl", "ZeroDivisionError: division by zero"),
    "exits": ("import sys; sys.exit(3)", "{module}:Bowl", "SystemExit"),
    "a function": ("def Bowl(): pass", "{module}:Bowl", "not a frozen dataclass"),
    "not a dataclass": ("class Bowl: family = 'bowl'", "{module}:Bowl", "not a frozen dataclass"),
    "not frozen": (GOOD.replace("@dataclass(frozen=True)", "@dataclass"), "{module}:Bowl", "not a frozen dataclass"),
    "another family": (GOOD.replace('"bowl"', '"vase"'), "{module}:Bowl", "'family' is 'vase', not 'bowl'"),
    "bad annotation": (GOOD.replace("size: int", "size: 'Int'"), "{module}:Bowl", "NameError"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    code, target, message = BROKEN[case]
    module = f"broken_{case.replace(' ', '_')}"
    install(tmp_path, "bowls", module, code, {"bowl": target.format(module=module)})
    with installed(tmp_path, monkeypatch):
        (plugin,) = (plugin for plugin in plugins() if plugin.distribution == "bowls")
        with pytest.raises(UserError) as caught:
            plugin.load(())
    assert message in str(caught.value)
    assert "'bowls'" in str(caught.value)


def test_a_taken_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "bowls", "bowls_b", "1 / 0", {"mlp": "bowls_b:Bowl"})
    with installed(tmp_path, monkeypatch):
        (plugin,) = (plugin for plugin in plugins() if plugin.distribution == "bowls")
        with pytest.raises(UserError, match="its name is that of a built-in task"):
            plugin.load({"mlp"})
