"""Small text sets in the form of GLUE's, written by a grammar: they need no files, and what is to be learnt is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import torch

from rayl2o.seeds import derive_seed, generator

Example: TypeAlias = tuple[str, str, int]
"""First text, second one (empty where there is none), class."""
_T = TypeVar("_T")
_EXAMPLES = 5000
_TEST_SHARE = 5

_TOPICS = ("film", "plot", "cast", "script", "music", "ending", "dialogue", "camera")
_PRAISE = ("good", "great", "moving", "clever", "funny", "lovely")
_BLAME = ("bad", "dull", "weak", "silly", "tedious", "awful")
_DEGREES = ("very", "rather", "quite")

_SLOTS = (
    (("boy", "lad"), ("doctor", "physician"), ("dog", "hound"), ("teacher", "tutor"), ("thief", "robber"), ("woman", "lady")),
    (("slept", "dozed"), ("ran", "hurried"), ("sang", "chanted"), ("stumbled", "tripped")),
)  # fmt: skip
"""Who, did what: in each slot meanings, each with two words for it."""


@dataclass(frozen=True)
class Grammar:
    """A set of texts as the rule that writes them.

    Attributes:
        words: Every word that it uses.
        pair: Whether an example has two texts.
        write: Draws an example.
    """

    words: tuple[str, ...]
    pair: bool
    write: Callable[[torch.Generator], Example]


@lru_cache
def write_examples(name: str) -> Mapping[str, tuple[Example, ...]]:
    """The parts ``train`` and ``test`` of a set of :data:`GRAMMARS`, about 4 : 1; an example may repeat, but only in its part."""
    rng = generator("glue grammar", name)
    parts: dict[str, list[Example]] = {"train": [], "test": []}
    for _ in range(_EXAMPLES):
        example = GRAMMARS[name].write(rng)
        parts["train" if derive_seed("glue grammar part", *example[:2]) % _TEST_SHARE else "test"].append(example)
    return {part: tuple(examples) for part, examples in parts.items()}


def _review(rng: torch.Generator) -> Example:
    """One or two clauses; the last decides: "the plot was not very good but the cast was great" is praise."""
    praise = _flip(rng)
    if _flip(rng):
        return _clause(rng, praise), "", int(praise)
    contrast = _seldom(rng)
    first = _clause(rng, praise != contrast)
    return f"{first} {'but' if contrast else 'and'} {_clause(rng, praise)}", "", int(praise)


def _clause(rng: torch.Generator, praise: bool) -> str:
    """What it says is praise or not, whether or not by negation."""
    negated = _seldom(rng)
    words = ["the", _pick(rng, _TOPICS), _pick(rng, ("is", "was"))]
    words += ["not"] * negated + [_pick(rng, _DEGREES)] * _flip(rng)
    return " ".join([*words, _pick(rng, _PRAISE if praise != negated else _BLAME)])


def _paraphrase(rng: torch.Generator) -> Example:
    """Two sentences of a noun and a verb that mean the same (class 1), or of which one differs."""
    one = [int(torch.randint(len(slot), (), generator=rng)) for slot in _SLOTS]
    other, same = list(one), _flip(rng)
    if not same:
        at = int(torch.randint(len(_SLOTS), (), generator=rng))
        others = len(_SLOTS[at]) - 1
        other[at] = (one[at] + 1 + int(torch.randint(others, (), generator=rng))) % (others + 1)
    return _sentence(rng, one), _sentence(rng, other), int(same)


def _sentence(rng: torch.Generator, meanings: Sequence[int]) -> str:
    return " ".join(["the", *(_pick(rng, slot[i]) for slot, i in zip(_SLOTS, meanings, strict=True))])


def _flip(rng: torch.Generator) -> bool:
    return bool(torch.randint(2, (), generator=rng))


def _seldom(rng: torch.Generator) -> bool:
    """Once in four times: so most words tell something by themselves, as in real reviews, and a slope leads to the rest."""
    return not int(torch.randint(4, (), generator=rng))


def _pick(rng: torch.Generator, options: Sequence[_T]) -> _T:
    return options[int(torch.randint(len(options), (), generator=rng))]


GRAMMARS: Mapping[str, Grammar] = MappingProxyType(
    {
        "grammar-sentiment": Grammar(
            ("the", "is", "was", "not", "and", "but", *_DEGREES, *_TOPICS, *_PRAISE, *_BLAME), False, _review
        ),
        "grammar-paraphrase": Grammar(
            ("the", *(word for slot in _SLOTS for words in slot for word in words)), True, _paraphrase
        ),
    }
)
"""By name: reviews as of SST-2, paraphrases as of MRPC."""
