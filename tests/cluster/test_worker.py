"""A worker in this process: the same numbers as ``perform``, weights fetched once per version."""

from __future__ import annotations

from typing import Any

import pytest
import ray
import torch

from rayl2o.cluster.transport import pack, unpack
from rayl2o.cluster.worker import RolloutWorker, Weights
from rayl2o.config import dump, load
from rayl2o.meta.rounds import fresh_state, perform, plan_round, validation_score
from rayl2o.unroll.segment import Segment
from tests.cli.command import TINY

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_local")]


def test_a_roll_out_is_perform_with_a_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("quickstart", [*TINY, "instances=2"])
    rule, family = config.make_rule(), config.make_family()
    _, (job,), phi = plan_round(family, config, fresh_state(rule, family, config, "run"))
    worker = RolloutWorker(3, 7)
    worker.prepare(dump(config))
    fetched: list[Any] = []
    get = ray.get

    def counted(ref: Any, timeout: float) -> Any:
        fetched.append(ref)
        return get(ref, timeout=timeout)

    monkeypatch.setattr(ray, "get", counted)
    weights = Weights(0, 0, ray.put(pack(phi)))
    outcome, contribution, state = worker.rollout(weights, job.ticket, None, 2)
    segment, after = perform(rule, config, phi, job)
    assert isinstance(segment, Segment)
    found = unpack(contribution)
    assert torch.equal(found.grad, segment.grad)
    assert torch.equal(unpack(state).params, after.params)
    assert (found.source.worker, found.source.incarnation, found.source.attempt) == (3, 7, 2)
    assert (outcome.finished, outcome.version) == (after.finished(job.ticket), 0)
    assert outcome.bytes[0] == segment.nbytes()
    worker.rollout(weights, job.ticket, state, 0)
    assert len(fetched) == 1
    worker.rollout(Weights(1, 0, weights.ref), job.ticket, state, 0)  # a new learner's version of the same number
    assert len(fetched) == 2
    assert worker.score(weights, 10) == validation_score(rule, family, config, phi, 10)
