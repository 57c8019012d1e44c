"""A roll-out worker: stateless between calls but for the weights it pulled last. Numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import ray

from rayl2o.cluster.greeting import Greeting, greet, read
from rayl2o.cluster.pinned import pin
from rayl2o.cluster.transport import nbytes, pack, unpack
from rayl2o.config import RunConfig
from rayl2o.meta.rounds import Job, perform, validation_score
from rayl2o.rules.base import Phi, Rule
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.draw import one_of_each
from rayl2o.unroll.ticket import Ticket

_PULL_S = 60.0


@dataclass(frozen=True)
class Weights:
    """A version of phi by reference: whoever has it already does not fetch it.

    Attributes:
        era: Incarnation of the learner. After a restart an asynchronous learner may give a version number other content.
        version: Updates behind it.
        ref: Object reference of the packed phi; boxed here, so that Ray does not fetch it with the call.
    """

    era: int
    version: int
    ref: Any


@dataclass(frozen=True)
class Outcome:
    """What the controller must know of a roll-out without its bytes.

    Attributes:
        finished: Whether the trajectory is over.
        version: Version of phi that acted.
        node: Where the result lies.
        bytes: Of the contribution and of the slot's state, as shipped.
    """

    finished: bool
    version: int
    node: str
    bytes: tuple[int, int]


class RolloutWorker:
    """Created by the controller; every method but ``ping`` runs in one thread, one call at a time."""

    def __init__(self, worker: int, incarnation: int) -> None:
        self._worker, self._incarnation = worker, incarnation
        self._config: RunConfig | None = None
        self._rule: Rule | None = None
        self._family: TaskFamily | None = None
        self._phi: tuple[tuple[int, int], Phi] = ((-1, -1), {})

    def prepare(self, config_text: str) -> Greeting:
        """Reads the config, which may name plugins that are missing here, and touches the data once.

        Raises:
            UserError: If this node lacks what the config names.
        """
        pin()
        self._config = read(config_text, "worker")
        self._rule, self._family = self._config.make_rule(), self._config.make_family()
        self._family.build(one_of_each(self._family), dtype=self._config.unroll.torch_dtype)
        return greet()

    @ray.method(concurrency_group="control")
    def ping(self) -> bool:
        """Answered while another call computes, unless the process hangs as a whole."""
        return True

    def rollout(self, weights: Weights, ticket: Ticket, state: Any, attempt: int) -> tuple[Outcome, Any, Any]:
        """One job. ``state`` is a packed SlotState or None.

        Returns:
            Outcome, packed contribution, packed state: three objects, of which the controller reads the first.
        """
        pin()
        assert self._config is not None
        assert self._rule is not None
        job = Job(ticket, unpack(state), weights.version)
        contribution, after = perform(self._rule, self._config, self._pull(weights), job)
        source = replace(contribution.source, worker=self._worker, incarnation=self._incarnation, attempt=attempt)
        wires = pack(replace(contribution, source=source)), pack(after)
        node = ray.get_runtime_context().get_node_id()
        outcome = Outcome(after.finished(ticket), weights.version, node, (nbytes(wires[0]), nbytes(wires[1])))
        return outcome, *wires

    def score(self, weights: Weights, horizon: int) -> float:
        """The validation of a version of phi (``rounds.validation_score``)."""
        pin()
        assert self._config is not None
        assert self._rule is not None
        assert self._family is not None
        # Not from the cache: a curriculum that restores its best phi replaces the newest version.
        phi: Phi = unpack(ray.get(weights.ref, timeout=_PULL_S))
        return validation_score(self._rule, self._family, self._config, phi, horizon)

    def _pull(self, weights: Weights) -> Phi:
        """Phi of the version that is asked for; fetched if it is not the one at hand."""
        key = (weights.era, weights.version)
        if self._phi[0] != key:
            self._phi = (key, unpack(ray.get(weights.ref, timeout=_PULL_S)))
        return self._phi[1]
