"""What an error says of a process, and what its silence does."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
)

from rayl2o.cluster.process import DIED, HUNG, MEMORY, NODE, OVERDUE, SLOW, Process, cause_of, death_of, loss_of

_REF = "00" * 28


def _made(kind: Any, *args: Any) -> Any:
    """Ray does not annotate its exceptions."""
    return kind(*args)


def _task_error(cause: Exception) -> Any:
    return _made(RayTaskError, "rollout", "a traceback", cause)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ActorDiedError(), DIED),
        (ActorUnavailableError("gone for a moment", None), DIED),
        (_made(NodeDiedError, "bye"), NODE),
        (_made(OutOfMemoryError, "Task was killed due to the node running low on memory."), MEMORY),
        (_task_error(ValueError("no")), None),
    ],
)
def test_why_a_process_is_gone(error: RayError, reason: str | None) -> None:
    assert death_of(error) == reason


def test_losses_and_causes() -> None:
    lost = _made(ObjectLostError, _REF, "owner", "site")
    assert loss_of(lost)
    assert loss_of(_task_error(lost))
    assert not loss_of(_task_error(ValueError("no")))
    cause = ValueError("no")
    assert cause_of(_task_error(cause)) is cause
    assert cause_of(lost) is lost


class _Actor:
    """Answers pings, or does not."""

    def __init__(self, answers: bool) -> None:
        self.answers, self.pings = answers, 0
        self.ping = self

    def remote(self) -> str:
        self.pings += 1
        return "ping"


def _waiting(actor: _Actor, monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process(actor, "worker", 0, 0)

    def wait(refs: list[Any], timeout: float, fetch_local: bool) -> tuple[list[Any], list[Any]]:
        return (refs, []) if actor.answers else ([], refs)

    monkeypatch.setattr(ray, "wait", wait)

    class _Method:
        def options(self, num_returns: int) -> _Method:
            return self

        def remote(self, *args: object) -> str:
            return "ref"

    actor.work = _Method()  # type: ignore[attr-defined]
    process.call(0.0, "tag", "work")
    return process


def test_who_answers_is_slow_and_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = _Actor(answers=True)
    process = _waiting(actor, monkeypatch)
    assert process.verdict(0.5, usual_s=1.0, ping_s=2.0, deadline_s=50.0) is None
    assert actor.pings == 0
    assert process.verdict(2.0, 1.0, 2.0, 50.0) is None
    assert process.verdict(2.1, 1.0, 2.0, 50.0) == SLOW
    assert process.verdict(9.0, 1.0, 2.0, 50.0) == SLOW
    process.verdict(9.1, 1.0, 2.0, 50.0)
    assert actor.pings == 2
    assert process.verdict(50.1, 1.0, 2.0, 50.0) == OVERDUE


def test_who_does_not_answer_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    process = _waiting(_Actor(answers=False), monkeypatch)
    assert process.verdict(2.0, 1.0, 2.0, 50.0) is None
    assert process.verdict(3.0, 1.0, 2.0, 50.0) is None
    assert process.verdict(4.1, 1.0, 2.0, 50.0) == HUNG


def test_a_call_in_the_queue_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    process = _waiting(_Actor(answers=True), monkeypatch)
    second = process.call(1.0, "tag", "work")
    begun = [second.begun]
    assert process.answer(5.0, process.flights[0]) == 5.0
    assert [*begun, second.begun] == [None, 5.0]
    assert process.age(7.0) == 2.0
