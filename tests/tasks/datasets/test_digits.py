from __future__ import annotations

from rayl2o.tasks.datasets.digits import Digits


def test_digits_need_no_file_and_no_store() -> None:
    source = Digits()
    assert source.info.shape == (1, 8, 8)
    assert source.digest("train") is None
    assert [len(source.read(part).labels) for part in ("train", "test")] == [1500, 297]
