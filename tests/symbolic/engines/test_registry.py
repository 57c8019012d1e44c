"""Engines by name: all are listed, those that can run here are made, mistakes are named."""

from __future__ import annotations

from dataclasses import fields

import pytest

from rayl2o.errors import UserError
from rayl2o.symbolic.engines import registry
from rayl2o.symbolic.engines.evolved import Evolved
from rayl2o.symbolic.engines.registry import DEFAULT, ENGINES, engine, is_available


def test_all_are_listed() -> None:
    assert set(ENGINES) == {"evolved", "linear", "template", "operon", "pysr"}
    assert [name for name, info in ENGINES.items() if not info.discovers] == ["template"]


@pytest.mark.parametrize("name", [name for name, info in ENGINES.items() if not info.needs])
def test_made_by_name(name: str) -> None:
    assert is_available(name)
    assert engine(name).name == name


def test_settings() -> None:
    assert engine(DEFAULT, {"islands": 1, "unary": ["tanh"]}) == Evolved(islands=1, unary=("tanh",))
    with pytest.raises(UserError, match="did you mean 'islands'"):
        engine("evolved", {"island": 1})
    with pytest.raises(UserError, match="refuses its settings"):
        engine("evolved", {"islands": "many"})
    with pytest.raises(UserError, match="must be positive"):
        engine("evolved", {"islands": 0})


def test_unknown_names() -> None:
    for ask in (engine, is_available):
        with pytest.raises(UserError, match="did you mean 'evolved'"):
            ask("evolve")


def test_one_that_cannot_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = registry.EngineInfo("rayl2o.symbolic.engines.not_there", "X", "", needs="a library")
    monkeypatch.setattr(registry, "ENGINES", {**ENGINES, "missing": missing})
    assert not is_available("missing")
    with pytest.raises(UserError, match="it needs: a library"):
        engine("missing")


def test_what_counts_the_steps_of_a_search_is_a_setting_of_its_engine() -> None:
    counted = {name: info.steps for name, info in ENGINES.items() if info.steps}
    assert counted == {"evolved": "generations", "operon": "generations", "pysr": "iterations"}
    for name, setting in counted.items():
        assert setting in {field.name for field in fields(registry._factory(name))}
