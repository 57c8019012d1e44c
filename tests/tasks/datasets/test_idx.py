from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.idx import idx_shape, read_idx
from tests.tasks.datasets.idx_files import idx_bytes

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_gzip_and_plain_whatever_the_name(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)) if zipped else idx_bytes(IMAGES))
    read = read_idx(path, dims=3)
    assert read.dtype == np.uint8
    assert np.array_equal(read, IMAGES)


GOOD = idx_bytes(IMAGES)
ZIPPED = gzip.compress(GOOD)
BAD = {
    "empty file": (b"", "wrong magic number"),
    "not IDX": (b"\x89PNG\r\n\x1a\n" + GOOD, "wrong magic number"),
    "other element type": (idx_bytes(IMAGES, element=0x0D), "unknown IDX element type: got '0xd'"),
    "other number of axes": (idx_bytes(IMAGES.reshape(-1)), "wrong number of IDX axes: got 1"),
    "header cut": (GOOD[:9], "IDX header is truncated, bytes present: got 9"),
    "no elements": (idx_bytes(IMAGES[:0]), "holds no elements"),
    "body cut": (GOOD[:-5], "24 bytes follow from sizes (2, 3, 4): got 19"),
    "huge sizes": (GOOD[:4] + b"\xff" * 12 + GOOD[16:], "is truncated"),
    "trailing bytes": (GOOD + b"x", "goes on after its 24 bytes"),
    "gzip cut": (ZIPPED[:-12], "corrupt gzip"),
    "gzip checksum": (ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:], "corrupt gzip"),
    "gzip body": (ZIPPED[:12] + b"\xff" * 8 + ZIPPED[20:], "corrupt gzip"),
    "gzip header": (ZIPPED[:2] + b"\x01" + ZIPPED[3:], "corrupt gzip"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, case: str) -> None:
    data, message = BAD[case]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_idx(path, dims=3)
    assert message in str(caught.value)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist: got .*nowhere"):
        read_idx(tmp_path / "nowhere", dims=1)
    with pytest.raises(UserError, match="unreadable"):
        read_idx(tmp_path, dims=1)


@pytest.mark.parametrize("zipped", [True, False])
def test_the_header_alone_tells_the_sizes(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(GOOD) if zipped else GOOD[:-5])  # cut, which the header does not tell
    assert idx_shape(path, dims=3) == (2, 3, 4)
    with pytest.raises(UserError, match="wrong number of IDX axes: got 3"):
        idx_shape(path, dims=1)
    path.write_bytes(b"x")
    with pytest.raises(UserError, match=r"wrong magic number.*; do this"):
        idx_shape(path, 3, "do this")
