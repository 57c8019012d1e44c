"""Rules by name: built-in ones, presets, typed specs, plugins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.classic import Adagrad, Adam, RmsProp, Sgd
from rayl2o.rules.dm import DM
from rayl2o.rules.lion import Lion
from rayl2o.rules.registry import GROUP, KINDS, PRESETS, RuleInfo, make, parse_rule, rules
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.scheduled import Scheduled
from rayl2o.rules.schedules import Cosine
from tests.plugin_files import RULE, install, installed


def test_every_rule_is_listed_with_what_it_is() -> None:
    infos = {info.name: info for info in rules()}
    assert set(infos) >= {*KINDS, *PRESETS, "symbolic"}
    assert infos["adam"] == RuleInfo(
        name="adam", source="built-in", summary=infos["adam"].summary,
        defaults={"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, learned=False, state_bytes=8,
    )  # fmt: skip
    assert (infos["rnnprop"].learned, infos["rnnprop"].state_bytes) == (True, 4 * 82)
    assert (infos["rnnprop-small"].state_bytes, infos["sgd"].state_bytes) == (4 * 16, 0)
    assert infos["symbolic"].state_bytes is None
    for info in infos.values():
        json.dumps(vars(info))
        if info.source == "built-in":
            assert info.summary.endswith(".")
            assert info.error is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("sgd", Sgd()),
        ("adam:lr=0.01", Adam(lr=0.01)),
        (" adam : lr = 1e-2 , beta1 = 0 ", Adam(lr=0.01, beta1=0.0)),
        ("rmsprop:alpha=.9,momentum=.5", RmsProp(alpha=0.9, momentum=0.5)),
        ("adagrad:initial_accumulator_value=0.1", Adagrad(initial_accumulator_value=0.1)),
        ("adam:lr=0.1,cosine=1000", Scheduled(Adam(lr=0.1), Cosine(1000.0))),
        ("lion:lr=0.01", Lion(lr=0.01)),
    ],
)
def test_a_typed_rule_is_read(text: str, rule: object) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adm", "unknown rule: got 'adm'; did you mean 'adam'"),
        ("", "unknown rule"),
        ("adam:rl=0.1", "unknown setting of rule 'adam': got 'rl'; did you mean 'lr'"),
        ("sgd:eps=1", "unknown setting of rule 'sgd': got 'eps'; known: lr"),
        ("adam:lr=fast", "setting adam.lr has the wrong type: got 'fast'; it must be a number"),
        ("adam:lr=nan", "adam: lr out of range: got nan"),
        ("adam:lr=1e999", "adam: lr out of range: got inf"),
        ("adam:lr=-1", "adam: lr out of range: got -1.0"),
        ("adam:lr", "write it like adam:lr=0.01,beta1=0.9"),
        ("adam:", "write it like adam:lr=0.01,beta1=0.9"),
        ("adam:lr=0.1,", "write it like adam:lr=0.01,beta1=0.9"),
        ("adam:=1", "write it like adam:lr=0.01,beta1=0.9"),
        ("adam:lr=1,lr=2", "setting 'lr' is given twice"),
        ("rnnprop", "has weights or a formula of its own: got 'rnnprop'; give its rule file instead"),
        ("dm-small:hidden=3", "give its rule file instead"),
        ("symbolic", "give its rule file instead"),
    ],
)
def test_a_mistyped_rule_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_rule(text)
    assert message in str(caught.value)


def test_make_takes_kinds_and_presets() -> None:
    assert make("dm", {"hidden": [4]}) == DM(hidden=(4,))
    assert make("rnnprop-small", {}) == RnnProp(projection=6, hidden=(7,))
    assert make("rnnprop-small", {"output_scale": 0.03, "hidden": [9]}) == RnnProp(6, (9,), output_scale=0.03)
    assert make("symbolic", {"formula": "-0.1*g"}).kind == "symbolic"


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("rnprop", {}, "did you mean 'rnnprop'"),
        ("dm", {"hiden": [4]}, "did you mean 'hidden'"),
        ("dm", {"hidden": "20"}, "it must be a list of integers"),
        ("dm", {"preprocess_k": "5"}, "it must be a number"),
        ("rnnprop-small", {"hidden": [0]}, "widths must be positive"),
        ("symbolic", {}, "a symbolic rule needs a formula"),
        ("symbolic", {"formula": "-0.1*g", "clmp": 1.0}, "did you mean 'clamp'"),
    ],
)
def test_make_names_what_is_wrong(kind: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        make(kind, settings)
    assert message in str(caught.value)


def test_a_plugin_is_a_rule_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, GROUP, "signs", "signs_c", RULE, {"sign": "signs_c:Sign"})
    with installed(tmp_path, monkeypatch):
        assert vars(parse_rule("sign:lr=0.5")) == {"lr": 0.5}
        info = {info.name: info for info in rules()}["sign"]
    assert info == RuleInfo("sign", "signs", "Signed descent.", {"lr": 0.01}, False, 0)


def test_broken_and_shadowing_plugins_leave_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"sign": "signs_d:Sign", "crash": "signs_d_crash:Sign", "adam": "signs_d:Sign"}
    install(tmp_path, GROUP, "signs", "signs_d", RULE.replace("lr: float = 0.01", "lr: float"), entries)
    with installed(tmp_path, monkeypatch):
        infos = [info for info in rules() if info.source == "signs"]
        assert parse_rule("adam") == Adam()
        with pytest.raises(UserError, match="cannot be used"):
            parse_rule("crash")
        assert vars(parse_rule("sign:lr=0.5")) == {"lr": 0.5}
        with pytest.raises(UserError, match="rule 'sign' refuses its settings"):
            parse_rule("sign")
    errors = {info.name: str(info.error) for info in infos}
    assert "its name is that of a built-in rule" in errors["adam"]
    assert "ModuleNotFoundError" in errors["crash"]
    assert "TypeError" in errors["sign"]


def test_a_name_from_two_plugins_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("signs", "symbols"):
        install(tmp_path, GROUP, name, f"{name}_e", RULE, {"sign": f"{name}_e:Sign"})
    with installed(tmp_path, monkeypatch), pytest.raises(UserError, match="comes from several plugins"):
        make("sign", {})
