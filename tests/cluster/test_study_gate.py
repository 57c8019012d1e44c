from __future__ import annotations

import asyncio

import pytest

from rayl2o.cluster.study_gate import Gate, places


def test_a_gate_opens_when_all_have_come() -> None:
    async def visit() -> None:
        gate = Gate(2, patience_s=60.0)
        first = asyncio.create_task(gate.arrive())
        await asyncio.sleep(0.01)
        assert not first.done()
        assert await gate.arrive() == 2
        assert await first == 2
        assert await gate.arrive() == 3

    asyncio.run(visit())


@pytest.mark.timeout(30)
def test_a_gate_opens_for_all_when_patience_is_over() -> None:
    async def visit() -> None:
        gate = Gate(3, patience_s=0.05)
        assert await gate.arrive() == 1
        gate._patience_s = 600.0
        assert await gate.arrive() == 2

    asyncio.run(visit())


def test_places_count_what_fits_on_each_node() -> None:
    nodes = [{"CPU": 4.0, "memory": 5.0}, {"CPU": 1.0, "memory": 100.0}, {"memory": 9.0}]
    assert places(nodes, 1.0, 0.0) == 5
    assert places(nodes, 1.0, 2.0) == 3
    assert places(nodes, 0.5, 2.0) == 4
    assert places(nodes, 8.0, 0.0) == 0
