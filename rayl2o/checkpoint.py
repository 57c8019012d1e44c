"""Named tensors and JSON metadata on disk: checksummed, atomic, never half written. Knows nothing of learners or rules.

A checkpoint is a folder ``step-00000042`` of ``tensors.safetensors`` and ``manifest.json``. It is written beside its place
under a hidden name, synced, manifest last, and renamed, so that a visible folder is a whole one. One writer per folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save_file
from torch import Tensor

from rayl2o.errors import UserError

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

SCHEMA_VERSION = 1
TENSORS, MANIFEST = "tensors.safetensors", "manifest.json"

_MANIFEST_LIMIT = 64 * 2**20
_FOLDER = re.compile(r"\.?step-(\d{8,})(\.replaced)?")
_FIELDS = {"step": int, "bytes": int, "sha256": str, "tensors": dict, "meta": dict, "manifest_sha256": str}
_FALL_BACK = "use another checkpoint, or train again"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: tensors on the CPU by name, metadata as JSON gives it back (lists for tuples), and where it lies."""

    step: int
    tensors: dict[str, Tensor]
    meta: Mapping[str, Any]
    path: Path


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hex sha256 over names (sorted), dtypes, shapes and raw little-endian bytes: equal exactly if all bits are equal."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        header = json.dumps([name, _dtype(tensor), list(tensor.shape)]).encode()
        total.update(len(header).to_bytes(8, "little") + header)
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, JSON], keep: int = 2) -> Path:
    """Writes ``folder/step-<step>`` and prunes to the newest ``keep`` valid checkpoints.

    Killed at any moment it leaves the folder loadable; what is half done is cleaned by the next save. The same step again
    replaces the old checkpoint.

    Args:
        folder: Where the checkpoints of one run lie; made if missing.
        step: Number that orders them, not negative.
        tensors: Any dtype that safetensors knows, any device, contiguous or not.
        meta: JSON data without NaN or infinity; library versions belong here.
        keep: At least 2.

    Returns:
        The folder of the new checkpoint.

    Raises:
        UserError: If ``keep`` is below 2 or the disk refuses; earlier checkpoints are intact then.
        ValueError, TypeError: If step is negative or meta is not strict JSON (a caller's bug).
    """
    if keep < 2:
        raise UserError("too few checkpoints to keep", value=keep, mend="keep at least 2, one may get damaged")
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    target = folder / f"step-{step:08d}"
    partial, replaced = _aside(target, "partial"), _aside(target, "replaced")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        _write(partial, step, tensors, meta)
        if target.exists():
            os.rename(target, replaced)
        os.rename(partial, target)
        sync(folder)
        if replaced.exists():
            shutil.rmtree(replaced)
        _prune(folder, target, keep)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            _tidy(folder)
        _cannot_write("checkpoint", target, error)
    return target


def load(path: Path) -> Checkpoint:
    """Reads one checkpoint folder and checks all of it: versions, checksums, names, shapes, dtypes. NaN in a tensor is allowed.

    Raises:
        UserError: If anything differs from what was written.
    """
    manifest = _read_manifest(path)
    file, want = path / TENSORS, manifest["tensors"]
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {TENSORS} ({error.strerror})", value=str(file), mend=_FALL_BACK) from None
    try:
        tensors = parse_tensors(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError, AssertionError):
        _check_bytes(file, len(data), hashlib.sha256(data).hexdigest(), manifest)
        raise UserError("not a safetensors file", value=str(file), mend=_FALL_BACK) from None
    for what, names in (("lacks a tensor", want.keys() - tensors), ("has an unlisted tensor", tensors.keys() - want)):
        if names:
            raise UserError(f"{file} {what} of its manifest", value=sorted(names)[0], mend=_FALL_BACK)
    for name, tensor in tensors.items():
        if _describe(tensor) != want[name]:
            what = f"tensor {name!r} of {file} is {want[name]} in the manifest"
            raise UserError(what, value=_describe(tensor), mend=_FALL_BACK)
    _check_bytes(file, len(data), hashlib.sha256(data).hexdigest(), manifest)
    return Checkpoint(manifest["step"], tensors, manifest["meta"], path)


def load_newest(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest valid checkpoint of a folder, and one line for each newer one that was passed over, for the caller to log.

    Raises:
        UserError: If there is none, with the reasons.
    """
    skipped: list[str] = []
    for path in _newest_first(folder):
        try:
            return load(path), skipped
        except UserError as error:
            skipped.append(f"skipped checkpoint {path.name}: {error}")
    if skipped:
        raise UserError(f"no valid checkpoint: {'; '.join(skipped)}", value=str(folder), mend="train again")
    mend = "name a folder that holds step-... folders" + (" (this is a single one)" if _is_step(folder) else "")
    raise UserError("no checkpoint found", value=str(folder), mend=mend)


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Writes a file as a whole or not at all: beside its place, synced, renamed. ``write`` gets the open binary file.

    Raises:
        UserError: If the disk refuses; a file that was there before is intact then.
    """
    partial = _aside(path, "partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            _cannot_write("file", path, error)
        raise
    return path


def sync(path: Path) -> None:
    """Has the disk hold what was written to a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def parse_json(text: str | bytes) -> Any:
    """Strict JSON: no NaN, no infinity, no repeated key, no nesting beyond the interpreter's stack.

    Raises:
        ValueError: If it is anything else.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _canonical(value: JSON) -> str:
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _describe(tensor: Tensor) -> dict[str, JSON]:
    return {"dtype": _dtype(tensor), "shape": list(tensor.shape)}


def _aside(path: Path, why: str) -> Path:
    return path.with_name(f".{path.name}.{why}")


def _is_step(path: Path) -> bool:
    return (path / MANIFEST).exists()


def _cannot_write(kind: str, path: Path, error: Exception) -> NoReturn:
    mend = "free space on the disk or make the folder writable; what was there before is intact"
    raise UserError(f"cannot write {kind} ({error})", value=str(path), mend=mend) from error


def _own_storage(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Contiguous CPU tensors no two of which share memory, as safetensors demands."""
    seen: set[int] = set()
    for name, given in tensors.items():
        tensor = given.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.numel() * tensor.element_size():
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        yield name, tensor


def _write(partial: Path, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, JSON]) -> None:
    owned = dict(_own_storage(tensors))
    manifest: dict[str, JSON] = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "tensors": {name: _describe(tensor) for name, tensor in owned.items()},
        "meta": meta,
    }
    # As it will be read back: a caller's bug in meta shows before anything is written, and the checksum will agree.
    manifest = parse_json(_canonical(manifest))
    partial.mkdir()
    file = partial / TENSORS
    save_file(owned, file)
    sync(file)
    manifest |= {"bytes": file.stat().st_size, "sha256": _file_sha256(file)}
    manifest["manifest_sha256"] = _manifest_sha256(manifest)
    text = json.dumps(manifest, allow_nan=False, indent=1)
    if len(text) > _MANIFEST_LIMIT:
        raise ValueError(f"meta is {len(text)} bytes of JSON, more than the {_MANIFEST_LIMIT} that are read back")
    (partial / MANIFEST).write_text(text, encoding="ascii")
    sync(partial / MANIFEST)
    sync(partial)


def _file_sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, its own checksum and the types of its fields checked."""
    file = path / MANIFEST
    if not file.is_file():
        mend = "name one step-... folder of it" if any(_newest_first(path)) else _FALL_BACK
        raise UserError(f"not a checkpoint, it has no {MANIFEST}", value=str(path), mend=mend)
    try:
        if file.stat().st_size > _MANIFEST_LIMIT:
            raise UserError(
                f"{file} is larger than {_MANIFEST_LIMIT} bytes", value=file.stat().st_size, mend=_FALL_BACK
            )
        manifest = parse_json(file.read_bytes())
        sha256 = _manifest_sha256(manifest) if isinstance(manifest, dict) else None
    except OSError as error:
        raise UserError(f"cannot read {MANIFEST} ({error.strerror})", value=str(file), mend=_FALL_BACK) from None
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{MANIFEST} is not JSON ({error})", value=str(file), mend=_FALL_BACK) from None
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        mend = f"this version of rayl2o reads version {SCHEMA_VERSION}; use the one that wrote it"
        raise UserError(f"unknown schema_version of checkpoint {path}", value=version, mend=mend)
    for name, kind in _FIELDS.items():
        value = manifest.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f"field {name!r} of {file} must be {kind.__name__}", value=value, mend=_FALL_BACK)
    if sha256 != manifest["manifest_sha256"]:
        what = f"{file} was changed after it was written, its checksum differs"
        raise UserError(what, value=manifest["manifest_sha256"], mend=_FALL_BACK)
    return dict(manifest)


def _manifest_sha256(manifest: Mapping[str, Any]) -> str:
    body = {name: value for name, value in manifest.items() if name != "manifest_sha256"}
    return hashlib.sha256(_canonical(body).encode()).hexdigest()


def _check_bytes(file: Path, size: int, sha256: str, manifest: Mapping[str, Any]) -> None:
    if size != manifest["bytes"]:
        what = (
            f"{file} is {'truncated' if size < manifest['bytes'] else 'too long'}, {manifest['bytes']} bytes expected"
        )
        raise UserError(what, value=size, mend=_FALL_BACK)
    if sha256 != manifest["sha256"]:
        what = f"{file} is damaged, its sha256 should be {manifest['sha256']}"
        raise UserError(what, value=sha256, mend=_FALL_BACK)


def _is_whole(path: Path) -> bool:
    """Whether the checksums of a checkpoint hold, without loading its tensors."""
    try:
        manifest = _read_manifest(path)
        file = path / TENSORS
        _check_bytes(file, file.stat().st_size, _file_sha256(file), manifest)
    except (UserError, OSError):
        return False
    return True


def _newest_first(folder: Path) -> list[Path]:
    """Finished checkpoints, and those that a killed writer was about to replace (hidden; after the one that replaces it)."""
    try:
        found = [(_FOLDER.fullmatch(entry.name), entry) for entry in folder.iterdir()]
    except OSError:
        return []
    steps = [
        (int(match[1]), not entry.name.startswith("."), entry)
        for match, entry in found
        if match and entry.name.startswith(".") == bool(match[2])
    ]
    return [entry for _, _, entry in sorted(steps, reverse=True)]


def _tidy(folder: Path) -> None:
    """Ends what a killed writer began: puts back a checkpoint that lost its place, deletes everything else that is hidden."""
    for entry in sorted(folder.glob(".step-*")):
        place = entry.with_name(entry.stem.removeprefix("."))
        if entry.suffix == ".replaced" and not place.exists():
            os.rename(entry, place)
            sync(folder)
        else:
            shutil.rmtree(entry)


def _prune(folder: Path, latest: Path, keep: int) -> None:
    """Deletes all checkpoints older than the newest ``keep`` whole ones; never the one just written."""
    whole = 0
    for path in _newest_first(folder):
        if whole >= keep and path != latest:
            doomed = _aside(path, "pruned")
            os.rename(path, doomed)  # a half deleted folder must not look like a checkpoint
            shutil.rmtree(doomed)
        else:
            whole += path == latest or _is_whole(path)
