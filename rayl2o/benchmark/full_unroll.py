"""Paper R's full unroll of 200 steps with exact credit: time, and memory beside the graph that autograd would keep."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import torch

from rayl2o.benchmark.row import Row
from rayl2o.evaluate.pmap import process_map
from rayl2o.meta.bptt import graph_bytes
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Phi
from rayl2o.rules.gru import Gru
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.built import built
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket
from rayl2o.unroll.window import Cast, start

STEPS, HIDDEN, SPREAD = 200, 64, 0.02
GIB = 2.0**30


@dataclass(frozen=True)
class Case:
    """A task of R, K of it, on a device."""

    task: str
    k: int
    device: str


CASES = (Case("quadratic", 32, "cpu"), Case("rosenbrock", 32, "cpu"), Case("two-moons", 2, "cpu"))


@dataclass(frozen=True)
class Measured:
    """Seconds of the roll-out with its credit and of the learner's pass; bytes at the peak, and predicted of autograd's graph."""

    rollout_s: float
    learner_s: float
    peak: float
    graph: float


def full_unroll_rows() -> list[Row]:
    """GRU-64, one update's meta-gradient per case; on the GPU too, where there is one."""
    on_gpu = [Case(case.task, 32, "cuda") for case in CASES] if torch.cuda.is_available() else []
    rows: list[Row] = []
    # Each in a process of its own: the peak of a process never falls.
    for case in (*CASES, *on_gpu):
        (found,) = process_map(1)(measure, [case])
        name = f"gru-{HIDDEN}, {case.task}, batch {case.k}, {case.device}"
        rows.append(Row(f"{name}: roll-out with exact credit", found.rollout_s, "s"))
        rows.append(Row(f"{name}: learner", found.learner_s, "s"))
        against = "graph of autograd (predicted)"
        rows.append(
            Row(f"{name}: memory at the peak", found.peak / GIB, "GiB", found.graph / max(found.peak, 1.0), against)
        )
    return rows


def measure(case: Case) -> Measured:
    """In a fresh process; the peak is what came on top of the process before."""
    device = torch.device(case.device)
    rule = Gru(hidden=HIDDEN, output_scale=0.01)
    phi = _weights(rule, device)
    family = task(case.task)
    specs = tuple(family.sample(generator("full-unroll", i)) for i in range(case.k))
    ticket = Ticket("benchmark", 0, 0, 0, specs, STEPS)
    config = UnrollConfig(steps=STEPS, credit="exact", meta_loss="mean")
    before, begun = _peak(device), time.perf_counter()
    segment, _ = rollout(rule, config, ticket, None, phi)
    _wait(device)
    rolled = time.perf_counter()
    meta_gradient(rule, phi, [segment])
    _wait(device)
    ended = time.perf_counter()
    peak = _peak(device) - before
    batch = built(specs, config.torch_dtype, device)
    cast = Cast.of(rule, phi, ticket)
    graph = graph_bytes(cast, config, ticket, start(cast, config, ticket, batch), batch, second_order=True)
    return Measured(rolled - begun, ended - rolled, peak, float(graph))


def _weights(rule: Gru, device: torch.device) -> Phi:
    """Moved off their start, where the readout is 0 and no path is curved."""
    fresh = rule.init_phi(generator("full-unroll"))
    return {
        name: (value + SPREAD * torch.randn(value.shape, generator=generator("full-unroll", name))).to(device)
        for name, value in fresh.items()
    }


def _peak(device: torch.device) -> float:
    """Bytes: of the whole process on a CPU, of tensors on a GPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
