from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest

from rayl2o.envs.render import Curve, check_mode, draw
from rayl2o.errors import UserError


def is_blue(frame: np.ndarray) -> np.ndarray:
    """Where the line is."""
    red, blue = frame[..., 0].astype(int), frame[..., 2].astype(int)
    return np.asarray((blue - red > 120) & (red < 90))


def test_a_falling_loss_falls_in_the_picture() -> None:
    before = dict(matplotlib.rcParams)
    frame = draw(Curve([10.0**-i for i in range(11)], False, 10, 1e-12, "task"))
    assert frame.shape == (330, 430, 3)
    assert frame.dtype == np.uint8
    rows, columns = np.nonzero(is_blue(frame))
    assert np.corrcoef(rows, columns)[0, 1] > 0.99
    assert dict(matplotlib.rcParams) == before


def test_the_axis_reaches_to_the_horizon() -> None:
    half, whole = (is_blue(draw(Curve([2.0, 1.0], False, horizon, 1e-12, "task"))) for horizon in (2, 1))
    left, right = np.nonzero(half)[1].max(), np.nonzero(whole)[1].max()
    assert left < 0.7 * right


@pytest.mark.parametrize("losses", [[1.0], [1.0, math.nan], [1.0, 5.0, math.inf], [0.0, 0.0], [-1.0, 2.0], [math.nan]])
def test_any_losses_can_be_drawn(losses: list[float]) -> None:
    assert draw(Curve(losses, True, 10, 1e-10, "task")).std() > 0


def test_divergence_shows() -> None:
    frames = [draw(Curve([1.0, 2.0], diverged, 10, 1e-10, "task")) for diverged in (False, True)]
    assert not np.array_equal(frames[0], frames[1])


def test_modes() -> None:
    assert check_mode(None) is None
    assert check_mode("rgb_array") == "rgb_array"
    with pytest.raises(UserError, match="unknown render mode: got 'ansi'"):
        check_mode("ansi")
