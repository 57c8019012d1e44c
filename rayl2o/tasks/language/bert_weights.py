"""Pretrained BERT from a folder as Hugging Face lays it out: ``config.json``, ``model.safetensors``, ``vocab.txt``. No pickle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.language.bert import FIXED, BertShape
from rayl2o.tasks.language.tokens import WordPieces
from rayl2o.tasks.optional_library import import_optional

CONFIG, WEIGHTS, VOCABULARY, TOKENIZER = "config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"
_DEFAULTS: Mapping[str, Any] = MappingProxyType({**BertShape(12, 768, 12, 3072, 30522, 512, 2).config, **FIXED})
"""What ``transformers`` leaves out of a config.json."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w.-]+)?")
_HEADS = ("classifier.", "bert.pooler.")
"""Tensors that a model trained on something else need not have: they then start as without pretraining."""


@dataclass(frozen=True)
class Pretrained:
    """A folder of a pretrained model.

    Attributes:
        folder: It, with ``config.json``, ``model.safetensors`` and ``vocab.txt``.
    """

    folder: Path

    def tensors(self, shape: BertShape) -> dict[str, Tensor]:
        """Tensors by the names of ``shape.layout``, on the CPU; those of the classifier and the pooler only if it has them.

        Names of older files (``gamma``, ``beta``, no leading ``bert.``) are read, and heads for other purposes passed over.

        Raises:
            UserError: If a file is missing or damaged, or the model is not of this shape.
        """
        self._check_config(shape)
        path = self.folder / WEIGHTS
        try:
            stored = load_file(path)
        except (SafetensorError, OSError) as error:
            mend = f"put {WEIGHTS} there; weights in other formats (*.bin, *.pt) are pickle, which is never read"
            raise UserError(f"pretrained weights cannot be read ({error})", value=str(path), mend=mend) from None
        stored = {_today(name): tensor for name, tensor in stored.items()}
        found = {}
        for name, expected in zip(shape.layout.names, shape.layout.shapes, strict=True):
            if name in stored:
                if stored[name].shape != expected:
                    mend = f"it must be {list(expected)}, as the settings of the task say"
                    raise UserError(f"{path}: shape of {name}", value=list(stored[name].shape), mend=mend)
                found[name] = stored[name]
            elif not name.startswith(_HEADS):
                raise UserError(f"{path}: a tensor is missing", value=name, mend="use a pretrained BERT")
        return found

    def tokenizer(self, size: int) -> WordPieces:
        """That of the model, of ``size`` pieces at most.

        Raises:
            UserError: If ``vocab.txt`` is missing or ``tokenizer_config.json`` is damaged.
        """
        if not (self.folder / VOCABULARY).is_file():
            mend = f"put the model's {VOCABULARY} there"
            raise UserError("pretrained model has no vocabulary", value=str(self.folder / VOCABULARY), mend=mend)
        return WordPieces(self.folder / VOCABULARY, size, _lowercase(self.folder / TOKENIZER))

    def _check_config(self, shape: BertShape) -> None:
        config = {**_DEFAULTS, **_read_json(self.folder / CONFIG)}
        for key, expected in {**FIXED, **shape.config}.items():
            if config[key] != expected:
                mend = f"it must be {expected!r}, as the settings of the task say" if key in shape.config else ""
                mend = mend or f"only {expected!r} is built"
                raise UserError(f"{self.folder / CONFIG}: {key}", value=config[key], mend=mend)


def lowercases(vocabulary: Path) -> bool:
    """Whether text is to be lower-cased for a ``vocab.txt``: as a ``tokenizer_config.json`` beside it says, else it is."""
    return _lowercase(vocabulary.parent / TOKENIZER)


def find_pretrained(name: str) -> Pretrained:
    """A model by the path of its folder, or by its name on the Hugging Face hub, ``NAME`` or ``OWNER/NAME``, or ``...@REVISION``.

    From the hub come safetensors, JSON and the vocabulary only; it is asked only if there is no such folder.

    Raises:
        UserError: If there is neither, or the hub cannot be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Pretrained(folder.absolute())
    if not _HUB_NAME.fullmatch(name):
        mend = f"give a folder with {CONFIG}, {WEIGHTS} and {VOCABULARY}, or a model's name on the hub"
        raise UserError("folder of a pretrained model does not exist", value=name, mend=mend)
    return Pretrained(_download(name))


@lru_cache(maxsize=8)
def _download(name: str) -> Path:
    hub: Any = import_optional("huggingface_hub", "hf", f"pretrained model {name!r}, which is no folder here,")
    repository, _, revision = name.partition("@")
    wanted = [CONFIG, WEIGHTS, VOCABULARY, TOKENIZER]
    try:
        return Path(hub.snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # its own, those of its HTTP library, and those of the system
        mend = f"give a folder with {CONFIG}, {WEIGHTS} and {VOCABULARY}, or mend the network"
        what = f"pretrained model cannot be fetched from the hub ({type(error).__name__})"
        raise UserError(what, value=name, mend=mend) from error


def _lowercase(path: Path) -> bool:
    return bool(_read_json(path).get("do_lower_case", True)) if path.is_file() else True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON", value=str(error), mend="fetch the file again") from None
    if not isinstance(read, dict):
        raise UserError(f"{path}: not a JSON object", value=read, mend="fetch the file again")
    return read


def _today(name: str) -> str:
    """A tensor's name as ``transformers`` has it now."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name
