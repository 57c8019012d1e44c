from __future__ import annotations

import numpy as np

from rayl2o.tasks.datasets.base import DataInfo, Examples


def test_features_are_the_product_of_the_shape() -> None:
    assert DataInfo((3, 32, 32), 10).features == 3072
    assert DataInfo((7,), 2).features == 7


def test_bytes_are_divided_by_255_and_floats_are_kept() -> None:
    pixels = np.array([[0, 51], [255, 1]], dtype=np.uint8)
    labels = np.zeros(2, np.int64)
    scaled = Examples(pixels, labels).scaled(slice(0, 2))
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, pixels.astype(np.float32) / np.float32(255))
    numbers = np.array([[0.25], [0.5]], dtype=np.float32)
    assert np.array_equal(Examples(numbers, labels).scaled(np.array([1])), [[0.5]])
