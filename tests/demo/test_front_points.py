from __future__ import annotations

from rayl2o.demo.front_points import front_points
from tests.cli.fronts import front


def test_members_then_those_refused() -> None:
    made = front()
    points = front_points(made, made.candidates[1])
    assert [point.complexity for point in points] == [3, 7, 9, 10, 3]
    assert [point.chosen for point in points] == [False, True, False, False, False]
    assert [point.refused for point in points] == [False] * 4 + [True]
    assert [point.note for point in points[3:]] == ["13 times max |y|", "a constant gradient is ascended"]
    assert points[0].losses == (0.2, 0.25, 0.3)
    assert (points[0].r2, points[0].r2_test, points[2].r2_test) == (0.7, 0.71, None)
    assert points[2].diverged == 2
    assert not any(point.chosen for point in front_points(made, None))
