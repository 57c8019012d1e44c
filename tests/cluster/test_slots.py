"""From where a lost result is made again."""

from __future__ import annotations

from rayl2o.cluster.slots import Rolled, Slot
from rayl2o.unroll.ticket import Ticket


def _ticket(ordinal: int) -> Ticket:
    return Ticket("run", 0, 0, ordinal, (), 40)


def _advance(slot: Slot, finished: bool = False) -> Rolled:
    rolled = Rolled(f"c{slot.round}", f"s{slot.round}", slot.ticket, finished, slot.round - 1)
    slot.advance(rolled)
    return rolled


def test_a_fresh_slot_goes_back_to_its_start() -> None:
    slot = Slot.at(0, _ticket(0), 0, has_state=False, over=False)
    for _ in range(3):
        _advance(slot)
    assert (slot.round, slot.state, slot.oldest) == (4, "s3", 1)
    slot.rewind(4)
    assert (slot.round, slot.state, slot.ticket.ordinal, slot.from_checkpoint) == (1, None, 0, False)


def test_a_later_trajectory_is_made_again_from_its_own_start() -> None:
    slot = Slot.at(0, _ticket(0), 0, has_state=False, over=False)
    _advance(slot)
    _advance(slot, finished=True)
    assert slot.over
    slot.begin(_ticket(1))
    _advance(slot)
    slot.rewind(3)
    assert (slot.round, slot.ticket.ordinal, slot.over) == (3, 1, False)


def test_a_round_before_that_start_is_made_again_from_further_back_with_the_same_tickets() -> None:
    slot = Slot.at(0, _ticket(0), 0, has_state=False, over=False)
    _advance(slot)
    _advance(slot, finished=True)
    slot.begin(_ticket(1))
    _advance(slot)
    slot.rewind(2)  # round 2 was never learned from: its segment is lost too
    assert (slot.round, slot.ticket.ordinal) == (1, 0)
    assert slot.starts[3].ordinal == 1


def test_a_checkpoint_moves_the_place_to_go_back_to() -> None:
    slot = Slot.at(0, _ticket(0), 0, has_state=False, over=False)
    _advance(slot)
    kept = _advance(slot)
    slot.keep(2, kept.ticket, kept.finished)
    assert slot.oldest == 3
    _advance(slot)
    slot.rewind(4)
    assert (slot.round, slot.state, slot.from_checkpoint) == (3, None, True)


def test_a_checkpoint_at_a_trajectorys_end_needs_no_state() -> None:
    slot = Slot.at(0, _ticket(0), 0, has_state=False, over=False)
    kept = _advance(slot, finished=True)
    slot.keep(1, kept.ticket, kept.finished)
    slot.begin(_ticket(1))
    _advance(slot)
    slot.rewind(2)
    assert (slot.round, slot.ticket.ordinal, slot.over, slot.from_checkpoint) == (2, 1, False, False)


def test_as_a_checkpoint_has_it() -> None:
    live = Slot.at(1, _ticket(4), 10, has_state=True, over=False)
    assert (live.round, live.from_checkpoint, live.over, live.oldest) == (11, True, False, 11)
    ended = Slot.at(1, _ticket(4), 10, has_state=True, over=True)
    assert (ended.from_checkpoint, ended.over, ended.oldest) == (False, True, 11)
    ended.rewind(11)
    assert (ended.round, ended.over, ended.from_checkpoint) == (11, True, False)
