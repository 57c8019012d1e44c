"""The network against an independent LSTM, its initialisation, and its block-wise arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rayl2o.rules.base import Phi
from rayl2o.rules.lstm import Network, _elu, blocks, elu_, graph_free
from rayl2o.seeds import generator

NETWORKS = [Network(2, 20, (20, 20)), Network(2, None, (20, 20)), Network(2, 6, (7,)), Network(3, None, (4, 9, 2))]
each_network = pytest.mark.parametrize("net", NETWORKS, ids=repr)


def _problem(net: Network, n: int, steps: int) -> tuple[Phi, Tensor, Tensor]:
    draw = generator("lstm", n)
    phi = {name: weight * 3.0 for name, weight in net.init(draw, torch.float64).items()}
    features = torch.randn(steps, net.features, n, generator=draw, dtype=torch.float64)
    return phi, features, 0.5 * torch.randn(net.state_size, n, generator=draw, dtype=torch.float64)


def _torch_lstm(net: Network, phi: Phi, layer: int) -> torch.nn.LSTMCell:
    """The layer as torch's own cell: gates i, f, g, o, two biases, the forget bias put into one of them."""
    inputs, h = net.inputs[layer], net.hidden[layer]
    cell = torch.nn.LSTMCell(inputs, h, dtype=torch.float64)
    i, j, f, o = phi[f"lstm_{layer + 1}.w_gates"].t().split(h)  # type: ignore[no-untyped-call]
    bi, bj, bf, bo = phi[f"lstm_{layer + 1}.b_gates"].split(h)  # type: ignore[no-untyped-call]
    weight = torch.cat((i, f, j, o))
    with torch.no_grad():
        cell.weight_ih.copy_(weight[:, :inputs])
        cell.weight_hh.copy_(weight[:, inputs:])
        cell.bias_ih.copy_(torch.cat((bi, bf + 1.0, bj, bo)))
        cell.bias_hh.zero_()
    return cell


@each_network
def test_it_is_torchs_lstm_between_two_linear_maps(net: Network) -> None:
    phi, features, state = _problem(net, 11, 4)
    cells = [_torch_lstm(net, phi, layer) for layer in range(len(net.hidden))]
    hc = [rows.t() for rows in torch.split(state, [h for h in net.hidden for _ in "hc"])]
    with torch.no_grad():
        for f in features:
            y, state = net.step(phi, list(f), state)
            x = f.t()
            if net.projection is not None:
                x = torch.nn.functional.elu(x @ phi["input_projection.w"] + phi["input_projection.b"])
            for layer, cell in enumerate(cells):
                hc[2 * layer], hc[2 * layer + 1] = cell(x, (hc[2 * layer], hc[2 * layer + 1]))
                x = hc[2 * layer]
            torch.testing.assert_close(y, (x @ phi["linear.w"] + phi["linear.b"]).squeeze(1), rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(state, torch.cat([rows.t() for rows in hc]), rtol=1e-12, atol=1e-12)


@each_network
def test_blocks_do_not_show(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    phi, features, state = _problem(net, 1100, 1)
    carried = [torch.arange(1100.0, dtype=torch.float64)]
    graph = {name: weight.requires_grad_() for name, weight in phi.items()}
    y, rows = net.step(graph, list(features[0]), state, carried)
    monkeypatch.setattr("rayl2o.rules.lstm.BLOCK_GATES", 0)  # blocks of 512 at most: three, the last one smaller
    assert len(blocks(1100, net.block)) == 3
    with torch.no_grad():
        blocked_y, blocked_rows = net.step(phi, list(features[0]), state, carried)
    assert torch.equal(blocked_rows[0], carried[0])
    torch.testing.assert_close(blocked_y, y.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(blocked_rows, rows.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n", "limit"), [(1, 512), (512, 512), (513, 512), (15910, 2048), (12080, 2048), (700, 1)])
def test_blocks_make_up_the_whole(n: int, limit: int) -> None:
    sizes = blocks(n, limit)
    assert sum(sizes) == n
    assert min(sizes) > 0
    assert max(sizes) < limit + 16
    assert all(size % 16 == 0 for size in sizes[:-1])


@each_network
def test_initial_weights_are_sonnets(net: Network) -> None:
    phi = net.init(generator("init"))
    assert list(phi) == list(net.shapes())
    for name, weight in phi.items():
        assert tuple(weight.shape) == net.shapes()[name]
        if name in ("linear.b", "input_projection.b"):
            assert not weight.any()
            continue
        matrix = phi[name.replace("b_gates", "w_gates")]
        std = 1.0 / math.sqrt(matrix.shape[0])
        assert weight.abs().max() <= 2.0 * std
        if weight.numel() > 500:  # the deviation of a normal cut at two deviations is .88 of its own
            assert float(weight.std()) == pytest.approx(0.88 * std, rel=0.1)


def test_a_seed_means_the_same_in_any_dtype() -> None:
    single, double = (NETWORKS[0].init(generator("init"), dtype) for dtype in (torch.float32, torch.float64))
    assert all(torch.equal(single[name].double(), double[name]) for name in single)
    other = NETWORKS[0].init(generator("another"))
    assert not torch.equal(other["linear.w"], single["linear.w"])


def test_elu() -> None:
    x = torch.tensor([-50.0, -1.0, -1e-9, 0.0, 1e-9, 2.0, 90.0], dtype=torch.float64)
    torch.testing.assert_close(elu_(x.clone()), torch.nn.functional.elu(x), rtol=1e-12, atol=1e-15)
    assert elu_(torch.tensor([math.nan])).isnan()
    x.requires_grad_()
    torch.testing.assert_close(_elu(x), torch.nn.functional.elu(x), rtol=1e-12, atol=1e-15)
    (derivative,) = torch.autograd.grad(_elu(x).sum(), x)
    (expected,) = torch.autograd.grad(torch.nn.functional.elu(x).sum(), x)
    torch.testing.assert_close(derivative, expected)


def test_what_is_free_of_a_graph() -> None:
    plain, leaf = torch.zeros(2), torch.zeros(2, requires_grad=True)
    assert graph_free([plain])
    assert not graph_free([plain, leaf])
    with torch.no_grad():
        assert graph_free([plain, leaf])
        seen: list[bool] = []

        def observe(x: Tensor) -> Tensor:
            seen.append(graph_free([plain, x]))
            return x

        torch.func.vmap(observe)(torch.zeros(3, 2))
    assert seen == [False]
