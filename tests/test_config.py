"""Strict loading: what a user may write, and one clear line for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayl2o.config import RunConfig, dump, load, load_text, parse, plain_yaml
from rayl2o.errors import UserError
from rayl2o.presets import presets
from rayl2o.unroll.settings import UnrollConfig

MISTAKES = {
    # override: what the message must say
    "unroll.stps=3": "did you mean 'steps'",
    "updats=3": "did you mean 'updates'",
    "learner.rtg.l=1": "unknown key in learner.rtg",
    "updates=true": "give a whole number",
    "updates=10.0": "give a whole number",
    "updates='10'": "give a whole number",
    "updates=ten": "give a whole number",
    "updates=010": "give a whole number",
    "updates=1:30": "give a whole number",
    "updates=": "give a whole number",
    "lag=2001-01-01": "give a whole number",
    "learner.rtg.lr=fast": "give a number",
    "learner.rtg.lr=true": "give a number",
    "output.segments=yes": "give true or false",
    "output.segments=1": "give true or false",
    "rule.kind=3": "give text",
    "rule.kind=null": "give text",
    "rule.settings=[1]": "give a mapping",
    "curriculum.n_train=100": "give a list",
    "curriculum.n_train=[100, x]": "curriculum.n_train.1",
    "curriculum.n_train=[100, 150.0]": "give a whole number",
    "unroll=5": "is a section",
    "unroll=": "is a section",
    "learner.rtg=adam": "is a section",
    "unroll.steps.x=3": "is a value, not a section",
    "updates": "must read key=value",
    "=3": "must read key=value",
    "unroll.=3": "unknown key in unroll",
    ".updates=3": "unknown key",
    "rule.kind=!!binary aGk=": "not plain YAML",
    "rule.kind=!!python/object/apply:os.getcwd []": "not plain YAML",
    "task.settings={a: &x [1], b: *x}": "aliases are not allowed",
    "task.settings={a: 1, a: 2}": "stands twice",
    "task.settings={1: 2}": "is not a name",
    "task.settings=[1": "not plain YAML",
    "task.settings=" + "[" * 5000: "nested too deeply",
    "updates=0": "updates must be at least 1",
    "output.keep=1": "output.keep must be at least 2",
    "unroll.credit=exat": "did you mean 'exact'",
    "unroll.steps=7": "multiples of unroll.steps=7",
    "rule.kind=rnnprp": "rnnprop",
    "task.name=mlp-origg": "did you mean 'mlp-orig'",
    "task.settings.actvation=relu": "actvation",
    "behaviour.teachers=[adan:lr=0.01]": "adam",
}

DOCUMENTS = {
    "a list": ("- 1\n- 2\n", "must be a mapping"),
    "a word": ("updates\n", "must be a mapping"),
    "a number": ("3", "must be a mapping"),
    "tabs": ("unroll:\n\tsteps: 20\n", "not plain YAML"),
    "a repeated key": ("updates: 3\nupdates: 4\n", "stands twice"),
    "two documents": ("updates: 3\n---\nupdates: 4\n", "not plain YAML"),
    "an open quote": ("rule: {kind: 'dm}\n", "not plain YAML"),
    "a merge key": ("unroll: {<<: {steps: 10}}\n", "unknown key in unroll"),
    "many laughs": (
        "a: &a [x, x, x]\n"
        + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "aliases are not allowed",
    ),
    "control characters": ("updates: \x01\n", "not plain YAML"),
    "an unhashable key": ("{[1]: 2}\n", "is not a name"),
}


def _refused(text: str, says: str) -> None:
    assert says in text
    assert "\n" not in text
    assert len(text) < 600


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistaken_override_is_one_clear_line(override: str) -> None:
    with pytest.raises(UserError) as caught:
        load("quickstart", [override])
    _refused(str(caught.value), MISTAKES[override])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_no_config_is_one_clear_line(name: str, tmp_path: Path) -> None:
    text, says = DOCUMENTS[name]
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load(str(path))
    _refused(str(caught.value), says)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.yaml", None, "cannot be read"),
        ("bytes.yaml", b"\xff\xfe\x00updates", "not UTF-8"),
        ("large.yaml", b"#" * 70_000, "bytes"),
        ("folder.yaml", "folder", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read(name: str, content: object, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        load(str(path))


@pytest.mark.parametrize(("name", "says"), [("quickstrt", "did you mean 'quickstart'"), ("updates=3", "comes first")])
def test_an_unknown_preset(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(name)


def test_a_folder_of_a_presets_name_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quickstart").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("quickstart").rule.kind


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-2", -2),
        ("1_000", "1_000"),
        (".5", 0.5),
        (".inf", float("inf")),
        ("no", "no"),
        ("on", "on"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("'1'", "1"),
        ("[20, 20]", [20, 20]),
        ("{a: b}", {"a": "b"}),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = plain_yaml(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_survives_a_dump(name: str) -> None:
    config = load(name, ["updates=3"])
    assert load_text(dump(config), "again") == config


def test_text_that_looks_like_something_else_survives_a_dump() -> None:
    config = RunConfig()
    for text in ("1e5", "no", "null", "1.0", "0x1", "~", "", "a: b", "ä", "*x"):
        config.task.settings["init_std"] = text
        dumped = dump(config)
        assert plain_yaml(dumped)["task"]["settings"]["init_std"] == text


def test_overrides_reach_nested_fields_and_keep_the_rest() -> None:
    config = load(
        "quickstart", ["learner.rtg.lr=1e-2", "curriculum.n_train=[20, 40]", "unroll.loss_cap=.inf", "seed=7"]
    )
    assert config.learner.rtg.lr == 1e-2
    assert config.curriculum.n_train == (20, 40)
    assert config.unroll.loss_cap == float("inf")
    assert config.seed == 7
    assert config.curriculum.kind == load("quickstart").curriculum.kind


def test_an_empty_document_is_the_default() -> None:
    assert parse({}) == RunConfig(unroll=UnrollConfig(credit="exact"))


def test_a_gpu_is_for_one_process() -> None:
    assert parse({"unroll": {"device": "cuda"}}).unroll.device == "cuda"
    with pytest.raises(UserError, match="run on CPUs"):
        parse({"unroll": {"device": "cuda"}, "runtime": {"kind": "local"}})


@pytest.mark.parametrize(
    ("data", "credit"),
    [
        ({}, "exact"),
        ({"rule": {"kind": "dm"}}, "curvature"),
        ({"rule": {"kind": "dm"}, "estimator": "bptt"}, "exact"),
        ({"rule": {"kind": "gru"}}, "first_order"),
        ({"rule": {"kind": "mlp"}}, "exact"),
        ({"rule": {"kind": "dm"}, "unroll": {"credit": "first_order"}}, "first_order"),
        ({"unroll": {"credit_horizon": 80}}, "first_order"),
        ({"unroll": {"discount": 0.9}}, "first_order"),
    ],
)
def test_the_credit_follows_the_rule_where_none_is_named(data: dict[str, Any], credit: str) -> None:
    config = parse(data)
    assert config.unroll.credit == credit
    assert load_text(dump(config), "again") == config


def test_autograd_has_no_curvature_credit() -> None:
    with pytest.raises(UserError, match="no curvature"):
        parse({"estimator": "bptt", "unroll": {"credit": "curvature"}})
