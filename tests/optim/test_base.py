"""The contract of a ``torch.optim`` optimizer, for formulas, a network, and a rule that reads the params."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.optim import LearnedOptimizer, SymbolicOptimizer
from rayl2o.rules.base import Inputs, Phi, State, step_through, zero_state
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.symbolic import SymbolicRule
from tests.optim.models import loss_of, model, train, trained


@dataclass(frozen=True)
class _Pull:
    """A rule with weights that reads the params too: ``-(rate * mean gradient) - pull * params``."""

    kind: ClassVar[str] = "pull"
    needs: ClassVar[frozenset[str]] = frozenset({"params"})
    coordinatewise: ClassVar[bool] = True
    state_size: int = 1

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        del generator
        return {"rate": torch.tensor(0.1, dtype=dtype), "pull": torch.tensor(0.01, dtype=dtype)}

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        del phi
        return zero_state(self.state_size, layout, k, dtype, device)

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        assert inputs.params is not None
        mean = torch.lerp(state["coord"][..., 0], inputs.grad, 0.3)
        return -phi["rate"] * mean - phi["pull"] * inputs.params, {"coord": mean.unsqueeze(-1)}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        return step_through(self, phi, inputs, state)


PULL = _Pull()
PHI = PULL.init_phi(torch.Generator())
NETWORK = RnnProp(projection=3, hidden=(4,), output_scale=0.05)
NETWORK_PHI = NETWORK.init_phi(torch.Generator().manual_seed(1))
LINEAR = SymbolicRule.from_formula("-0.05*ema(g, 0.8) + -0.01*m_tilde + -0.02*lag(g, 2)", clamp=0.5)
NONLINEAR = SymbolicRule.from_formula("-0.05*tanh(ema(g_tilde, 0.5))*(1 - t) - 0.01*lag(q, 1)*g", gain=1.1)
MAKERS: dict[str, Callable[..., Optimizer]] = {
    "linear": lambda params, **settings: SymbolicOptimizer(params, LINEAR, **settings),
    "nonlinear": lambda params, **settings: SymbolicOptimizer(params, NONLINEAR, **settings),
    "reads params": lambda params, **settings: LearnedOptimizer(params, PULL, PHI, **settings),
    "network": lambda params, **settings: LearnedOptimizer(params, NETWORK, NETWORK_PHI, **settings),
}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def _reference(name: str, steps: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """The same training through the rule's own protocol, parameter by parameter."""
    rule: Any = {"linear": LINEAR, "nonlinear": NONLINEAR, "reads params": PULL, "network": NETWORK}[name]
    phi = {"reads params": PHI, "network": NETWORK_PHI}.get(name) or rule.init_phi(torch.Generator(), dtype)
    net, phi = model(dtype), {key: value.to(dtype) for key, value in phi.items()}
    states = [rule.init_state(phi, Layout.flat(p.numel()), 1, dtype) for p in net.parameters()]
    for step in range(steps):
        net.zero_grad()
        torch.autograd.backward(loss_of(net, step))
        for i, param in enumerate(net.parameters()):
            if param.grad is not None:
                inputs = Inputs(param.grad.reshape(1, -1), torch.tensor(float(step)), param.detach().reshape(1, -1))
                delta, states[i] = rule.update(phi, inputs, states[i])
                param.data += delta.view(param.shape)
    return [param.detach().clone() for param in net.parameters()]


@pytest.mark.parametrize("name", MAKERS)
def test_is_the_rule_step_by_step(name: str) -> None:
    got = trained(lambda net: MAKERS[name](net.parameters()), 8, torch.float64)
    torch.testing.assert_close(got, _reference(name, 8), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", MAKERS)
def test_packs_and_chunks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters alone, in chunks of 4 coordinates, instead of all in one vector."""
    together = trained(lambda net: MAKERS[name](net.parameters()), 5, torch.float64)
    monkeypatch.setattr("rayl2o.optim.base._limit", lambda device: 4)
    torch.testing.assert_close(trained(lambda net: MAKERS[name](net.parameters()), 5, torch.float64), together)


@each
def test_state_dict_round_trip_is_bit_equal(make: Callable[..., Optimizer]) -> None:
    net = model()
    optimizer = make(net.parameters(), lr=0.7)
    train(net, optimizer, 4)
    saved = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    expected = train(net, optimizer, 4, first=4)

    saved.seek(0)
    loaded = torch.load(saved, weights_only=True)  # plain tensors and numbers only, or this refuses
    other = model()
    other.load_state_dict(loaded["net"])
    resumed = make(other.parameters())
    resumed.load_state_dict(loaded["optimizer"])
    assert resumed.param_groups[0]["lr"] == 0.7
    got = train(other, resumed, 4, first=4)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@each
def test_loading_does_not_tie_two_optimizers(make: Callable[..., Optimizer]) -> None:
    net, other = model(), model()
    first, second = make(net.parameters()), make(other.parameters())
    train(net, first, 3)
    second.load_state_dict(first.state_dict())
    before = copy.deepcopy(first.state_dict()["state"])
    train(other, second, 3, first=3)
    after = first.state_dict()["state"]
    assert all(torch.equal(before[i][key], after[i][key]) for i in before for key in before[i])


@each
def test_deep_copy_continues_the_same(make: Callable[..., Optimizer]) -> None:
    net = model()
    optimizer = make(net.parameters())
    train(net, optimizer, 3)
    twin_net, twin = copy.deepcopy((net, optimizer))
    expected, got = train(net, optimizer, 3, first=3), train(twin_net, twin, 3, first=3)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@each
def test_state_is_per_parameter_and_lazy(make: Callable[..., Optimizer]) -> None:
    net = model()
    optimizer = make(net.parameters())
    assert not optimizer.state
    train(net, optimizer, 3)
    assert net.get_parameter("unused") not in optimizer.state
    for param, state in optimizer.state.items():
        assert set(state) == {"step", "coord"}
        assert float(state["step"]) == 3.0
        assert state["coord"].shape[:-1] == param.shape
        assert state["coord"].abs().sum() > 0


@each
def test_clearing_the_state_restarts(make: Callable[..., Optimizer]) -> None:
    net = model()
    optimizer = make(net.parameters())
    train(net, optimizer, 3)
    optimizer.state.clear()
    net.load_state_dict(model().state_dict())
    expected = trained(lambda fresh: make(fresh.parameters()), 3)
    assert all(torch.equal(a, b) for a, b in zip(train(net, optimizer, 3), expected, strict=True))


@each
def test_a_state_of_another_rule_is_refused(make: Callable[..., Optimizer]) -> None:
    net = model()
    optimizer = make(net.parameters())
    for other in (SymbolicOptimizer(net.parameters(), "-0.1*g"), torch.optim.SGD(net.parameters(), 0.1)):
        with pytest.raises(UserError, match="the state belongs to another rule") as caught:
            optimizer.load_state_dict(other.state_dict())
        assert "\n" not in str(caught.value)


def test_a_state_of_other_shapes_is_refused() -> None:
    def optimizer(size: int) -> SymbolicOptimizer:
        param = nn.Parameter(torch.ones(size))
        param.grad = torch.ones(size)
        return SymbolicOptimizer([param], LINEAR)

    small = optimizer(2)
    small.step()
    with pytest.raises(UserError, match="the state does not fit"):
        optimizer(3).load_state_dict(small.state_dict())


@each
def test_closure(make: Callable[..., Optimizer]) -> None:
    net = model()
    optimizer = make(net.parameters())
    for step in range(3):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(net, step)
            torch.autograd.backward(loss)
            return loss

        returned: object = optimizer.step(closure)  # type: ignore[arg-type]
        assert isinstance(returned, Tensor)
    expected = trained(lambda fresh: make(fresh.parameters()), 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), expected, strict=True))
    nothing: object = optimizer.step()
    assert nothing is None


@each
def test_groups_have_their_own_settings(make: Callable[..., Optimizer]) -> None:
    net = model()
    before = [param.detach().clone() for param in net.parameters()]
    groups = [{"params": list(net[0].parameters()), "lr": 0.0}, {"params": [net.get_parameter("scale")]}]
    optimizer = make(groups, lr=0.5)
    optimizer.add_param_group({"params": list(net[2].parameters()), "lr": 0.25, "weight_decay": 0.1})
    after = train(net, optimizer, 1)
    named = dict(zip([name for name, _ in net.named_parameters()], zip(before, after, strict=True), strict=True))
    whole = dict(zip(named, trained(lambda fresh: make(fresh.parameters(), lr=1.0), 1), strict=True))
    for name, (old, new) in named.items():
        lr, decay = {"0": (0.0, 0.0), "2": (0.25, 0.1)}.get(name.split(".")[0], (0.5, 0.0))
        expected = old * (1 - lr * decay) + lr * (whole[name] - old)
        torch.testing.assert_close(new, expected, rtol=1e-5, atol=1e-7)


@each
def test_schedulers_set_the_rate(make: Callable[..., Optimizer]) -> None:
    schedules: tuple[Callable[[Optimizer], LRScheduler], ...] = (
        lambda optimizer: LambdaLR(optimizer, lambda epoch: 1.0 / (1 + epoch)),
        lambda optimizer: CosineAnnealingLR(optimizer, 5),
    )
    for schedule in schedules:
        net, twin = model(), model()
        optimizer, by_hand = make(net.parameters(), lr=0.5), make(twin.parameters(), lr=0.5)
        scheduler = schedule(optimizer)
        for step in range(4):
            by_hand.param_groups[0]["lr"] = scheduler.get_last_lr()[0]
            expected = train(twin, by_hand, 1, first=step)
            got = train(net, optimizer, 1, first=step)
            scheduler.step()
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
        assert optimizer.param_groups[0]["lr"] < 0.5


@each
def test_a_parameter_without_a_gradient_waits(make: Callable[..., Optimizer]) -> None:
    """It keeps its own step count, and the others go on as if it were not there."""
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    c, d = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    both, only_a, only_b = make([a, b]), make([c]), make([d])
    for step in range(6):
        grad = torch.full((3,), 0.1 * (step + 1))
        a.grad, c.grad = grad.clone(), grad.clone()
        b.grad = d.grad = None
        if step in (0, 3, 4):
            b.grad, d.grad = grad.clone(), grad.clone()
        for optimizer in (both, only_a, only_b):
            optimizer.step()
    assert (both.state[a]["step"], both.state[b]["step"]) == (6, 3)
    torch.testing.assert_close((a, b), (c, d), rtol=1e-6, atol=0)


@each
def test_maximize_ascends(make: Callable[..., Optimizer]) -> None:
    results = []
    for sign, maximize in ((1.0, False), (-1.0, True)):
        params = [nn.Parameter(torch.full((3,), 0.5)), nn.Parameter(torch.tensor(2.0))]
        optimizer = make(params, maximize=maximize)
        for _ in range(3):
            for param in params:
                param.grad = torch.full_like(param, 0.3 * sign)
            optimizer.step()
        assert float(params[1].grad or 0.0) == pytest.approx(0.3 * sign)  # the caller's gradient stays as it was
        results.append([param.detach() for param in params])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@each
def test_weight_decay_is_decoupled(make: Callable[..., Optimizer]) -> None:
    param, plain = nn.Parameter(torch.full((3,), 2.0)), nn.Parameter(torch.full((3,), 2.0))
    for p, decay in ((param, 0.1), (plain, 0.0)):
        p.grad = torch.full((3,), 0.3)
        make([p], lr=0.5, weight_decay=decay).step()
    torch.testing.assert_close(plain - param, torch.full((3,), 2.0 * 0.5 * 0.1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each
def test_half_precision_keeps_float32_state(make: Callable[..., Optimizer], dtype: torch.dtype) -> None:
    half = [nn.Parameter(torch.linspace(-1, 1, 6).to(dtype)), nn.Parameter(torch.tensor(1.0, dtype=dtype))]
    full = [nn.Parameter(p.detach().float()) for p in half]
    ours, reference = make(half), make(full)
    for step in range(4):
        for p, q in zip(half, full, strict=True):
            p.grad = torch.full_like(p, 0.25 * (step + 1))
            q.grad = p.grad.float()
        for p, q in zip(half, full, strict=True):
            q.data.copy_(p.detach().float())
        ours.step()
        reference.step()
        for p, q in zip(half, full, strict=True):
            assert p.dtype == dtype
            torch.testing.assert_close(p, q.to(dtype), rtol=0, atol=0)
            assert ours.state[p]["coord"].dtype == torch.float32
            torch.testing.assert_close(ours.state[p]["coord"], reference.state[q]["coord"], rtol=1e-6, atol=1e-9)
    resumed = make([nn.Parameter(p.detach().clone()) for p in half])
    resumed.load_state_dict(ours.state_dict())
    for p, q in zip(half, resumed.param_groups[0]["params"], strict=True):
        assert torch.equal(resumed.state[q]["coord"], ours.state[p]["coord"])
        assert resumed.state[q]["coord"].dtype == torch.float32


@each
def test_any_strides(make: Callable[..., Optimizer]) -> None:
    start, grad = torch.randn(4, 6, generator=torch.Generator().manual_seed(2)), torch.arange(24.0).view(4, 6) / 24
    results = []
    for first in (start.clone(), start.t().clone().t()):
        small, large = nn.Parameter(first.detach()), nn.Parameter(first.detach().clone())
        for params in ([small], [large, nn.Parameter(torch.ones(2))]):
            optimizer = make(params)
            for _ in range(3):
                for param in params:
                    param.grad = grad.t().clone().t() if param.dim() == 2 else torch.ones(2)
                optimizer.step()
        results += [small.detach(), large.detach()]
    assert all(torch.equal(result, results[0]) for result in results[1:])


@each
def test_sparse_gradients_are_refused_before_anything_moves(make: Callable[..., Optimizer]) -> None:
    dense, embedding = nn.Parameter(torch.ones(2)), nn.Embedding(5, 2, sparse=True)
    optimizer = make([dense, *embedding.parameters()])
    torch.autograd.backward(embedding(torch.tensor([1])).sum() + dense.sum())
    with pytest.raises(UserError, match=r"sparse gradients are not offered: got 'torch.sparse_coo'"):
        optimizer.step()
    assert torch.equal(dense, torch.ones(2))
    assert not optimizer.state


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "bad lr: got -1.0"),
        ({"lr": float("nan")}, "bad lr"),
        ({"weight_decay": -0.1}, "bad weight_decay"),
        ({"differentiable": True}, "differentiable steps are not offered"),
    ],
)
@each
def test_bad_settings(make: Callable[..., Optimizer], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make([nn.Parameter(torch.ones(1))], **settings)


@each
def test_bad_groups_leave_the_optimizer_as_it_was(make: Callable[..., Optimizer]) -> None:
    optimizer = make([nn.Parameter(torch.ones(1))])
    complex_param = nn.Parameter(torch.ones(1, dtype=torch.complex64))
    with pytest.raises(UserError, match=r"cannot optimize this dtype: got 'torch\.complex64'"):
        optimizer.add_param_group({"params": [complex_param]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")
@each
def test_torch_compile_does_not_break(make: Callable[..., Optimizer]) -> None:
    net = model()
    optimizer = make(net.parameters())
    forward = torch.compile(lambda step: loss_of(net, step), backend="eager")
    update = torch.compile(optimizer.step, backend="aot_eager")
    for step in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(forward(step))
        update()
    torch.testing.assert_close(list(net.parameters()), trained(lambda fresh: make(fresh.parameters()), 3))


@each
def test_prints_what_it_does(make: Callable[..., Optimizer]) -> None:
    optimizer = make([nn.Parameter(torch.ones(1))], lr=0.125)
    text = repr(optimizer)
    assert text.startswith(f"{type(optimizer).__name__} ({optimizer.formula}\n")  # type: ignore[attr-defined]
    assert "lr: 0.125" in text
