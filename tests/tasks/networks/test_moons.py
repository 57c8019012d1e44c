from __future__ import annotations

import numpy as np
import pytest

from rayl2o.tasks.networks.moons import moons


@pytest.mark.parametrize(("points", "noise", "seed"), [(1024, 0.1, 0), (65, 0.3, 7), (2, 0.0, 1)])
def test_they_are_those_of_scikit_learn(points: int, noise: float, seed: int) -> None:
    from sklearn.datasets import make_moons

    expected, expected_labels = make_moons(points, shuffle=True, noise=noise, random_state=seed)
    inputs, labels = moons(points, noise, seed)
    assert np.array_equal(inputs, expected)
    assert np.array_equal(labels, expected_labels)


def test_they_never_change() -> None:
    """The published data set (1,024 points, noise 0.1, seed 0), whatever becomes of scikit-learn."""
    inputs, labels = moons(1024, 0.1, 0)
    assert labels.sum() == 512
    assert labels[:8].tolist() == [1, 0, 0, 1, 0, 0, 0, 1]
    assert inputs[0].tolist() == pytest.approx([1.677638142319568, -0.04892811132998561], rel=1e-12)
    assert inputs.sum(0).tolist() == pytest.approx([513.2602171159502, 255.32428854198875], rel=1e-12)
