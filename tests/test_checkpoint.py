"""Checkpoints: bits survive, every kind of damage is named, and no kill or full disk costs what was saved before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayl2o import checkpoint
from rayl2o.errors import UserError

DTYPES = (
    torch.float32,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.bool,
    torch.bfloat16,
)
META: dict[str, checkpoint.JSON] = {
    "versions": {"torch": "2.13.0"},
    "rate": 0.1,
    "list": [1, None, True],
    "text": "größer",
}


def _tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-100, 100, (3, 4), generator=generator)
    tensors = {f"full.{dtype}": bits.to(dtype) for dtype in DTYPES}
    tensors |= {f"scalar.{dtype}": bits[0, 0].to(dtype) for dtype in DTYPES}
    tensors |= {f"empty.{dtype}": torch.zeros(0, 5, dtype=dtype) for dtype in DTYPES}
    wide = torch.randn(6, 8, generator=generator)
    tensors |= {"transposed": wide.T, "strided": wide[::2, 1::3], "view": wide[1], "expanded": wide[0, 0].expand(4)}
    tensors["odd"] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    return tensors | {'name with " and ü': torch.ones(2)}


def _same_bits(a: Tensor, b: Tensor) -> bool:
    same = a.dtype == b.dtype and a.shape == b.shape
    return (
        same
        and checkpoint.digest({"x": a}) == checkpoint.digest({"x": b})
        and a.tolist().__repr__() == repr(b.tolist())
    )


def _step(value: int) -> dict[str, Tensor]:
    return {"x": torch.full((50,), float(value)), "y": torch.tensor(value)}


def _steps(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_round_trip_bit_for_bit(tmp_path: Path) -> None:
    tensors = _tensors()
    path = checkpoint.save(tmp_path / "new" / "folder", 42, tensors, META)
    assert path == tmp_path / "new" / "folder" / "step-00000042"
    assert _steps(path) == ["manifest.json", "tensors.safetensors"]
    found = checkpoint.load(path)
    assert (found.step, found.meta, found.path) == (42, META, path)
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert _same_bits(found.tensors[name], tensor), name
    assert checkpoint.digest(found.tensors) == checkpoint.digest(tensors)


def test_loaded_tensors_are_their_own(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, _step(1), {})
    first = checkpoint.load(path)
    first.tensors["x"].add_(1)
    assert checkpoint.load(path).tensors["x"].eq(1).all()


def test_a_checkpoint_without_tensors(tmp_path: Path) -> None:
    assert checkpoint.load(checkpoint.save(tmp_path, 0, {}, {})).tensors == {}


def test_meta_comes_back_as_json(tmp_path: Path) -> None:
    meta: Any = {"tuple": (1, 2), "keys": {10: "a", 9: "b"}}
    found = checkpoint.load(checkpoint.save(tmp_path, 0, {}, meta))
    assert found.meta == {"tuple": [1, 2], "keys": {"10": "a", "9": "b"}}


@pytest.mark.parametrize("meta", [{"x": float("nan")}, {"x": float("inf")}, {"x": {1: 0, "1": 0}}, {"x": {2}}])
def test_meta_that_is_not_strict_json_is_a_bug(tmp_path: Path, meta: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"JSON|not supported between") as caught:
        checkpoint.save(tmp_path, 0, {}, meta)
    assert not isinstance(caught.value, UserError)
    assert _steps(tmp_path) == []


def test_digest_depends_on_every_bit_and_name_and_nothing_else() -> None:
    base = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2, 3)}
    others: list[dict[str, Tensor]] = [
        base | {"a": torch.tensor([1.0, 2.0000002])},
        base | {"a": torch.tensor([1.0, 2.0], dtype=torch.float64)},
        base | {"b": torch.zeros(3, 2)},
        base | {"b": torch.zeros(2, 3, dtype=torch.int32)},
        base | {"b": -torch.zeros(2, 3)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["b"], "b": base["a"]},
        {"a": base["a"]},
        {},
    ]
    digests = [checkpoint.digest(tensors) for tensors in (base, *others)]
    assert len(set(digests)) == len(digests)
    reordered = {"b": torch.zeros(3, 2).T, "a": torch.tensor([0.0, 1.0, 2.0], requires_grad=True)[1:]}
    assert checkpoint.digest(reordered) == digests[0]


def test_digest_is_pinned() -> None:
    """A digest is printed by the command line and compared across versions: it must not change silently."""
    tensors = {"w": torch.tensor([[1.0, -2.0]]), "n": torch.tensor(3), "h": torch.tensor([0.5], dtype=torch.bfloat16)}
    assert checkpoint.digest(tensors) == "86c4837a7770fd4b5dbb8af80ba6916f0f66597e4171f4019051878e181ac9b3"


def test_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 3, 100_000_000):
        checkpoint.save(tmp_path, step, _step(step), {})
    assert _steps(tmp_path) == ["step-00000003", "step-100000000"]
    for step in (4, 5, 6):
        checkpoint.save(tmp_path, step, _step(step), {}, keep=4)
    assert _steps(tmp_path) == ["step-00000004", "step-00000005", "step-00000006", "step-100000000"]
    assert checkpoint.load_newest(tmp_path)[0].step == 100_000_000


def test_an_older_step_than_those_kept_is_not_pruned_by_its_own_save(tmp_path: Path) -> None:
    for step in (8, 9, 3):
        path = checkpoint.save(tmp_path, step, _step(step), {})
    assert checkpoint.load(path).step == 3


@pytest.mark.parametrize("keep", [1, 0, -3])
def test_keep_is_at_least_two(tmp_path: Path, keep: int) -> None:
    with pytest.raises(UserError, match=f"got {keep}; keep at least 2"):
        checkpoint.save(tmp_path, 1, {}, {}, keep=keep)


def test_a_negative_step_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="negative"):
        checkpoint.save(tmp_path, -1, {}, {})


def test_pruning_counts_whole_checkpoints_only(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, _step(step), {}, keep=3)
    for step in (2, 3):
        _flip(tmp_path / f"step-0000000{step}" / checkpoint.TENSORS, -1)
    checkpoint.save(tmp_path, 4, _step(4), {})
    assert _steps(tmp_path) == ["step-00000001", "step-00000002", "step-00000003", "step-00000004"]
    checkpoint.save(tmp_path, 5, _step(5), {})
    assert _steps(tmp_path) == ["step-00000004", "step-00000005"]


def test_the_same_step_replaces(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, _step(1), {"turn": 1})
    checkpoint.save(tmp_path, 1, _step(7), {"turn": 2})
    assert _steps(tmp_path) == ["step-00000001"]
    found, skipped = checkpoint.load_newest(tmp_path)
    assert (found.meta["turn"], found.tensors["y"].item(), skipped) == (2, 7, [])


def test_the_same_step_replaces_a_damaged_one(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, _step(1), {})
    (path / checkpoint.MANIFEST).unlink()
    checkpoint.save(tmp_path, 1, _step(2), {})
    assert checkpoint.load(path).tensors["y"].item() == 2


def _flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def _rewrite(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = path / checkpoint.TENSORS
    save_file(change(load_file(file)), file)


def _edit(path: Path, **fields: object) -> None:
    file = path / checkpoint.MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def _text(path: Path, text: str | bytes) -> None:
    (path / checkpoint.MANIFEST).write_bytes(text.encode() if isinstance(text, str) else text)


def _append(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"junk")


def _truncate(path: Path, keep: float) -> None:
    file = path / checkpoint.TENSORS
    os.truncate(file, int(file.stat().st_size * keep))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda p: (p / "manifest.json").unlink(), "not a checkpoint, it has no manifest.json"),
    "empty manifest": (lambda p: _text(p, ""), "manifest.json is not JSON"),
    "half a manifest": (lambda p: _text(p, (p / "manifest.json").read_text()[:90]), "manifest.json is not JSON"),
    "manifest of bytes": (lambda p: _text(p, b"\xff\xfe\x00"), "manifest.json is not JSON"),
    "NaN in the manifest": (lambda p: _text(p, '{"schema_version": NaN}'), "NaN is not JSON"),
    "repeated key": (lambda p: _text(p, '{"schema_version": 1, "schema_version": 1}'), "a key is repeated"),
    "deep manifest": (lambda p: _text(p, "[" * 100_000), "nested too deeply"),
    "a list": (lambda p: _text(p, "[]"), "unknown schema_version .* got None"),
    "future schema": (lambda p: _edit(p, schema_version=99), "unknown schema_version .* got 99; this version .* reads version 1"),
    "schema as text": (lambda p: _edit(p, schema_version="1"), "unknown schema_version .* got '1'"),
    "schema as true": (lambda p: _edit(p, schema_version=True), "unknown schema_version .* got True"),
    "wrong type": (lambda p: _edit(p, step="7"), "field 'step' .* must be int: got '7'"),
    "bool as int": (lambda p: _edit(p, step=True), "field 'step' .* must be int: got True"),
    "missing field": (lambda p: _edit(p, meta=None), "field 'meta' .* must be dict: got None"),
    "edited meta": (lambda p: _edit(p, meta={"rate": 0.2}), "manifest.json was changed after it was written"),
    "flipped bit in the manifest": (lambda p: _flip(p / "manifest.json", 30), "manifest|schema_version"),
    "no tensor file": (lambda p: (p / "tensors.safetensors").unlink(), "cannot read tensors.safetensors"),
    "empty tensor file": (lambda p: _truncate(p, 0), "truncated, .* bytes expected: got 0;"),
    "truncated header": (lambda p: _truncate(p, 0.05), "truncated"),
    "truncated data": (lambda p: _truncate(p, 0.9), "truncated"),
    "too long": (lambda p: _append(p / "tensors.safetensors"), "too long"),
    "flipped bit in the data": (lambda p: _flip(p / "tensors.safetensors", -1), "damaged, its sha256"),
    "flipped bit in the header length": (lambda p: _flip(p / "tensors.safetensors", 3), "damaged, its sha256"),
    "flipped bit in the header": (lambda p: _flip(p / "tensors.safetensors", 9), "damaged, its sha256"),
    "missing tensor": (
        lambda p: _rewrite(p, lambda t: {"x": t["x"]}),
        "lacks a tensor of its manifest: got 'y'",
    ),
    "extra tensor": (
        lambda p: _rewrite(p, lambda t: t | {"z": torch.ones(1)}),
        "has an unlisted tensor of its manifest: got 'z'",
    ),
    "another shape": (
        lambda p: _rewrite(p, lambda t: t | {"x": t["x"].reshape(5, 10)}),
        r"tensor 'x' .*'shape': \[50\]} in the manifest: got .*'shape': \[5, 10\]",
    ),
    "another dtype": (
        lambda p: _rewrite(p, lambda t: t | {"x": t["x"].view(torch.int32)}),
        "tensor 'x' .*'float32'.* in the manifest: got .*'int32'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_passed_over(tmp_path: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    checkpoint.save(tmp_path, 1, _step(1), META)
    path = checkpoint.save(tmp_path, 2, _step(2), META)
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    assert caught.value.mend
    found, skipped = checkpoint.load_newest(tmp_path)
    assert found.step == 1
    assert skipped == [f"skipped checkpoint step-00000002: {caught.value}"]


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 2, {"x": torch.ones(2)}, {"a": 1.5})
    for file in (path / checkpoint.TENSORS, path / checkpoint.MANIFEST):
        whole = file.read_bytes()
        for position in range(0, len(whole), 3):
            _flip(file, position)
            if file.name == checkpoint.TENSORS or json.loads(whole) != _json_or_none(file.read_bytes()):
                with pytest.raises(UserError):
                    checkpoint.load(path)
            file.write_bytes(whole)
    assert checkpoint.load(path).step == 2


def _json_or_none(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None


def test_a_manifest_beyond_the_cap_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint.save(tmp_path, 1, _step(1), META)
    monkeypatch.setattr(checkpoint, "_MANIFEST_LIMIT", 100)
    with pytest.raises(UserError, match="larger than 100 bytes"):
        checkpoint.load(path)
    with pytest.raises(ValueError, match="more than the 100"):
        checkpoint.save(tmp_path, 2, _step(1), META)


def test_nothing_to_load(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="no checkpoint found"):
            checkpoint.load_newest(folder)
    path = checkpoint.save(tmp_path, 1, _step(1), {})
    with pytest.raises(UserError, match="name one step-"):
        checkpoint.load(tmp_path)
    with pytest.raises(UserError, match="this is a single one"):
        checkpoint.load_newest(path)
    shutil.rmtree(path / ".." / path.name)
    (tmp_path / "step-00000005").mkdir()
    with pytest.raises(UserError, match="no valid checkpoint: skipped checkpoint step-00000005: not a checkpoint"):
        checkpoint.load_newest(tmp_path)


def test_leftovers_of_a_killed_writer_are_cleaned(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, _step(1), {})
    for name in (".step-00000002.partial", ".step-00000000.pruned"):
        shutil.copytree(path, tmp_path / name)
    path.rename(tmp_path / ".step-00000001.replaced")
    assert checkpoint.load_newest(tmp_path)[0].step == 1
    checkpoint.save(tmp_path, 2, _step(2), {})
    assert _steps(tmp_path) == ["step-00000001", "step-00000002"]


_PREPARE = """
import os, random, resource, signal, sys, time
from pathlib import Path
import torch
from rayl2o import checkpoint
from rayl2o.errors import UserError
torch.set_num_threads(1)
folder = Path(sys.argv[1])
def tensors(value):
    return {"x": torch.full((5000,), float(value)), "y": torch.tensor(value)}
def newest():
    found, skipped = checkpoint.load_newest(folder)
    assert not skipped, skipped
    assert found.tensors["x"].eq(found.meta["value"]).all() and found.tensors["y"] == found.meta["value"]
    return found
def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return child
"""

_RANDOM_KILLS = """
rng = random.Random(0)
value = 0
checkpoint.save(folder, 0, tensors(0), {"value": 0})
for turn in range(25):
    def work():
        v = value
        while True:
            v += 1
            checkpoint.save(folder, v // 3, tensors(v), {"value": v})  # each step three times: replacing, too
    child = fork(work)
    time.sleep(rng.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    found = newest()
    assert found.meta["value"] >= value, (found.meta, value)
    value = found.meta["value"]
print("reached", value)
"""

_KILL_AT_EVERY_CALL = """
NAMES = ("fsync", "rename", "mkdir", "unlink", "rmdir", "open")
def kill_at(n):
    count = 0
    def wrap(function):
        def wrapped(*args, **kwargs):
            nonlocal count
            count += 1
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapped
    for name in NAMES:
        setattr(os, name, wrap(getattr(os, name)))
for step, old, new in ((3, 2, 3), (2, 2, 4)):  # a new step that prunes one, and the same step again
    for n in range(1, 1000):
        checkpoint.save(folder, 1, tensors(1), {"value": 1})
        checkpoint.save(folder, 2, tensors(2), {"value": 2})
        for later in folder.glob("step-00000003"):
            later.rename(folder / ".step-00000003.pruned")
        def work():
            kill_at(n)
            checkpoint.save(folder, step, tensors(new), {"value": new})
            os._exit(0)
        status = os.waitpid(fork(work), 0)[1]
        assert newest().meta["value"] in ((old, new) if status else (new,))
        if status == 0:
            break
        assert status == signal.SIGKILL
    assert n > 10
    print("calls", n)
"""

_FULL_DISK = """
checkpoint.save(folder, 1, tensors(1), {"value": 1})
checkpoint.save(folder, 2, tensors(2), {"value": 2})
before = sorted((str(p), p.stat().st_size) for p in folder.rglob("*"))
for limit, step, meta in ((0, 3, {}), (10_000, 3, {}), (10_000, 2, {}), (30_000, 3, {"long": "x" * 40_000})):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        checkpoint.save(folder, step, tensors(9), meta)
    except UserError as error:
        assert "cannot write checkpoint" in str(error) and "free space" in error.mend, error
    else:
        raise AssertionError("written to a full disk")
    assert sorted((str(p), p.stat().st_size) for p in folder.rglob("*")) == before
    assert newest().step == 2
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
checkpoint.save(folder, 3, tensors(3), {"value": 3})
assert newest().step == 3
kept = folder / "a.txt"
checkpoint.replace_file(kept, lambda file: file.write(b"old"))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    checkpoint.replace_file(kept, lambda file: file.write(b"n" * 5000))
except UserError as error:
    assert "cannot write file" in str(error)
    assert kept.read_bytes() == b"old" and not list(folder.glob(".a*"))
    print("refused")
"""


@pytest.mark.parametrize(
    ("script", "says"),
    [(_RANDOM_KILLS, "reached"), (_KILL_AT_EVERY_CALL, "calls"), (_FULL_DISK, "refused")],
    ids=["SIGKILL at random", "SIGKILL at every system call", "full disk"],
)
def test_real_faults_leave_a_valid_newest_checkpoint(tmp_path: Path, script: str, says: str) -> None:
    root = str(Path(checkpoint.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PREPARE + script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_everything_is_on_the_disk_before_it_is_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a loss of power would need cannot be tested; the order of the calls that guard against it can."""
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def spy_fsync(handle: int) -> None:
        entries = {entry.stat().st_ino: entry for entry in (tmp_path, *tmp_path.rglob("*"))}
        entry = entries[os.fstat(handle).st_ino]
        calls.append(
            f"sync {entry.relative_to(tmp_path)} {entry.stat().st_size if entry.is_file() else len(_steps(entry))}"
        )
        fsync(handle)

    def spy_rename(old: Path, new: Path) -> None:
        calls.append(f"rename {old.name} {new.name}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    path = checkpoint.save(tmp_path, 1, _step(1), {})
    sizes = [(path / name).stat().st_size for name in (checkpoint.TENSORS, checkpoint.MANIFEST)]
    partial = ".step-00000001.partial"
    assert calls == [
        f"sync {partial}/tensors.safetensors {sizes[0]}",
        f"sync {partial}/manifest.json {sizes[1]}",
        f"sync {partial} 2",
        f"rename {partial} step-00000001",
        "sync . 1",
    ]


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = checkpoint.replace_file(tmp_path / "sub" / "a.json", lambda file: file.write(b"one"))
    assert path.read_bytes() == b"one"

    def fail(file: Any) -> None:
        file.write(b"two")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        checkpoint.replace_file(path, fail)
    assert path.read_bytes() == b"one"
    checkpoint.replace_file(path, lambda file: file.write(b"three"))
    assert path.read_bytes() == b"three"
    assert _steps(path.parent) == ["a.json"]


@pytest.mark.parametrize("text", ["NaN", "-Infinity", '{"a": 1, "a": 2}', "{", "'a'", "1e", "[" * 5000])
def test_strict_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        checkpoint.parse_json(text)
    assert checkpoint.parse_json('{"a": [1, 2.5, null, true]}') == {"a": [1, 2.5, None, True]}
