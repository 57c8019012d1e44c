"""Presets of engines: shipped ones can be made, a file of the user's is read strictly, and what is written is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.evolved import Evolved
from rayl2o.symbolic.engines.preset import EnginePreset, dump_preset, parse_preset, read_preset
from rayl2o.symbolic.engines.presets import preset_text, presets
from rayl2o.symbolic.engines.registry import ENGINES, engine, has_setting, is_available, resolve

FULL = EnginePreset(
    "evolved",
    {"population": 40, "unary": ["tanh", "exp"]},
    Budget(12.5, 33),
    {"mode": "ema", "betas": [0.5, 0.9]},
    {"study": "mine", "scored": {"best": 0.2, "default": 1e-05}},
)


@pytest.mark.parametrize("name", presets())
def test_a_shipped_preset_is_an_engine(name: str) -> None:
    assert name not in ENGINES, "a preset must not hide an engine"
    assert preset_text(name).startswith("# ")
    found = resolve(name)
    assert found.budget is not None
    assert is_available(name) == is_available(found.engine)
    for setting in found.settings if is_available(name) else ():
        assert has_setting(name, setting)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    text = dump_preset(FULL, "a summary")
    assert text.splitlines()[0] == "# a summary"
    assert parse_preset(text, "here") == FULL
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert read_preset(str(file)) == FULL
    assert engine(str(file)) == Evolved(population=40, unary=("tanh", "exp"))
    assert engine(str(file), {"population": 7}) == Evolved(population=7, unary=("tanh", "exp")), (
        "the caller's word is last"
    )
    assert is_available(str(file))
    assert has_setting(str(file), "offset")
    assert parse_preset("engine: linear", "here") == EnginePreset("linear")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("engine: [", "not plain YAML"),
        ("engine: !!python/object/apply:os.system [true]", "not plain YAML"),
        ("engine: evolved\norigin: {a: &a [1], b: *a}", "aliases are not allowed"),
        ("engine: " + "[" * 60_000, "nested too deeply"),
        ("engine: " + "- " * 30_000, "not plain YAML"),
        ("- 1", "mapping of names"),
        ("settings: {}", "names no engine"),
        ("engine: evolved\nsetting: {}", "did you mean 'settings'"),
        ("engine: evolved\nsettings: [1]", "settings in .* mapping"),
        ("engine: evolved\noperands: {beta: [0.5]}", "did you mean 'betas'"),
        ("engine: evolved\nbudget: {cpu: 1}", "did you mean 'cpu_s'"),
        ("engine: evolved\nbudget: {cpu_s: 0}", "bad budget"),
        ("engine: evolved\nbudget: {cpu_s: soon}", "bad budget"),
        ("engine: evolved\nbudget: {max_complexity: 1.5}", "bad budget"),
        ("engine: evolve", "did you mean 'evolved'"),
        ("engine: evolved\nsettings: {island: 1}", "did you mean 'islands'"),
        ("engine: evolved\nsettings: {islands: many}", "refuses its settings"),
        ("engine: evolved\n#" + "x" * 70_000, "a few lines"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=says):
        engine(str(file))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        engine(str(tmp_path / "none.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        engine(str(tmp_path / "binary.yaml"))
    with pytest.raises(UserError, match="did you mean 'pysr-paper-code'"):
        engine("pysr-paper-cod")
