"""A segment knows its size, its key and its bytes."""

from __future__ import annotations

from rayl2o.rules.registry import parse_rule
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

FAMILY = task("quadratic", size=7)


def test_counts() -> None:
    ticket = Ticket("run", 0, 3, 5, tuple(FAMILY.sample(generator(k)) for k in range(2)), 100)
    segment, _ = rollout(parse_rule("adam:lr=0.1"), UnrollConfig(steps=4), ticket, None, {})
    assert (segment.k, segment.steps, segment.key) == (2, 4, (3, 5, 0))
    columns = 3 * 4 * 7 + 7 + 5  # grad, credit, delta; weight; loss: four bytes each
    assert segment.nbytes() >= 2 * 4 * columns
    assert segment.nbytes() < 2 * 4 * (columns + 7 + 2 * 7 + 1 + 4)  # coords, Adam's state, valid, actor
