from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.cli.task_argument import family, parsed
from rayl2o.errors import UserError
from rayl2o.tasks.mixture import Mixture
from rayl2o.tasks.networks.mlp import MLP


def test_data_and_settings_override_the_defaults() -> None:
    found = family("mlp", "digits", ["hidden=[3, 3]", "init_std=1e-2"], {"data": "mnist", "batch_size": 7})
    assert found == MLP(data="digits", hidden=(3, 3), init_std=0.01, batch_size=7)


def test_values_are_read_as_yaml() -> None:
    assert parsed(["a=[1, 2]", "b=x", "c=1e-3", "d=true"]) == {"a": [1, 2], "b": "x", "c": 1e-3, "d": True}


@pytest.mark.parametrize(
    ("name", "data", "settings", "says"),
    [
        ("mlp-origg", None, [], "did you mean 'mlp-orig'"),
        ("mlp-orig", "minst", [], "did you mean 'mnist'"),
        ("quadratic", "digits", [], "has no data"),
        ("mlp-orig", None, ["hidden=[3]"], "fixed"),
        ("mlp", None, ["hidden=[3"], "--set hidden"),
        ("mlp", None, ["hidden"], "key=value"),
    ],
)
def test_what_is_no_task(name: str, data: str | None, settings: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        family(name, data, settings)


def test_a_file_may_name_the_task(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mlp\nsettings: {hidden: [3], batch_size: 9}\n")
    assert family(str(path), None, ["batch_size=5"]) == MLP(hidden=(3,), batch_size=5)
    path.write_text("name: mixture\nsettings:\n  tasks:\n    - {name: quadratic, weight: 2}\n")
    assert isinstance(family(str(path), None, []), Mixture)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: mlp\nsetings: {}\n", "did you mean 'settings'"),
        ("name: 3\n", "name in .* has the wrong type"),
        ("- mlp\n", "must be a mapping of names"),
        ("name: mlpp\n", "did you mean 'mlp'"),
    ],
)
def test_a_file_that_names_none(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        family(str(tmp_path / "mine.yaml"), None, [])
    with pytest.raises(UserError, match="cannot be read"):
        family(str(tmp_path / "other.yaml"), None, [])
