from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.data import load
from rayl2o.tasks.datasets import store
from rayl2o.tasks.datasets.base import DataInfo, DataSet, Examples
from rayl2o.tasks.datasets.splits import shuffled_rows
from rayl2o.tasks.datasets.store import INPUTS, LABELS, MANIFEST, Key, condition, examples_of, in_memory, mapped
from tests.tasks.datasets.cifar_files import write_cifar10


@dataclass(frozen=True)
class Numbers:
    """A source of 40 examples; ``read`` is counted."""

    reads: list[str]
    name: str = "some numbers/1"
    info: DataInfo = field(default=DataInfo((5,), 3))

    def digest(self, part: str) -> str | None:
        return "abc"

    def read(self, part: str) -> Examples:
        self.reads.append(part)
        inputs = np.arange(200, dtype=np.uint8).reshape(40, 5)
        return Examples(inputs, np.arange(40) % 3)


KEY = Key("some numbers/1", "train", False, "abc")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYL2O_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: DataSet, two: DataSet) -> bool:
    return torch.equal(one.inputs, two.inputs) and torch.equal(one.labels, two.labels) and one.classes == two.classes


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "data").iterdir())


@pytest.mark.parametrize("shuffled", [False, True])
def test_what_is_mapped_is_what_was_read_bit_by_bit(shuffled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_CHUNK_BYTES", 3 * 20)  # blocks of 3 examples, the last one short
    source, key = Numbers([]), replace(KEY, shuffled=shuffled)
    stored = examples_of(source, key)
    assert same(stored, in_memory(source, "train", shuffled))
    assert (stored.inputs.dtype, stored.labels.dtype, stored.inputs.shape) == (torch.float32, torch.int64, (40, 5))
    rows = torch.tensor(shuffled_rows(40)) if shuffled else torch.arange(40)
    assert torch.equal(stored.inputs[:, 0] * 255, 5.0 * rows)


def test_a_second_process_decodes_nothing(cache: Path) -> None:
    source = Numbers([])
    first = examples_of(source, KEY)
    assert same(examples_of(source, KEY), first)
    assert source.reads == ["train"]
    assert names(cache)[1].startswith("some-numbers-1-train-")
    assert len(names(cache)) == 2  # the entry and its lock


def test_another_content_part_or_order_is_another_entry() -> None:
    keys = [KEY, replace(KEY, digest="abd"), replace(KEY, part="test"), replace(KEY, shuffled=True)]
    assert len({key.path for key in keys}) == 4


def test_a_write_in_place_reaches_nobody_else() -> None:
    source = Numbers([])
    mine, other = examples_of(source, KEY), examples_of(source, KEY)
    mine.inputs.fill_(7)
    assert same(other, in_memory(source, "train", False))
    assert condition(KEY) == "sound"


def _cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-4])


def _forge(path: Path) -> None:
    """A manifest that says something else, without its own checksum made again."""
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"examples": 20}))


def _garbage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"\xff{")


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (INPUTS, _cut),
        (LABELS, _cut),
        (MANIFEST, _cut),
        (MANIFEST, _forge),
        (MANIFEST, _garbage),
        (INPUTS, Path.unlink),
        (MANIFEST, Path.unlink),
    ],
)
def test_a_damaged_entry_is_replaced(file: str, damage: Callable[[Path], None], cache: Path) -> None:
    source = Numbers([])
    first = examples_of(source, KEY)
    damage(KEY.path / file)
    assert condition(KEY) == "damaged"
    assert mapped(source, KEY) is None
    again = examples_of(source, KEY)
    assert source.reads == ["train", "train"]
    assert same(again, in_memory(source, "train", False))
    assert condition(KEY) == "sound"
    assert len(names(cache)) == 2
    if file != INPUTS or damage is not _cut:
        assert same(first, again)  # whoever has mapped the old one goes on with it


def test_changed_bytes_are_found_by_a_full_check_only() -> None:
    source = Numbers([])
    assert condition(KEY) == "absent"
    examples_of(source, KEY)
    path = KEY.path / INPUTS
    path.chmod(0o644)
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    assert mapped(source, KEY) is not None
    assert condition(KEY) == "damaged"


def test_data_that_change_while_they_are_read_are_not_stored(cache: Path) -> None:
    with pytest.raises(UserError, match="changed while it was read: got 'some numbers/1'"):
        examples_of(Numbers([]), replace(KEY, digest="that of an older file"))
    assert all(name.startswith(".") for name in names(cache))


def test_an_entry_of_another_shape_is_not_mapped() -> None:
    examples_of(Numbers([]), KEY)
    assert mapped(replace(Numbers([]), info=DataInfo((4,), 3)), KEY) is None


def test_what_a_killed_writer_left_is_cleaned_away(cache: Path) -> None:
    left = KEY.path.parent / f".{KEY.path.name}.xyz.partial"
    (left / "entry").mkdir(parents=True)
    (left / "entry" / INPUTS).write_bytes(b"half")
    examples_of(Numbers([]), KEY)
    assert not left.exists()
    assert len(names(cache)) == 2


def test_without_locks_two_writers_do_no_harm(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Another process puts the entry in place while this one writes it."""
    source, write = Numbers([]), store._write

    def slow(partial: Path, key: Key, examples: Examples) -> None:
        write(partial, key, examples)
        monkeypatch.setattr(store, "_write", write)
        store._written(source, key, examples, False)

    monkeypatch.setattr(store, "_write", slow)
    KEY.path.parent.mkdir(parents=True)
    assert same(store._written(source, KEY, source.read("train"), False), in_memory(source, "train", False))
    assert names(cache) == [KEY.path.name]


@pytest.mark.parametrize("failure", ["no folder", "no space"])
def test_where_nothing_can_be_written_memory_is_used_and_said(
    failure: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if failure == "no folder":
        cache.touch()
    else:

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
    source = Numbers([])
    with caplog.at_level(logging.WARNING, "rayl2o"):
        found = examples_of(source, KEY)
    assert same(found, in_memory(source, "train", False))
    (record,) = caplog.records
    assert "'some numbers/1' is not stored" in record.message
    assert "RAYL2O_CACHE" in record.message
    if failure == "no space":
        assert names(cache) == [f".{KEY.path.name}.lock"]  # nothing half done is left


_PROCESS = """
import sys
from rayl2o.errors import UserError
from rayl2o.tasks.data import load
data = load("cifar10")
total = float(data.inputs.double().sum())
dirty = clean = maps = 0
for line in open("/proc/self/smaps"):
    if "-" in line.split()[0] and ":" not in line.split()[0]:
        ours = line.rstrip().endswith("inputs.f32")
        maps += ours
    elif ours and line.startswith("Private_Dirty:"):
        dirty += int(line.split()[1])
print(total, maps, dirty)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the kernel does not tell of mappings")
def test_processes_that_start_together_share_one_entry(tmp_path: Path, cache: Path) -> None:
    """One decodes while the others wait; none has a page of its own of the inputs."""
    write_cifar10(tmp_path, batches=1, count=100)
    environment = os.environ | {"RAYL2O_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _PROCESS]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120)[0].split() for process in started]
    assert len({total for total, _, _ in told}) == 1
    assert [(int(maps), int(dirty)) for _, maps, dirty in told] == [(1, 0)] * 2
    assert len([name for name in names(cache) if not name.startswith(".")]) == 1


def test_a_changed_file_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    folder = write_cifar10(tmp_path, batches=1)
    before = load("cifar10")
    (folder / "data_batch_1.bin").write_bytes((folder / "test_batch.bin").read_bytes())
    assert torch.equal(load("cifar10").inputs, load("cifar10", "test").inputs)
    assert len(before.labels) == 5
