"""On a GPU: the roll-out, the credit and the learner give the CPU's numbers. Skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.particles import fly, launch
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.closed_loop import closed_loop
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

KINDS = ("dm", "rnnprop", "rnnprop-extra", "gru", "scale", "mlp")
FAMILIES = {"mlp": task("mlp", data="digits", hidden=(5,), init_std=0.3), "quadratic": task("quadratic")}


def _ticket(family: str) -> Ticket:
    specs = tuple(FAMILIES[family].sample(generator("cuda", k)) for k in range(3))
    return Ticket("t", 0, 0, 0, specs, 100, MIX, ("adam:lr=0.01", "momentum:lr=0.01"), 0.3)


def _phi(kind: str, device: str) -> dict[str, torch.Tensor]:
    fresh = make(kind, {}).init_phi(generator("phi", kind), dtype=torch.float64)
    moved = {
        name: w + 0.02 * torch.randn(w.shape, generator=generator(name), dtype=w.dtype) for name, w in fresh.items()
    }
    return {name: weight.to(device) for name, weight in moved.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("credit", ["first_order", "curvature", "exact"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_meta_gradient_is_that_of_the_cpu(kind: str, credit: str, family: str) -> None:
    rule, ticket = make(kind, {}), _ticket(family)
    config = UnrollConfig(steps=6, dtype="float64", credit=credit)
    grads = []
    for device in ("cpu", "cuda"):
        phi = _phi(kind, device)
        _, state = rollout(rule, config, ticket, None, phi)
        segment, _ = rollout(rule, config, ticket, state, phi)
        assert segment.grad.device.type == device
        grads.append(meta_gradient(rule, phi, [segment])[0])
    for name, value in grads[0].items():
        torch.testing.assert_close(grads[1][name].cpu(), value, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("sampling", ["importance", "uniform", "stratified"])
def test_coordinates_are_drawn_alike(sampling: str) -> None:
    rule, ticket = make("rnnprop", {}), _ticket("mlp")
    config = UnrollConfig(steps=6, dtype="float64", sampling=sampling, coords_per_row=40)
    here, there = (rollout(rule, config, ticket, None, _phi("rnnprop", device))[0] for device in ("cpu", "cuda"))
    assert torch.equal(here.coords, there.coords.cpu())


@pytest.mark.parametrize("kind", ["dm", "gru"])
def test_backpropagation_and_particles(kind: str) -> None:
    rule, ticket, config = make(kind, {}), _ticket("mlp"), UnrollConfig(steps=4, dtype="float64")
    found = []
    for device in ("cpu", "cuda"):
        phi = _phi(kind, device)
        phis = {name: value[None].expand(6, *value.shape).contiguous() for name, value in phi.items()}
        flight = fly(rule, config, ticket, launch(rule, config, ticket, phis, 2), phis, 2)
        found.append((bptt(rule, config, ticket, None, phi, True)[0], flight.losses.cpu()))
    torch.testing.assert_close(found[0][1], found[1][1])
    for name, value in found[0][0].items():
        torch.testing.assert_close(found[1][0][name].cpu(), value, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_loop(kind: str) -> None:
    rule, losses = make(kind, {}), []
    for device in ("cpu", "cuda"):
        batch = FAMILIES["mlp"].build(_ticket("mlp").specs, device, torch.float64)
        losses.append(closed_loop(rule, _phi(kind, device), batch, [0, 1, 2], lambda t: [t, t, t], 8).loss.cpu())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-7, atol=1e-10)
