"""Rule files: ``NAME.json``, and ``NAME.safetensors`` beside it where a rule has weights.

The JSON says what the rule is (schema version, kind, settings, model card) and holds the checksum of the tensor file. It is
written last; neither file is ever half written. Nothing is executed on reading.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from rayl2o.checkpoint import replace_file
from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.registry import SYMBOLIC, make
from rayl2o.rules.settings import settings_of

SCHEMA_VERSION = 1
JSON_LIMIT = 4 * 2**20
TENSORS_LIMIT = 2**30
CARD_FIELDS = ("tasks", "horizon", "compute", "known_failures")
"""What every model card says; None where nobody did."""

_KEYS = frozenset({"schema_version", "kind", "settings", "tensors_sha256", "card"})
_AGAIN = "export or import the rule again"


@dataclass(frozen=True)
class LoadedRule:
    """A rule file as read.

    Attributes:
        name: File name without suffix.
        rule: The rule.
        phi: Its weights; for a formula its constants.
        kind: ``rule.kind``.
        card: The model card.
    """

    name: str
    rule: Rule
    phi: Phi
    kind: str
    card: Mapping[str, Any]


def save_rule(
    path_without_suffix: str | os.PathLike[str], rule: Rule, phi: Mapping[str, Tensor], card: Mapping[str, Any]
) -> Path:
    """Writes a rule file, replacing an older one of the same name.

    Args:
        path_without_suffix: Folder and NAME; dots in NAME are kept.
        rule: Any rule with plain settings.
        phi: Its weights. For a formula its tuned constants, folded into the file, or ``{}`` for those it has.
        card: Model card, JSON data; the fields of ``CARD_FIELDS`` that are missing are written as None.

    Returns:
        Path of the JSON file.

    Raises:
        UserError: If a weight is missing, misshapen or not finite, or the disk refuses.
        ValueError, TypeError: If the card is not strict JSON (a caller's bug).
    """
    target = Path(path_without_suffix)
    card = {**dict.fromkeys(CARD_FIELDS), **card}
    if rule.kind == SYMBOLIC:
        text = _dump(_symbolic_content(rule, phi, card))
    else:
        content = {
            "schema_version": SCHEMA_VERSION, "kind": rule.kind, "settings": settings_of(rule), "tensors_sha256": None,
            "card": card,
        }  # fmt: skip
        _check_phi(rule, phi, str(target))
        if phi:
            data = dump_tensors({name: weight.detach().cpu().contiguous() for name, weight in phi.items()})
            content["tensors_sha256"] = hashlib.sha256(data).hexdigest()
        text = _dump(content)  # before anything is written: a bad card must not tear an older file
        if phi:
            replace_file(_beside(target, ".safetensors"), lambda file: file.write(data))
    return replace_file(_beside(target, ".json"), lambda file: file.write(text))


def load_rule(path: str | os.PathLike[str]) -> LoadedRule:
    """Reads a rule file by the path of either of its files and checks all of it.

    Raises:
        UserError: If a file is missing, too large, damaged (checksum), of another schema version, or not strict JSON; if the
            kind or a setting is unknown; if a weight is missing, unknown, misshapen or not finite.
    """
    given = Path(path)
    if given.suffix not in (".json", ".safetensors"):
        raise UserError("not a rule file", value=str(given), mend="give a .json or .safetensors file")
    base = given.with_suffix("")
    described, weights = _beside(base, ".json"), _beside(base, ".safetensors")
    if not described.is_file() and weights.is_file():
        mend = "published weights become a rule file by 'rayl2o import-weights'"
        raise UserError("weights without the JSON file that says what they are", value=str(weights), mend=mend)
    content = _parse(described)
    if content.get("kind") == SYMBOLIC:
        from rayl2o.rules.symbolic import SymbolicRule

        formula = SymbolicRule.from_json(content)
        return LoadedRule(base.name, formula, formula.init_phi(), SYMBOLIC, formula.card)
    _check_content(content, described)
    rule = make(content["kind"], content["settings"])
    phi = _read_tensors(weights, content["tensors_sha256"]) if content["tensors_sha256"] is not None else {}
    _check_phi(rule, phi, str(weights))
    return LoadedRule(base.name, rule, phi, rule.kind, content["card"])


def read_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file's bytes.

    Raises:
        UserError: If they are not such a file, or it is torn.
    """
    try:
        return dict(parse_tensors(data))
    except (SafetensorError, KeyError, ValueError, RuntimeError, AssertionError) as error:
        what = f"not a whole safetensors file ({type(error).__name__}: {error})"
        raise UserError(what, value=where, mend="fetch or write it again") from None


def read_bytes(path: Path, limit: int) -> bytes:
    """A file's content.

    Raises:
        UserError: If it cannot be read or is larger than ``limit`` bytes.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise UserError(
                "file too large for a rule", value=f"{path} ({size} bytes)", mend=f"the limit is {limit} bytes"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the file ({error.strerror})", value=str(path), mend="check the path") from None


def check_shapes(shapes: Mapping[str, tuple[int, ...]], phi: Mapping[str, Tensor], where: str) -> None:
    """Compares weights with the names and shapes that a rule has.

    Raises:
        UserError: If a tensor is missing, unknown, misshapen, not of floats, or not finite.
    """
    if missing := [name for name in shapes if name not in phi]:
        raise UserError(f"{where} lacks a tensor", value=missing[0], mend=_AGAIN)
    if extra := sorted(set(phi) - set(shapes)):
        raise unknown_name(f"tensor in {where}", extra[0], shapes or {"(this rule has none)"})
    for name, shape in shapes.items():
        weight = phi[name]
        if tuple(weight.shape) != shape:
            raise UserError(
                f"tensor {name!r} of {where} has the wrong shape", value=tuple(weight.shape), mend=f"it must be {shape}"
            )
        if not weight.is_floating_point():
            raise UserError(f"tensor {name!r} of {where} holds no floats", value=str(weight.dtype), mend=_AGAIN)
        if not bool(torch.isfinite(weight).all()):
            bad = int((~torch.isfinite(weight)).sum())
            raise UserError(f"tensor {name!r} of {where} is not finite", value=f"{bad} values", mend=_AGAIN)


def _check_phi(rule: Rule, phi: Mapping[str, Tensor], where: str) -> None:
    expected = rule.init_phi(torch.Generator().manual_seed(0))
    check_shapes({name: tuple(weight.shape) for name, weight in expected.items()}, phi, where)


def _symbolic_content(rule: Rule, phi: Mapping[str, Tensor], card: Mapping[str, Any]) -> dict[str, object]:
    from rayl2o.rules.symbolic import SymbolicRule

    assert isinstance(rule, SymbolicRule)
    folded = rule.with_phi(phi) if phi else rule
    return replace(folded, card={**card, **rule.card, **{k: v for k, v in card.items() if v is not None}}).to_json()


def _read_tensors(path: Path, sha256: str) -> Phi:
    data = read_bytes(path, TENSORS_LIMIT)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UserError(
            f"{path} is damaged or not the file its JSON was written for", value=f"sha256 {found}", mend=_AGAIN
        )
    return read_tensors(data, str(path))


def _check_content(content: Mapping[str, Any], path: Path) -> None:
    version = content.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        mend = f"this release reads version {SCHEMA_VERSION}; {_AGAIN}"
        raise UserError(f"schema_version of {path}", value=version, mend=mend)
    for key in content:
        if key not in _KEYS:
            raise unknown_name(f"key in {path}", key, _KEYS)
    wanted = {"kind": str, "settings": dict, "tensors_sha256": str | None, "card": dict}
    for key, kind in wanted.items():
        if key not in content or not isinstance(content[key], kind):
            raise UserError(
                f"key {key!r} of {path} is missing or of the wrong type", value=content.get(key), mend=_AGAIN
            )


def _parse(path: Path) -> dict[str, Any]:
    """A JSON object: no NaN, no key twice, no bottomless nesting."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            raise ValueError("a key occurs twice")
        return found

    try:
        content = json.loads(read_bytes(path, JSON_LIMIT).decode(), parse_constant=refuse, object_pairs_hook=once)
    except RecursionError:
        raise UserError("JSON nested too deeply", value=str(path), mend=_AGAIN) from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"not a JSON file ({error})", value=str(path), mend=_AGAIN) from None
    if not isinstance(content, dict):
        raise UserError("a rule file holds one JSON object", value=content, mend=_AGAIN)
    return content


def _dump(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _beside(base: Path, suffix: str) -> Path:
    return base.parent / (base.name + suffix)
