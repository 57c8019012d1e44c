"""Text classification by BERT on GLUE (paper S, Table 9), and small twins on sets that a grammar writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.chunked_batch import ChunkedBatch
from rayl2o.tasks.datasets.base import PARTS
from rayl2o.tasks.initial import start_rows
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.language.bert import Bert, BertShape
from rayl2o.tasks.language.bert_weights import find_pretrained, lowercases
from rayl2o.tasks.language.glue import GLUE, find_glue, glue_task, read_glue
from rayl2o.tasks.language.glue_grammar import GRAMMARS
from rayl2o.tasks.language.tokens import SPECIAL, HashedWords, ListedWords, Tokenizer, TokenSet, WordPieces, tokenize
from rayl2o.tasks.minibatch import draw_minibatch
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import only_spec

CHUNK_TOKENS = 8192
"""Tokens read at a time, over all instances (measured)."""
LARGE = 10**6
"""Coordinates from which on instances are computed one after another: weights alone fill the caches then."""


@dataclass(frozen=True)
class TextClassification:
    """Classifier of texts, or of pairs of texts, by BERT with softmax cross entropy; only its start and minibatches are random.

    The architecture is that of ``transformers`` (extra ``hf``), with attention in plain arithmetic. Without ``pretrained`` params
    start as BERT's did: N(0, 0.02^2), biases 0, scales of norms 1. Dropout, where it is on, belongs to the minibatch: its masks
    come from the minibatch's seed, so that a loss is a function of params and minibatch.

    Attributes:
        data: A set of GLUE (``cola``, ``sst2``, ``mrpc``, ``mnli``, ``qnli``, ``qqp``), read from ``$RAYL2O_DATA/glue``, or one
            that needs no files (``grammar-sentiment``, ``grammar-paraphrase``).
        layers, hidden, heads, feedforward, vocabulary, positions: As of a :class:`~rayl2o.tasks.language.bert.BertShape`.
        length: L, tokens per example; longer ones are cut, shorter ones padded.
        batch_size: B, examples per minibatch, drawn with replacement.
        dropout: Its probability at every place where BERT has it (0.1 as published); 0 is off.
        split: ``train`` or ``test`` (GLUE's dev set; matched for MNLI).
        pretrained: A folder with config.json, model.safetensors and vocab.txt, or a name on the Hugging Face hub (pin it by
            ``NAME@REVISION``); empty starts from random params.
        vocab: Path of a WordPiece vocab.txt. Empty takes that of ``pretrained``, or without it the words of the grammar, or gives
            every word of GLUE the number of a hash, which needs no file.

    Raises:
        UserError: If a name is unknown or a number is out of range.
    """

    family: ClassVar[str] = "text-classification"

    data: str = "grammar-sentiment"
    layers: int = 2
    hidden: int = 32
    heads: int = 2
    feedforward: int = 64
    vocabulary: int = 64
    positions: int = 32
    length: int = 16
    batch_size: int = 32
    dropout: float = 0.0
    split: str = "train"
    pretrained: str = ""
    vocab: str = ""

    def __post_init__(self) -> None:
        glue_task(self.data)
        require_one_of("split", self.split, PARTS)
        for name in ("layers", "hidden", "heads", "feedforward", "positions", "batch_size"):
            require_within(f"{self.family}.{name}", getattr(self, name), 1)
        require_within(f"{self.family}.length", self.length, 4, self.positions)
        if not 0 <= self.dropout < 1:
            what = f"setting {self.family}.dropout is out of range"
            raise UserError(what, value=self.dropout, mend="use a number of 0 or more and below 1")
        if self.hidden % self.heads:
            what = f"setting {self.family}.heads does not divide hidden"
            raise UserError(what, value=self.heads, mend=f"use a divisor of {self.hidden}")
        words = 1
        if self.data in GRAMMARS and not (self.pretrained or self.vocab):
            words = len(GRAMMARS[self.data].words)
        require_within(f"{self.family}.vocabulary", self.vocabulary, len(SPECIAL) + words)

    @property
    def shape(self) -> BertShape:
        """The sizes of its BERT."""
        sizes = (self.layers, self.hidden, self.heads, self.feedforward, self.vocabulary, self.positions)
        return BertShape(*sizes, classes=len(GLUE[self.data].labels))

    @property
    def layout(self) -> Layout:
        """In the order and by the names of ``BertForSequenceClassification``; needs neither the library nor data."""
        return self.shape.layout

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> ChunkedBatch:
        """K classifiers on one copy of the data; losses in nats per example.

        Minibatches are int64 ``[K, B + 1]``: row numbers, then the seed of dropout.

        Raises:
            UserError: If a spec is not of this family with these settings, ``transformers`` is missing, the data or the
                pretrained model cannot be read, or the model is of other sizes than the settings.
        """
        require_same(self, specs)
        shape, bert = self.shape, Bert(self.shape, self.dropout > 0)
        data = self.token_set().to(device)
        given = find_pretrained(self.pretrained).tensors(shape) if self.pretrained else {}
        kept = bert.dropout_shapes(self.batch_size, self.length)

        def losses(params: Tensor, batch: Tensor) -> Tensor:
            rows, seeds = batch[:, :-1], batch[:, -1].tolist() if kept else []
            masks = {name: _masks(seeds, name, size, self.dropout).to(params) for name, size in kept.items()}
            logits = bert.logits(params, data.sentences(rows, params.dtype, masks))
            return cross_entropy(logits.mT, data.labels[rows], reduction="none").mean(1)

        def start(seeds: Sequence[int]) -> Tensor:
            params = start_rows(seeds, shape.layout, shape.starts, device=device, dtype=dtype)
            for name, tensor in shape.layout.unflatten(params).items():  # views
                if name in given:
                    tensor.copy_(given[name])
            return params

        def draw(seeds: Sequence[int]) -> Tensor:
            rows = draw_minibatch(seeds, len(data.labels), self.batch_size, 4 * self.length, device).rows()
            return torch.cat([rows, torch.tensor(seeds, device=device).unsqueeze(1)], 1)

        chunk = 1 if shape.layout.size >= LARGE else max(1, CHUNK_TOKENS // (self.batch_size * self.length))
        return ChunkedBatch(shape.layout, len(specs), losses, start, draw, chunk)

    def token_set(self) -> TokenSet:
        """Its examples as tokens, on the CPU; read once per process.

        Raises:
            UserError: If the data or the vocabulary cannot be read.
        """
        return _token_set(self.data, self.split, find_glue(self.data, self.split), self.tokenizer(), self.length)

    def tokenizer(self) -> Tokenizer:
        """What cuts its texts into tokens.

        Raises:
            UserError: If the pretrained model has no vocabulary.
        """
        if self.vocab:
            file = Path(self.vocab).expanduser().absolute()
            return WordPieces(file, self.vocabulary, lowercases(file))
        if self.pretrained:
            return find_pretrained(self.pretrained).tokenizer(self.vocabulary)
        if self.data in GRAMMARS:
            return ListedWords(GRAMMARS[self.data].words)
        return HashedWords(self.vocabulary)


@lru_cache(maxsize=4)
def _token_set(name: str, part: str, file: Path | None, tokenizer: Tokenizer, length: int) -> TokenSet:  # noqa: ARG001
    """Read and cut once per process; ``file`` tells data folders apart."""
    firsts, seconds, labels = zip(*read_glue(name, part), strict=True)
    return tokenize(tokenizer, firsts, seconds, labels, length)


def _masks(seeds: Sequence[int], name: str, shape: tuple[int, ...], dropout: float) -> Tensor:
    """``[K, *shape]``: 0 with probability ``dropout``, else 1 / (1 - dropout), row k from ``seeds[k]``."""
    rows = [torch.rand(shape, generator=seeded("dropout", name, seed)) >= dropout for seed in seeds]
    return torch.stack(rows) / (1 - dropout)


def _true(data: str, summary: str) -> NamedTask:
    """BERT-base (uncased) on a set of GLUE."""
    sizes = {"layers": 12, "hidden": 768, "heads": 12, "feedforward": 3072, "vocabulary": 30522, "positions": 512}
    return NamedTask("text-classification", {"data": data, **sizes}, summary, {"length": 128}, paper="S")


def _twin(data: str, summary: str, twin_of: str) -> NamedTask:
    sizes = {"layers": 2, "hidden": 32, "heads": 2, "feedforward": 64, "vocabulary": 40, "positions": 20}
    return NamedTask(
        "text-classification", {"data": data, **sizes}, summary, {"length": 20}, paper="S", twin_of=twin_of
    )


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "bert-cola": _true("cola", "BERT-base of S on CoLA: is a sentence acceptable"),
        "bert-sst2": _true("sst2", "BERT-base of S on SST-2: is a review positive"),
        "bert-mrpc": _true("mrpc", "BERT-base of S on MRPC: do two sentences say the same"),
        "bert-mnli": _true("mnli", "BERT-base of S on MNLI: does a sentence follow from another"),
        "bert-qnli": _true("qnli", "BERT-base of S on QNLI: does a sentence answer a question"),
        "bert-qqp": _true("qqp", "BERT-base of S on QQP: do two questions ask the same"),
        "bert-small": _twin(
            "grammar-sentiment", "BERT of 2 layers of width 32 on reviews that a grammar writes", "bert-sst2"
        ),
        "bert-small-pair": _twin(
            "grammar-paraphrase", "BERT of 2 layers of width 32 on paraphrases that a grammar writes", "bert-mrpc"
        ),
    }
)
