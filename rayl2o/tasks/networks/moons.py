"""Two interleaving half circles, as scikit-learn's ``make_moons`` draws them, bit for bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def moons(points: int, noise: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Coordinates ``[N, 2]`` and labels ``[N]`` (0 the upper, 1 the lower half circle), shuffled.

    Equal to ``make_moons(points, shuffle=True, noise=noise, random_state=seed)``; written out because that promise is ours to
    keep, and scikit-learn may change its own. ``RandomState`` is the generator whose stream numpy never changes.

    Args:
        points: N; the lower half circle gets one more if it is odd.
        noise: Standard deviation of what is added to each coordinate.
        seed: 0..2^32-1, of the shuffle and the noise.
    """
    upper, lower = (np.linspace(0, np.pi, count) for count in (points // 2, points - points // 2))
    clean = np.concatenate(
        [
            np.stack([np.cos(upper), np.sin(upper)], 1),
            np.stack([1 - np.cos(lower), 1 - np.sin(lower) - 0.5], 1),
        ]
    )
    labels = np.repeat(np.array([0, 1], dtype=np.int64), [len(upper), len(lower)])
    rng = np.random.RandomState(seed)
    order = np.arange(points)
    rng.shuffle(order)
    return clean[order] + rng.normal(scale=noise, size=clean.shape), labels[order]
