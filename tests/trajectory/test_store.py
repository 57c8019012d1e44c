"""Files of segments: what goes in comes out, whatever is broken is named, what was there before stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import torch

import rayl2o
from rayl2o.errors import UserError
from rayl2o.trajectory import store
from rayl2o.unroll.segment import Segment
from tests.trajectory.examples import VARIANTS, make_segment, same

Write = Callable[..., Path]
Read = Callable[..., list[Segment]]
FORMATS: dict[str, tuple[Write, Read]] = {
    "arrow": (store.write_ipc, store.read_ipc),
    "parquet": (store.write_parquet, store.read_parquet),
}


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _all_same(found: list[Segment], wanted: list[Segment]) -> bool:
    return len(found) == len(wanted) and all(same(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip(tmp_path: Path, kind: str, variant: str) -> None:
    write, read = FORMATS[kind]
    segment = VARIANTS[variant]()
    path = write(tmp_path / "new" / f"x.{kind}", [segment])
    assert _all_same(read(path), [segment])


def test_many_segments_come_back_in_order(tmp_path: Path, kind: str) -> None:
    write, read = FORMATS[kind]
    keys = [(0, 0, 9), (0, 0, 10), (0, 1, 0), (2, 0, 0), (11, 0, 0)]
    segments = [make_segment(k=1 + i, coords=2 + i, params=11 + i, key=key, seed=i) for i, key in enumerate(keys)]
    path = write(tmp_path / "x", segments[::-1])
    assert _all_same(read(path), segments)
    assert _all_same(read(path, size=None), segments)
    with pytest.raises(UserError, match="must have 11 coordinates"):
        read(path, size=11)


def test_what_is_read_is_the_readers(tmp_path: Path, kind: str) -> None:
    write, read = FORMATS[kind]
    segment = make_segment()
    path = write(tmp_path / "x", [segment])
    read(path)[0].grad.zero_()
    assert same(read(path)[0], segment)


def test_other_tools_can_read_parquet(tmp_path: Path) -> None:
    segment = make_segment()
    path = store.write_parquet(tmp_path / "x.parquet", [segment])
    rows = pa.parquet.read_table(path).to_pylist()
    assert np.array_equal(
        np.array([row["grad"] for row in rows], dtype=np.float32).reshape(3, 4, 5), segment.grad.numpy()
    )


def test_casting_is_asked_for(tmp_path: Path, kind: str) -> None:
    write, read = FORMATS[kind]
    double = make_segment(dtype=torch.float64)
    with pytest.raises(UserError, match="float32 on file"):
        write(tmp_path / "x", [double])
    assert torch.equal(read(write(tmp_path / "x", [double], cast=True))[0].grad, double.grad.float())


def test_no_file_is_written_that_would_not_be_read(tmp_path: Path, kind: str) -> None:
    bad = make_segment()
    bad.weight[0, 0] = -1
    with pytest.raises(UserError, match="weight must be finite and >= 0"):
        FORMATS[kind][0](tmp_path / "x", [bad])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_overwrite_leaves_the_file(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = FORMATS[kind]
    old, new = make_segment(), make_segment(seed=1)
    path = write(tmp_path / "x", [old])

    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UserError, match=r"cannot write file \(.*No space left.*intact"):
            write(path, [new])
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert same(read(path)[0], old)
    assert same(read(write(path, [new]))[0], new)


_FULL_DISK = """
import resource, sys
from pathlib import Path
from rayl2o.errors import UserError
from rayl2o.trajectory import store
from tests.trajectory.examples import make_segment, same
old, new = make_segment(k=8, coords=100), make_segment(k=8, coords=100, seed=1)
folder = Path(sys.argv[1])
ways = (
    (lambda s: store.write_ipc(folder / "x.arrow", [s]), store.read_ipc),
    (lambda s: store.write_parquet(folder / "x.parquet", [s]), store.read_parquet),
    (lambda s: store.append(folder, 1, [s]), store.read_ipc),
)
paths = [write(old) for write, _ in ways]
for limit in (0, 5000, 20_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for write, _ in ways:
        try:
            write(new)
        except UserError as error:
            assert "cannot write file" in str(error), error
        else:
            raise AssertionError("written to a full disk")
assert sorted(folder.iterdir()) == sorted(paths)
assert all(same(read(path)[0], old) for path, (_, read) in zip(paths, ways))
print("refused")
"""


def test_a_full_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(rayl2o.__file__).parent.parent)},
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def _damage(path: Path, keep: float = 1.0, flip: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    if flip is not None:
        data[flip] ^= 4
    path.write_bytes(data[: int(len(data) * keep)])


def test_missing_empty_foreign_and_truncated_files(tmp_path: Path, kind: str) -> None:
    write, read = FORMATS[kind]
    path = tmp_path / "x"
    with pytest.raises(UserError, match=r"cannot read .* file \(No such file"):
        read(path)
    with pytest.raises(UserError, match=r"cannot read .* file \(Is a directory"):
        read(tmp_path)
    path.touch()
    with pytest.raises(UserError, match="file is empty"):
        read(path)
    path.write_text("slot,ordinal\n1,2\n")
    with pytest.raises(UserError, match=r"not an? (Arrow IPC|Parquet) file: got .*; name a file of segments"):
        read(path)
    other = next(name for name in FORMATS if name != kind)
    with pytest.raises(UserError, match=r"not an? (Arrow IPC|Parquet) file"):
        read(FORMATS[other][0](path, [make_segment()]))
    for keep in (0.01, 0.5, 0.9, 0.999):
        write(path, [make_segment()])
        _damage(path, keep)
        with pytest.raises(UserError, match="file is truncated or damaged") as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert repr(str(path))[:100] in str(caught.value)


@pytest.mark.parametrize("name", ["credit", "slot", "spec", "params"])
def test_a_missing_column_is_named(tmp_path: Path, kind: str, name: str) -> None:
    write, read = FORMATS[kind]
    path = write(tmp_path / "x", [make_segment()])
    table = pa.parquet.read_table(path) if kind == "parquet" else pa.ipc.open_file(path.read_bytes()).read_all()
    for change, mend in (
        (table.drop_columns([name]), "write it again"),
        (
            table.rename_columns({name: f"{name}_"}).replace_schema_metadata(table.schema.metadata),
            f"rename the column '{name}_'",
        ),
    ):
        _write_raw(path, kind, change)
        with pytest.raises(UserError, match=f"x lacks a column: got '{name}'; {mend}"):
            read(path)


def _write_raw(path: Path, kind: str, table: pa.Table) -> None:
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)


def test_bad_values_in_a_good_file(tmp_path: Path, kind: str) -> None:
    """Each check has its own test on batches; here: they are made on files, too, and name the file."""
    _, read = FORMATS[kind]
    good = store.to_table([make_segment()])
    path = tmp_path / "x"
    for table, message in (
        (good.slice(0, 2), "x, slot 1, ordinal 2, segment 3"),
        (pa.concat_tables([good, good.slice(1, 1)]), "a row is there twice"),
        (good.slice(0, 0), "x holds no rows"),
        (good.replace_schema_metadata({}), "x holds no segments"),
        (pa.table({"a": [1]}), "x holds no segments"),
    ):
        _write_raw(path, kind, table)
        with pytest.raises(UserError, match=message):
            read(path)


def test_rounds_are_appended_under_the_name_of_their_contents(tmp_path: Path) -> None:
    segments = [[make_segment(key=(s, 0, r), seed=r) for s in (0, 1)] for r in range(3)]
    paths = [store.append(tmp_path, r, segments[r]) for r in (2, 0, 1)]
    assert store.rounds(tmp_path) == [paths[1], paths[2], paths[0]]
    assert all(_all_same(store.read_ipc(path), segments[r]) for r, path in enumerate(store.rounds(tmp_path)))
    assert paths[1].name.startswith("round-00000000-")
    # The same round again gives the same bytes under the same name; other bytes never replace a file.
    assert store.append(tmp_path, 0, segments[0]) == paths[1]
    other = store.append(tmp_path, 0, segments[1])
    assert other != paths[1]
    assert len(store.rounds(tmp_path)) == 4
    (tmp_path / ".round-00000009-0123456789abcdef.arrow.partial").touch()
    (tmp_path / "notes.txt").touch()
    assert len(store.rounds(tmp_path)) == 4


def test_every_flipped_bit_of_a_round_is_noticed(tmp_path: Path) -> None:
    path = store.append(tmp_path, 5, [make_segment(k=1, coords=1)])
    whole = path.read_bytes()
    for position in range(6, len(whole), 101):
        _damage(path, flip=position)
        with pytest.raises(UserError, match="is damaged, its name says sha256"):
            store.read_ipc(path)
        path.write_bytes(whole)
    assert len(store.read_ipc(path)) == 1


_FUZZ = """
import random, sys
from pathlib import Path
from rayl2o.errors import UserError
from rayl2o.trajectory import store
from tests.trajectory.examples import make_segment
path = Path(sys.argv[1]) / "x"
refused = 0
for write, read in ((store.write_ipc, store.read_ipc), (store.write_parquet, store.read_parquet)):
    whole = write(path, [make_segment(k=2, coords=2)]).read_bytes()
    rng = random.Random(0)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            read(path)
        except UserError:
            refused += 1
print("refused", refused)
"""


def test_damaged_files_raise_one_kind_of_error_or_read_as_sound(tmp_path: Path) -> None:
    """A file without a checksum may hold other numbers after damage, but it never crashes the reader or raises anything else."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FUZZ, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(rayl2o.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[1]) > 100


def test_a_slot_of_another_family_stands_in_the_same_file(tmp_path: Path, kind: str) -> None:
    """Other sizes D, other numbers of tensors T, and with sampling off other C."""
    write, read = FORMATS[kind]
    one = make_segment(coords=11, tensors=(3, 2), params=11)
    two = make_segment(coords=30, tensors=(5, 2), params=30, key=(4, 0, 0))
    two = replace(two, source=replace(two.source, family="mlp"))
    assert _all_same(read(write(tmp_path / "x", [one, two])), [one, two])
