"""Texts as token numbers for BERT: [CLS] a [SEP], or [CLS] a [SEP] b [SEP], cut to a length and padded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.seeds import derive_seed
from rayl2o.tasks.optional_library import import_optional

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
"""The first tokens of a vocabulary of ours; in a vocabulary from a file they stand where they stand."""
_WORDS = re.compile(r"\w+|[^\w\s]")


class Tokenizer(Protocol):
    """Cuts texts into tokens; hashable."""

    @property
    def special(self) -> tuple[int, int, int]:
        """The numbers of [PAD], [CLS] and [SEP]."""

    def cut(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without special ones."""

    def __hash__(self) -> int:
        """Equal tokenizers cut alike: what they cut is kept by them."""


@dataclass(frozen=True)
class ListedWords:
    """Words of a closed list, separated by spaces."""

    words: tuple[str, ...]

    @property
    def special(self) -> tuple[int, int, int]:
        """As in :data:`SPECIAL`."""
        return 0, 2, 3

    def cut(self, texts: Sequence[str]) -> list[list[int]]:
        """A number for each word; that of [UNK] for one that is not in the list."""
        numbers = {word: len(SPECIAL) + i for i, word in enumerate(self.words)}
        return [[numbers.get(word, 1) for word in text.split()] for text in texts]


@dataclass(frozen=True)
class HashedWords:
    """Any words and signs in lower case, each with the number that a hash gives it: a vocabulary that needs no file.

    Attributes:
        size: Numbers in all; two words may share one.
    """

    size: int

    @property
    def special(self) -> tuple[int, int, int]:
        """As in :data:`SPECIAL`."""
        return 0, 2, 3

    def cut(self, texts: Sequence[str]) -> list[list[int]]:
        """A number for each word and sign."""
        known: dict[str, int] = {}
        found = []
        for text in texts:
            words = _WORDS.findall(text.lower())
            for word in words:
                if word not in known:
                    known[word] = len(SPECIAL) + derive_seed("word", word) % (self.size - len(SPECIAL))
            found.append([known[word] for word in words])
        return found


@dataclass(frozen=True)
class WordPieces:
    """BERT's own tokens, by the library ``tokenizers``: basic cleaning, then the longest matching pieces.

    Attributes:
        file: ``vocab.txt``, one piece a line.
        size: Pieces that it must have, or fewer.
        lowercase: Whether text is lower-cased and stripped of accents first ("uncased").

    Raises:
        UserError: When used: if the file cannot be read, repeats a piece, has too many, or lacks one of :data:`SPECIAL`.
    """

    file: Path
    size: int
    lowercase: bool

    @property
    def special(self) -> tuple[int, int, int]:
        """As the file numbers them."""
        return self._pieces["[PAD]"], self._pieces["[CLS]"], self._pieces["[SEP]"]

    def cut(self, texts: Sequence[str]) -> list[list[int]]:
        """The pieces of each text."""
        make: Any = import_optional("tokenizers.implementations", "hf", "WordPiece tokens").BertWordPieceTokenizer
        cutter = make(self._pieces, lowercase=self.lowercase)
        return [encoded.ids for encoded in cutter.encode_batch(list(texts), add_special_tokens=False)]

    @cached_property
    def _pieces(self) -> dict[str, int]:
        try:
            lines = self.file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.file}: not UTF-8, at byte", value=error.start, mend="fetch it again") from None
        except OSError as error:
            what = f"vocabulary cannot be read ({error.strerror})"
            raise UserError(what, value=str(self.file), mend="put the model's vocab.txt there") from None
        pieces = {line.rstrip("\r"): number for number, line in enumerate(lines)}
        if len(pieces) < len(lines):
            mend = "each piece must stand there once"
            raise UserError(f"{self.file}: pieces are repeated, lines", value=len(lines) - len(pieces), mend=mend)
        if len(pieces) > self.size:
            mend = f"set vocabulary to {len(pieces)}, or use the model's own vocab.txt"
            raise UserError(f"{self.file}: more pieces than the model has vectors", value=len(pieces), mend=mend)
        for piece in SPECIAL:
            if piece not in pieces:
                raise UserError(f"{self.file}: a piece is missing", value=piece, mend="use the model's own vocab.txt")
        return pieces


@dataclass(frozen=True, eq=False)
class Sentences:
    """Minibatches of K instances.

    Attributes:
        tokens: int64 ``[K, B, L]``.
        types: int64 ``[K, B, L]``, 1 in a second text.
        unseen: ``[K, B, 1, 1, L]``, added to the attention scores: 0, or at padding the lowest number of the dtype of params.
        kept: Per dropout, what its input ``[K, ...]`` is multiplied with; empty without dropout.
    """

    tokens: Tensor
    types: Tensor
    unseen: Tensor
    kept: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class TokenSet:
    """Examples as tokens; shared by everyone in the process, never written to.

    Attributes:
        tokens: int32 ``[N, L]``, padded.
        lengths: int64 ``[N]``, tokens that are not padding.
        seconds: int64 ``[N]``, where the second text begins; the length where there is none.
        labels: int64 ``[N]``.
    """

    tokens: Tensor
    lengths: Tensor
    seconds: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> TokenSet:
        """The same on a device."""
        return TokenSet(*(part.to(device) for part in (self.tokens, self.lengths, self.seconds, self.labels)))

    def sentences(self, rows: Tensor, dtype: torch.dtype, kept: Mapping[str, Tensor] | None = None) -> Sentences:
        """Minibatches of K instances.

        Args:
            rows: Of the examples, int64 ``[K, B]``.
            dtype: Of params.
            kept: Masks of dropout.
        """
        tokens = self.tokens[rows].long()
        places = torch.arange(tokens.shape[2], device=rows.device)
        present = places < self.lengths[rows].unsqueeze(2)
        types = present & (places >= self.seconds[rows].unsqueeze(2))
        unseen = torch.zeros(present.shape, dtype=dtype, device=rows.device)
        unseen.masked_fill_(~present, torch.finfo(dtype).min)
        return Sentences(tokens, types.long(), unseen[:, :, None, None], kept or {})


def tokenize(
    tokenizer: Tokenizer, firsts: Sequence[str], seconds: Sequence[str], labels: Sequence[int], length: int
) -> TokenSet:
    """Examples as tokens of one length L. What is too long loses tokens from the end of its longer text (BERT's code).

    Args:
        tokenizer: Cuts texts.
        firsts: N texts.
        seconds: N texts, each empty if there is none.
        labels: N classes.
        length: L, 4 or more: special tokens, and one of each text.
    """
    pad, cls, sep = tokenizer.special
    tokens = torch.full((len(firsts), length), pad, dtype=torch.int32)
    lengths, starts = [], []
    for row, a, b in zip(tokens, tokenizer.cut(firsts), tokenizer.cut(seconds), strict=True):
        room = length - (3 if b else 2)
        while len(a) + len(b) > room:
            (a if len(a) > len(b) else b).pop()
        line = [cls, *a, sep, *b, *([sep] if b else [])]
        row[: len(line)] = torch.tensor(line, dtype=torch.int32)
        lengths.append(len(line))
        starts.append(len(a) + 2)
    return TokenSet(tokens, *(torch.tensor(part) for part in (lengths, starts, list(labels))))
