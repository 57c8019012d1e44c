"""Text as characters: what ships with Python and a user's own files, one fixed vocabulary, windows of consecutive characters."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.seeds import derive_seed
from rayl2o.tasks.datasets.base import PARTS
from rayl2o.tasks.datasets.folder import DATA_VARIABLE

VOCABULARY = "\n" + "".join(map(chr, range(32, 127)))
"""Newline and printable ASCII; a character's code is its place here."""
UNKNOWN = len(VOCABULARY)
"""The code of every other character."""
SYMBOLS = UNKNOWN + 1
"""V, the number of codes."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TEST_SHARE = 10
# The topics whose text is the same, letter for letter, in Python 3.10.13, 3.11.2, 3.11.7, 3.12.1 and 3.13.0.
_TOPICS = (
    "assert bitwise bltin-code-objects bltin-ellipsis-object bltin-null-object bltin-type-objects booleans break"
    " callable-types comparisons context-managers continue del dynamic-features exceptions global id-classes if"
    " import integers lambda pass return slicings typesfunctions typesmodules unary while with yield"
)


@dataclass(frozen=True)
class TextSource:
    """A text that needs no file of the user's.

    Attributes:
        read: Gives it.
        sha256: Hex digest of its UTF-8 form; a Python with another text is refused, for the same name must be the same task.
        summary: One line.
    """

    read: Callable[[], str]
    sha256: str
    summary: str


@dataclass(frozen=True)
class Text:
    """One part of a text; shared by everyone in the process, never written to.

    Attributes:
        codes: uint8 ``[N]``, in reading order, each below :data:`SYMBOLS`.
        sha256: Hex digest of the whole text, both parts.
    """

    codes: Tensor
    sha256: str

    def windows(self, starts: Tensor, length: int) -> Tensor:
        """The characters from each start on, int64 ``[*shape, length + 1]``; ``starts`` is int64 ``[*shape]``.

        Characters 0..length-1 are a model's inputs, 1..length what it is to predict.
        """
        ahead = torch.arange(length + 1, device=starts.device)
        return self.codes.take(starts.unsqueeze(-1) + ahead).long()


def encode(text: str) -> Tensor:
    """The codes of a text's characters, uint8 ``[len(text)]``."""
    table = np.full(128, UNKNOWN, dtype=np.uint8)
    table[[ord(character) for character in VOCABULARY]] = np.arange(UNKNOWN)
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    return torch.from_numpy(table[np.minimum(points, 127)])  # 127 is no printable character either


def require_text(name: str) -> None:
    """Checks the form of a text's name without reading anything.

    Raises:
        UserError: If it is neither a name nor an absolute path that ends in .txt.
    """
    if name.endswith(".txt"):
        if not Path(name).is_absolute():
            mend = f"give an absolute path, since workers run elsewhere, or the name NAME of ${DATA_VARIABLE}/text/NAME.txt"
            raise UserError("path of a text is relative", value=name, mend=mend)
    elif not _NAME.fullmatch(name):
        mend = f"use one of {', '.join(TEXTS)}, the name NAME of ${DATA_VARIABLE}/text/NAME.txt, or an absolute path"
        raise UserError("name of a text is bad", value=name, mend=mend)


def load_text(name: str, part: str = "train", *, device: torch.device | str = "cpu") -> Text:
    """A part of a text: the first nine tenths of its characters are ``train``, the rest ``test``.

    Args:
        name: One of :data:`TEXTS`; or NAME, for the UTF-8 file ``$RAYL2O_DATA/text/NAME.txt``; or an absolute path that ends
            in .txt. Line ends of files are read as newlines, a byte order mark is dropped.
        part: ``train`` or ``test``.
        device: Of the codes.

    Raises:
        UserError: If name or part is unknown, a file is missing or not UTF-8, or this Python's text is another.
    """
    require_text(name)
    if part not in PARTS:
        raise unknown_name("part of a text", part, PARTS)
    if name in TEXTS:
        return _built_in(name, part, str(device))
    path = _path(name)
    try:
        stat = path.stat()
    except OSError as error:
        mend = f"put a UTF-8 file there, or use one of {', '.join(TEXTS)}"
        raise UserError(f"text cannot be read ({error.strerror})", value=str(path), mend=mend) from None
    return _from_file(path, stat.st_mtime_ns, stat.st_size, part, str(device))


@lru_cache(maxsize=8)
def _built_in(name: str, part: str, device: str) -> Text:
    source = TEXTS[name]
    text = source.read()
    if _sha256(text) != source.sha256:
        mend = f"use text={next(iter(TEXTS))}, which is the same in every Python, or a file of your own"
        raise UserError(f"text {name!r} is another one in this Python", value=sys.version.split()[0], mend=mend)
    return _part(text, part, device)


@lru_cache(maxsize=8)
def _from_file(path: Path, modified: int, size: int, part: str, device: str) -> Text:  # noqa: ARG001
    """As the file was at that time: an edited file is read again."""
    try:
        return _part(path.read_text(encoding="utf-8-sig"), part, device)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: text is not UTF-8, at byte", value=error.start, mend="convert it to UTF-8") from None
    except OSError as error:
        raise UserError(f"text cannot be read ({error.strerror})", value=str(path), mend="check the file") from None


def _path(name: str) -> Path:
    if name.endswith(".txt"):
        return Path(name)
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        mend = f"set it to the folder that holds text/{name}.txt, or use one of {', '.join(TEXTS)}"
        raise UserError(f"text {name!r} is read from ${DATA_VARIABLE}, which is not set", value=root, mend=mend)
    return Path(root).expanduser().absolute() / "text" / f"{name}.txt"


def _part(text: str, part: str, device: str) -> Text:
    codes = encode(text)
    cut = len(codes) - len(codes) // _TEST_SHARE
    return Text((codes[:cut] if part == "train" else codes[cut:]).to(device), _sha256(text))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _unicode_names() -> str:
    """One name a line, in the order of a hash: in the order of code points a line gives away the next one."""
    from unicodedata import (
        ucd_3_2_0 as frozen,
    )  # Python keeps this version of the database for ever (RFC 3454 needs it)

    named = chain(range(0x20000), range(0xE0000, 0xE0080))  # what is assigned elsewhere is formulaic too
    names = (frozen.name(chr(point), "") for point in named)
    formulaic = (
        "CJK UNIFIED",
        "CJK COMPAT",
        "HANGUL SYLLABLE",
    )  # 80,000 names that are a prefix and a number or a sound
    chosen = [name for name in names if name and not name.startswith(formulaic)]
    return "\n".join(sorted(chosen, key=lambda name: derive_seed("text order", name)))


def _python_topics() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics.get(topic, "") for topic in _TOPICS.split())


TEXTS: Mapping[str, TextSource] = MappingProxyType(
    {
        "unicode-names": TextSource(
            _unicode_names,
            "28ae9dd950cd727f853682c62c531d5c792b5261a39dc56b946d1ae9a89d77fd",
            "12,886 names of characters in Unicode 3.2",
        ),
        "python-topics": TextSource(
            _python_topics,
            "bd06985e3380da2b987b2d6e0f3145e55fd1a1a8bcbe6f0bd8b6a4aed92503b3",
            "English: chapters of the language reference, from pydoc",
        ),
    }
)
"""Texts that ship with Python, by name; the first is the same in every Python."""
