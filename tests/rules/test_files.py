"""Rule files: what is written is read back, and whatever is wrong with a file is named."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules import files
from rayl2o.rules.base import Rule
from rayl2o.rules.files import CARD_FIELDS, load_rule, save_rule
from rayl2o.rules.registry import make
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator

CARD = {"tasks": ["mlp-orig"], "horizon": 1000, "compute": "40 CPU s", "known_failures": [], "note": "a"}


def _saved(folder: Path, kind: str = "rnnprop-small", settings: Mapping[str, Any] | None = None) -> tuple[Path, Rule]:
    rule = make(kind, settings or {})
    return save_rule(folder / "rule", rule, rule.init_phi(generator("files")), CARD), rule


@pytest.mark.parametrize("kind", ["dm", "rnnprop-small"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_learned_rule_comes_back(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    rule = make(kind, {"output_scale": 0.03})
    phi = rule.init_phi(generator("files"), dtype)
    path = save_rule(tmp_path / "deep" / "a.v1", rule, phi, CARD)
    assert path == tmp_path / "deep" / "a.v1.json"
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.v1.json", "a.v1.safetensors"]
    for given in (path, str(path), path.parent / "a.v1.safetensors"):
        loaded = load_rule(given)
        assert (loaded.name, loaded.rule, loaded.kind, loaded.card) == ("a.v1", rule, rule.kind, CARD)
        assert set(loaded.phi) == set(phi)
        assert all(torch.equal(loaded.phi[name], phi[name]) for name in phi)
        assert loaded.phi["linear.w"].dtype == dtype


def test_weights_of_any_memory_order_and_graph_are_saved(tmp_path: Path) -> None:
    rule = make("dm-small", {})
    phi = {
        name: weight.t().contiguous().t().requires_grad_() for name, weight in rule.init_phi(generator("files")).items()
    }
    loaded = load_rule(save_rule(tmp_path / "rule", rule, phi, {}))
    assert all(torch.equal(loaded.phi[name], phi[name]) for name in phi)
    assert not loaded.phi["linear.w"].requires_grad
    assert loaded.card == dict.fromkeys(CARD_FIELDS)


def test_a_formula_is_one_file_with_its_tuned_constants(tmp_path: Path) -> None:
    rule = make("symbolic", {"formula": "-0.1*g + 0.5*lag(g, 1)", "clamp": 0.25})
    assert isinstance(rule, SymbolicRule)
    loaded = load_rule(save_rule(tmp_path / "as is", rule, {}, CARD))
    assert (loaded.name, loaded.kind, loaded.card) == ("as is", "symbolic", CARD)
    assert isinstance(loaded.rule, SymbolicRule)
    assert loaded.rule.digest == rule.digest
    assert all(torch.equal(loaded.phi[name], weight) for name, weight in rule.init_phi().items())
    tuned = {"coefficients": torch.tensor([-0.25, 0.75]), "gain": torch.tensor(2.0)}
    again = load_rule(save_rule(tmp_path / "tuned", rule, tuned, {}))
    assert again.phi["coefficients"].tolist() == [-0.25, 0.75]
    assert again.phi["gain"].item() == 2.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["as is.json", "tuned.json"]


def test_a_classic_rule_is_one_file_without_weights(tmp_path: Path) -> None:
    path, rule = _saved(tmp_path, "adam", {"lr": 0.25})
    loaded = load_rule(path)
    assert (loaded.rule, loaded.phi) == (rule, {})
    assert [p.name for p in tmp_path.iterdir()] == ["rule.json"]


def test_saving_again_replaces(tmp_path: Path) -> None:
    first, rule = _saved(tmp_path)
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    _saved(tmp_path)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before
    phi = rule.init_phi(generator("others"))
    save_rule(tmp_path / "rule", rule, phi, {})
    assert torch.equal(load_rule(first).phi["linear.w"], phi["linear.w"])


@pytest.mark.parametrize(
    ("phi", "card", "error"),
    [
        ({}, CARD, UserError),
        ({"linear.w": torch.zeros(7, 1)}, CARD, UserError),
        (None, {"tasks": math.nan}, ValueError),
        (None, {"tasks": {1}}, TypeError),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_files_alone(
    phi: dict[str, Tensor] | None, card: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    path, rule = _saved(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(error):
        save_rule(path.with_suffix(""), rule, rule.init_phi(generator("new")) if phi is None else phi, card)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_full_disk_leaves_the_old_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rule = _saved(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_rule(path.with_suffix(""), rule, rule.init_phi(generator("new")), {})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema_version=2), "schema_version of .*: got 2; this release reads version 1"),
        (lambda c: c.pop("schema_version"), "schema_version of .*: got None"),
        (lambda c: c.update(schema_version=True), "schema_version of .*: got True"),
        (lambda c: c.pop("kind"), "key 'kind' of .* is missing or of the wrong type"),
        (lambda c: c.update(kind="rnprop"), "unknown rule: got 'rnprop'; did you mean 'rnnprop'"),
        (lambda c: c.update(kind=[1]), "key 'kind' of .* is missing or of the wrong type"),
        (lambda c: c.pop("settings"), "key 'settings' of .* is missing"),
        (lambda c: c["settings"].update(hiden=[7]), "did you mean 'hidden'"),
        (lambda c: c["settings"].update(hidden=[8]), "'lstm_1.w_gates' .* has the wrong shape: got .13, 28."),
        (lambda c: c.update(tensors_sha256=None), "lacks a tensor: got 'input_projection.w'"),
        (lambda c: c.update(tensors_sha256=5), "key 'tensors_sha256' of .* wrong type"),
        (lambda c: c.update(tensors_sha256="00"), "damaged or not the file its JSON was written for"),
        (lambda c: c.update(card=[]), "key 'card' of .* is missing or of the wrong type"),
        (lambda c: c.update(crad={}), "unknown key in .*: got 'crad'; did you mean 'card'"),
    ],
)
def test_a_wrong_description_is_named(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    path, _ = _saved(tmp_path)
    _edit(path, change)
    with pytest.raises(UserError, match=message):
        load_rule(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON file"),
        ("{", "not a JSON file"),
        ("[1]", "a rule file holds one JSON object"),
        ('{"schema_version": NaN}', "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ("[" * 100_000, "nested too deeply"),
        ("\ud800", "not a JSON file"),
    ],
)
def test_what_is_not_json_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(UserError, match=message):
        load_rule(path)


def test_a_huge_description_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = _saved(tmp_path)
    monkeypatch.setattr(files, "JSON_LIMIT", 100)
    with pytest.raises(UserError, match="file too large for a rule"):
        load_rule(path)


def test_any_flipped_byte_of_the_weights_is_noticed(tmp_path: Path) -> None:
    path, _ = _saved(tmp_path)
    weights = path.with_suffix(".safetensors")
    data = weights.read_bytes()
    for position in (0, 9, len(data) // 2, len(data) - 1):
        weights.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(UserError, match="damaged or not the file its JSON was written for"):
            load_rule(path)
    weights.write_bytes(data[:-5])
    with pytest.raises(UserError, match="damaged"):
        load_rule(weights)
    weights.write_bytes(data)
    load_rule(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda phi: phi.pop("linear.b"), "lacks a tensor: got 'linear.b'"),
        (lambda phi: phi.update(extra=torch.zeros(1)), "unknown tensor in .*: got 'extra'"),
        (lambda phi: phi["linear.w"].__setitem__(0, math.inf), "'linear.w' .* is not finite: got '1 values'"),
        (lambda phi: phi.update({"linear.b": torch.zeros(1, dtype=torch.int32)}), "'linear.b' .* holds no floats"),
    ],
)
def test_wrong_weights_are_named_even_under_a_right_checksum(
    change: Callable[[dict[str, Tensor]], object], message: str, tmp_path: Path
) -> None:
    path, _ = _saved(tmp_path)
    weights = path.with_suffix(".safetensors")
    phi = load_file(weights)
    change(phi)
    save_file(phi, weights)
    _edit(path, lambda c: c.update(tensors_sha256=hashlib.sha256(weights.read_bytes()).hexdigest()))
    with pytest.raises(UserError, match=message):
        load_rule(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    path, _ = _saved(tmp_path)
    path.with_suffix(".safetensors").rename(tmp_path / "moved.safetensors")
    with pytest.raises(
        UserError, match=r"cannot read the file \(No such file or directory\): got '.*rule.safetensors'"
    ):
        load_rule(path)
    with pytest.raises(UserError, match="published weights become a rule file by 'rayl2o import-weights'"):
        load_rule(tmp_path / "moved.safetensors")
    with pytest.raises(UserError, match=r"cannot read the file .*none.json"):
        load_rule(tmp_path / "none.json")
    with pytest.raises(UserError, match=r"not a rule file: got '.*rule.pt'; give a .json or .safetensors file"):
        load_rule(tmp_path / "rule.pt")
