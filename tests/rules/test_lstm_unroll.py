"""The hand-written backpropagation through time: gradcheck, equality with autograd, bounded memory, honest refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rayl2o.rules import lstm_unroll
from rayl2o.rules.base import Phi
from rayl2o.rules.lstm import Network
from rayl2o.rules.lstm_unroll import unroll, unrollable
from rayl2o.seeds import generator

NETWORKS = [Network(2, 3, (4, 3)), Network(2, None, (3, 4)), Network(2, 3, (4,))]
each_network = pytest.mark.parametrize("net", NETWORKS, ids=repr)


def _problem(net: Network, steps: int, n: int) -> tuple[Phi, list[Tensor], Tensor]:
    draw = generator("unroll", n)
    phi = {name: (2.0 * weight).requires_grad_() for name, weight in net.init(draw, torch.float64).items()}
    features = [
        torch.randn(steps, n, generator=draw, dtype=torch.float64).requires_grad_() for _ in range(net.features)
    ]
    return phi, features, torch.randn(net.state_size, n, generator=draw, dtype=torch.float64)


def _by_autograd(net: Network, phi: Phi, features: list[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    readouts = []
    for t in range(features[0].shape[0]):
        y, state = net.step(phi, [f[t] for f in features], state)
        readouts.append(y)
    return torch.stack(readouts), state


@each_network
def test_gradcheck(net: Network) -> None:
    phi, features, state = _problem(net, 4, 3)

    def readouts(*tensors: Tensor) -> Tensor:
        weights = dict(zip(phi, tensors[net.features :], strict=True))
        return unroll(net, weights, tensors[: net.features], state)[0]

    assert torch.autograd.gradcheck(readouts, (*features, *phi.values()))


@each_network
@pytest.mark.parametrize("room", [2**28, 1_500_000, 0], ids=["all kept", "some kept", "none kept"])
def test_it_is_autograd_through_the_steps(net: Network, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayl2o.rules.lstm.BLOCK_GATES", 0)
    monkeypatch.setattr(lstm_unroll, "RECORD_BYTES", room)
    phi, features, state = _problem(net, 5, 1100)
    upstream = torch.randn(5, 1100, generator=generator("upstream"), dtype=torch.float64)
    y, last = unroll(net, phi, features, state)
    expected, expected_last = _by_autograd(net, phi, features, state)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, expected_last.detach(), rtol=1e-12, atol=1e-12)
    leaves = [*features, *phi.values()]
    found = torch.autograd.grad((y * upstream).sum(), leaves, retain_graph=True)
    wanted = torch.autograd.grad((expected * upstream).sum(), leaves)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * float(b.abs().max()))
    again = torch.autograd.grad((y * upstream).sum(), leaves)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_the_record_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayl2o.rules.lstm.BLOCK_GATES", 0)
    net = NETWORKS[0]
    phi, features, state = _problem(net, 5, 1100)
    kept = []
    for room in (2**28, 1_500_000, 0):
        monkeypatch.setattr(lstm_unroll, "RECORD_BYTES", room)
        y, _ = unroll(net, phi, features, state)
        kept.append(sum(record is not None for record in y.grad_fn.kept))  # type: ignore[union-attr]
    assert kept == [3, 1, 0]


def test_weights_changed_before_the_gradient_are_noticed() -> None:
    phi, features, state = _problem(NETWORKS[0], 3, 5)
    y, _ = unroll(NETWORKS[0], phi, features, state)
    with torch.no_grad():
        phi["lstm_1.w_gates"].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()  # type: ignore[no-untyped-call]


def test_a_second_derivative_is_refused_not_dropped() -> None:
    phi, features, state = _problem(NETWORKS[0], 3, 5)
    y, _ = unroll(NETWORKS[0], phi, features, state)
    (first,) = torch.autograd.grad(y.square().sum(), phi["linear.w"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()  # type: ignore[no-untyped-call]


def test_only_a_gradient_of_the_weights_alone_is_fused() -> None:
    grad, coord = torch.zeros(3, 5), torch.zeros(5, 2)
    weight = {"w": torch.zeros(1, requires_grad=True)}
    assert unrollable(weight, grad, coord)
    assert not unrollable({"w": torch.zeros(1)}, grad, coord)
    assert not unrollable(weight, grad.clone().requires_grad_(), coord)
    assert not unrollable(weight, grad, coord.clone().requires_grad_())
    with torch.no_grad():
        assert not unrollable(weight, grad, coord)
