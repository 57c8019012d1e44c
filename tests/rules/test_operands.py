"""Operands: signals against their definitions, and every way of advancing them against a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.operands import MAX_LAG, SIGNALS, Ema, Lag, Operand, OperandBank, Signal, sign_log

ALL: tuple[Operand, ...] = (
    *(Signal(name) for name in SIGNALS),
    Lag("g", 1),
    Ema("q", 0.5),
    Lag("g", 3),
    Ema("m_tilde", 0.9),
    Lag("q", 2),
    Ema("g", 0.99),
    Lag("g_tilde", 1),
)
BANKS = {
    "all": ALL,
    "signal": (Signal("g"),),
    "one lag": (Lag("m_tilde", 1),),
    "lags only": (Lag("g", 4), Lag("g", 2)),
    "emas only": (Ema("g", 0.9), Ema("g", 0.5)),
    "moments": (Signal("g_tilde"),),
    "none": (),
}


def _grads(steps: int = 12, size: int = 5) -> Tensor:
    grads = torch.randn(steps, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    grads[:, 1] = 0.0
    grads[3:6, 2] = 0.0
    return grads * torch.tensor([1.0, 1.0, 1e-3, 1e-9, 1e4], dtype=torch.float64)


def _plain(operand: Operand, grads: list[float]) -> list[float]:
    """An operand over one coordinate's gradients, straight from the definitions."""
    signal, m, v = [], 0.0, 0.0
    for step, g in enumerate(grads):
        m, v = 0.95 * m + 0.05 * g, 0.95 * v + 0.05 * g * g
        unbias = 1.0 - 0.95 ** (step + 1)
        scale = math.sqrt(v / unbias) + 1e-8
        x = math.exp(10.0) * g
        q = x / 10.0 if abs(x) <= 1.0 else math.copysign((math.log(abs(g)) + 11.0) / 10.0, g)
        values = {"g": g, "q": q, "g_tilde": g / scale, "m_tilde": m / unbias / scale, "t": step / 1000.0}
        signal.append(values[operand.signal])
    if isinstance(operand, Lag):
        return [0.0] * operand.lag + signal[: -operand.lag]
    if isinstance(operand, Ema):
        out, e = [], 0.0
        for s in signal:
            e = operand.beta * e + (1.0 - operand.beta) * s
            out.append(e)
        return out
    return signal


def _advance(bank: OperandBank, grads: Tensor, coord: Tensor, first: int = 0) -> tuple[dict[Operand, Tensor], Tensor]:
    rows = []
    for step, grad in enumerate(grads):
        values, coord = bank.advance(grad, torch.tensor(float(first + step), dtype=grads.dtype), coord)
        rows.append(values)
    return {operand: torch.stack([row[operand] for row in rows]) for operand in bank.operands}, coord


@pytest.mark.parametrize("operand", ALL, ids=str)
def test_values_follow_the_definitions(operand: Operand) -> None:
    grads = _grads()
    values = OperandBank((operand,)).run(grads)[operand]
    expected = torch.tensor([_plain(operand, column.tolist()) for column in grads.T], dtype=torch.float64).T
    torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", BANKS)
def test_every_way_of_advancing_agrees(name: str) -> None:
    bank, grads = OperandBank(BANKS[name]), _grads()
    zero = grads.new_zeros(5, bank.state_size)
    stepped, last = _advance(bank, grads, zero)
    assert last.shape == zero.shape

    steps = torch.arange(12.0, dtype=torch.float64)[:, None]
    unrolled, unrolled_last = bank.unroll(grads, steps, zero)
    run = bank.run(grads)
    buffers = zero.T.clone()
    for step, grad in enumerate(grads):
        in_place = bank.advance_(grad, step, buffers)
        for operand in bank.operands:
            torch.testing.assert_close(in_place[operand], stepped[operand][step], rtol=1e-13, atol=0)
    torch.testing.assert_close(buffers.T, last, rtol=1e-13, atol=0)
    torch.testing.assert_close(unrolled_last, last, rtol=1e-13, atol=0)
    for operand in bank.operands:
        torch.testing.assert_close(unrolled[operand], stepped[operand], rtol=1e-13, atol=0)
        torch.testing.assert_close(run[operand], stepped[operand], rtol=1e-9, atol=0)


@pytest.mark.parametrize("cut", [1, 2, 7])
def test_unrolling_resumes_from_state(cut: int) -> None:
    """Also where a piece is shorter than the longest lag."""
    bank, grads = OperandBank(ALL), _grads()
    steps = torch.arange(12.0, dtype=torch.float64)[:, None]
    whole, _ = bank.unroll(grads, steps, grads.new_zeros(5, bank.state_size))
    first, coord = bank.unroll(grads[:cut], steps[:cut], grads.new_zeros(5, bank.state_size))
    second, _ = bank.unroll(grads[cut:], steps[cut:], coord)
    for operand in ALL:
        torch.testing.assert_close(torch.cat((first[operand], second[operand])), whole[operand], rtol=1e-13, atol=0)


def test_columns_may_come_from_different_windows() -> None:
    bank, grads = OperandBank(ALL), _grads()
    steps = torch.arange(12.0, dtype=torch.float64)[:, None] + torch.tensor([0.0, 100.0, 0.0, 7.0, 900.0])
    values, _ = bank.unroll(grads, steps, grads.new_zeros(5, bank.state_size))
    alone, _ = bank.unroll(grads[:, 4:], steps[:, 4:], grads.new_zeros(1, bank.state_size))
    for operand in ALL:
        torch.testing.assert_close(values[operand][:, 4:], alone[operand], rtol=1e-13, atol=0)
    torch.testing.assert_close(values[Signal("t")][5], (steps[5] / 1000.0))


def test_any_leading_shape_and_nothing_mutated() -> None:
    bank, grads = OperandBank(ALL), _grads()[:6].reshape(6, 5)
    coord = torch.rand(5, bank.state_size, dtype=torch.float64)
    before = coord.clone()
    step = torch.tensor(4.0)
    flat, flat_coord = bank.advance(grads[0], step, coord)
    deep, deep_coord = bank.advance(grads[0].view(1, 5, 1), step, coord.view(1, 5, 1, -1))
    assert torch.equal(coord, before)
    assert torch.equal(deep_coord.reshape(5, -1), flat_coord)
    assert all(torch.equal(deep[operand].flatten(), flat[operand]) for operand in ALL)


def test_state_is_shared() -> None:
    assert OperandBank((Signal("g_tilde"), Signal("m_tilde"), Ema("g_tilde", 0.5))).state_size == 3
    assert OperandBank((Lag("g", 2), Lag("g", 5), Lag("q", 1))).state_size == 6
    assert OperandBank((Signal("g"), Signal("q"), Signal("t"))).state_size == 0
    with pytest.raises(ValueError, match="distinct"):
        OperandBank((Signal("g"), Signal("g")))


@pytest.mark.parametrize("operand", ALL, ids=str)
def test_finite_slopes_at_zero(operand: Operand) -> None:
    bank = OperandBank((operand,))
    grads = torch.zeros(3, 2, requires_grad=True)
    coord = torch.zeros(2, bank.state_size, requires_grad=True)
    values, last = _advance(bank, grads, coord)
    total = values[operand].sum() + last.sum()
    slopes = torch.autograd.grad(total, (grads, coord), allow_unused=True) if total.requires_grad else ()
    assert all(slope is None or slope.isfinite().all() for slope in slopes)


def test_slopes_are_those_of_the_function() -> None:
    bank = OperandBank(ALL)
    grads = _grads(4)[:, :1] + 0.3

    def total(g: Tensor, coord: Tensor) -> Tensor:
        values, last = _advance(bank, g, coord)
        return torch.stack([value.sum() for value in values.values()]).sum() + last.sum()

    inputs = (grads.requires_grad_(), torch.rand(1, bank.state_size, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(total, inputs)


def test_an_ema_has_gain_one_at_a_constant_signal() -> None:
    values = OperandBank((Ema("g", 0.9),)).run(torch.full((400, 1), 0.7, dtype=torch.float64))
    assert float(values[Ema("g", 0.9)][-1]) == pytest.approx(0.7, rel=1e-12)


def test_sign_log_is_odd_increasing_and_smooth() -> None:
    g = torch.logspace(-12, 30, 5000, dtype=torch.float64)
    assert (sign_log(g).diff() > 0).all()
    assert torch.equal(sign_log(-g), -sign_log(g))
    assert float(sign_log(torch.tensor(1.0))) == pytest.approx(1.1)
    edge = math.exp(-10.0)
    sides = torch.tensor([edge * (1 - 1e-6), edge * (1 + 1e-6)], dtype=torch.float64, requires_grad=True)
    below, above = torch.autograd.grad(sign_log(sides).sum(), sides)[0].tolist()
    assert [below, above] == pytest.approx([math.exp(10.0) / 10.0] * 2, rel=1e-5)
    assert sign_log(torch.tensor([0.0, 3e38])).isfinite().all()


def test_vmap_over_trajectories() -> None:
    bank, grads = OperandBank(ALL), _grads()
    coord = torch.rand(5, bank.state_size, dtype=torch.float64)
    step = torch.tensor(2.0, dtype=torch.float64)
    batched = torch.func.vmap(lambda g: bank.advance(g, step, coord)[1])(grads)
    assert torch.equal(batched[4], bank.advance(grads[4], step, coord)[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Signal("gtilde"), "did you mean 'g_tilde'"),
        (lambda: Lag("n", 1), "unknown signal"),
        (lambda: Lag("t", 1), "no lag and no ema"),
        (lambda: Lag("g", 0), "from 1 to"),
        (lambda: Lag("g", MAX_LAG + 1), "from 1 to"),
        (lambda: Lag("g", 10**5000), "a value of type int"),
        (lambda: Lag("g", True), "bad lag"),
        (lambda: Ema("t", 0.5), "no lag and no ema"),
        (lambda: Ema("g", 0.0), "strictly between"),
        (lambda: Ema("g", 1.0), "strictly between"),
        (lambda: Ema("g", math.nan), "strictly between"),
        (lambda: Ema("g", [0.5]), "type list"),  # type: ignore[arg-type]
        (lambda: Signal(["g"]), "named by text"),  # type: ignore[arg-type]
    ],
)
def test_bad_operands_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UserError, match=message):
        make()
