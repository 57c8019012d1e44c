"""Shipped formulas: each is what paper S prints, its card is whole, and the guards' verdict in it is the one they give."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules import named
from rayl2o.rules.base import Inputs
from rayl2o.rules.named import CARD_FIELDS, card_of, is_named, named_rule, named_rules, read_named, warning_of
from rayl2o.symbolic.card_guards import verdict_of

PRINTED = tuple(f"symbolic-l2o-eq{number}" for number in ("2", "6", "7a", "7b", "7c", "8a", "8b"))
Past = Callable[[int], float]


def _spow(x: float, y: float) -> float:
    return math.copysign(abs(x) ** y, x)


def _root(x: float) -> float:
    return _spow(x, 0.5)


def _eq2(g: Past, t: int) -> float:
    inner = math.sinh(g(0)) + sum(0.9**i * math.tanh(g(i)) for i in range(20))
    return 0.013 * math.exp(-0.835 * math.asinh(t)) * (math.erfc(inner) - 1)


def _eq7a(g: Past, t: int) -> float:
    root = _root(0.01 * g(0) + 0.01 * math.asinh(g(1)) + 0.01 * math.asinh(g(2)))
    return -_spow(math.asinh(math.copysign(math.log(1 + abs(root)), root)), 0.89)


def _eq7b(g: Past, t: int) -> float:
    def power(lag: int, exponent: float) -> float:
        return _spow(math.asinh(g(lag)), exponent)

    inner = power(0, 2.2) + 0.7 * power(1, 2.3) + 0.5 * power(3, 1.7) + 0.2 * power(4, 2.1)
    return -0.02 * g(0) - 0.01 * float(np.sign(g(0) * g(1))) * math.sinh(_root(inner))


def _eq7c(g: Past, t: int) -> float:
    top = g(0) + 0.4 * g(1) + 0.2 * g(2) - 0.01 * math.tanh(g(3)) - 0.01 * math.tanh(g(4))
    return -0.02 * top / math.sqrt(g(0) ** 2 + g(1) ** 2 + g(2) ** 2)


def _eq8b(g: Past, t: int, square: bool = False) -> float:
    weights = (1, 0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.1)
    inner = sum(w * (g(i) ** 2 if square else _spow(g(i), 2)) for i, w in enumerate(weights))
    return -0.02 * g(0) - 0.01 * float(np.sign(g(0) * g(1))) * _root(inner)


def _eq8b_square(g: Past, t: int) -> float:
    return _eq8b(g, t, square=True)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("symbolic-l2o-eq2", _eq2),
        ("symbolic-l2o-eq7a", _eq7a),
        ("symbolic-l2o-eq7b", _eq7b),
        ("symbolic-l2o-eq7c", _eq7c),
        ("symbolic-l2o-eq8a", _eq7b),
        ("symbolic-l2o-eq8b", _eq8b),
        ("symbolic-l2o-eq8b-square", _eq8b_square),
    ],
)
def test_the_rule_is_the_printed_formula(name: str, printed: Callable[[Past, int], float]) -> None:
    rule = read_named(name)
    grads = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    phi = rule.init_phi(dtype=torch.float64)
    time = torch.arange(30, dtype=torch.float64)[:, None]
    state = {"coord": torch.zeros(1, rule.state_size, dtype=torch.float64)}
    deltas, _ = rule.sequence(phi, Inputs(grad=grads[:, None], step=time), state)
    for t in range(30):
        past = [float(grads[t - i]) if i <= t else 0.0 for i in range(20)]
        assert float(deltas[t]) == pytest.approx(printed(past.__getitem__, t), rel=1e-4, abs=1e-12)


def test_eq_6_is_a_sum_of_tanh_over_20_lags_of_two_features() -> None:
    from rayl2o.symbolic.filters import filter_terms

    terms = filter_terms(read_named("symbolic-l2o-eq6").expression) or ()
    assert len(terms) == 40
    assert {term.inner for term in terms} == {0.5}
    assert {term.operand.signal for term in terms} == {"m_tilde", "g_tilde"}


def test_the_printed_ones_are_all_there() -> None:
    assert set(PRINTED) <= set(named_rules())
    assert list(named_rules()) == sorted(named_rules())


@pytest.mark.parametrize("name", named_rules())
def test_a_card_is_whole_and_its_verdict_is_that_of_the_guards(name: str) -> None:
    rule = read_named(name)
    card = card_of(name)
    assert rule.name == name
    assert set(card) == set(CARD_FIELDS)
    assert card["digest"] == rule.digest
    verdict = verdict_of(rule)
    assert {key: card["guards"][key] for key in ("checked", "refused", "flagged")} == {
        key: verdict[key] for key in ("checked", "refused", "flagged")
    }
    assert card["guards"]["steady_response"] == pytest.approx(verdict["steady_response"], rel=2e-2)
    assert card["task"] == ("mlp-orig" if name.startswith("distilled-") or name == "symbolic-l2o-eq6" else None)
    assert card["measured"]["rule"].keys() == {"mlp-orig", "mlp-relu"}
    assert card["measured"]["network"] if name.startswith("distilled-") else card["quote"]


def test_a_refused_rule_is_shipped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    warned = {name for name in named_rules() if warning_of(read_named(name)) is not None}
    assert warned == {"symbolic-l2o-eq7c", "symbolic-l2o-eq8b-square"}
    with caplog.at_level(logging.WARNING):
        read_named("symbolic-l2o-eq7c")
        named_rule("symbolic-l2o-eq8b")
        assert not caplog.records
        named_rule("symbolic-l2o-eq8b-square")
    assert "ascended" in caplog.text


def test_our_own_keep_few_bytes() -> None:
    sizes = {name: 4 * read_named(name).buffers for name in named_rules() if name.startswith("distilled-")}
    assert sizes == {"distilled-dm-4b": 4, "distilled-dm-8b": 8, "distilled-rnnprop-16b": 16, "distilled-rnnprop-8b": 8}
    assert all(read_named(name).clamp is not None for name in sizes)


def test_settings_are_read() -> None:
    rule = named_rule("symbolic-l2o-eq7a: gain=0.01, clamp=2")
    assert (rule.gain, rule.clamp) == (0.01, 2)
    assert rule.expression == read_named("symbolic-l2o-eq7a").expression
    assert is_named("symbolic-l2o-eq7a:gain=0.01")
    assert not is_named("adam:lr=0.1")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("symbolic-l2o-eq9", "named rule"),
        ("symbolic-l2o-eq7a:", "setting of a named rule"),
        ("symbolic-l2o-eq7a:lr=0.1", "setting of a named rule"),
        ("symbolic-l2o-eq7a:gain=1,gain=2", "given twice"),
        ("symbolic-l2o-eq7a:gain=fast", "is a number"),
        ("symbolic-l2o-eq7a:gain", "is a number"),
        ("symbolic-l2o-eq7a:gain=true", "is a number"),
        ("symbolic-l2o-eq7a:gain=NaN", "bad gain"),
        ("symbolic-l2o-eq7a:clamp=-1", "bad clamp"),
        ("../../etc/passwd", "named rule"),
    ],
)
def test_bad_text_is_refused(text: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        named_rule(text)


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (resources.files(named) / "symbolic-l2o-eq7c.json").read_text(encoding="utf-8")
    data = json.loads(text)
    data["gain"] = 2.0
    (tmp_path / "symbolic-l2o-eq7c.json").write_text(json.dumps(data))
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(UserError, match="was changed"):
        read_named("symbolic-l2o-eq7c")
