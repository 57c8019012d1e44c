from __future__ import annotations

import pytest

from rayl2o.tasks.language.glue_grammar import _BLAME, _PRAISE, _SLOTS, GRAMMARS, write_examples

PINNED = {
    "grammar-sentiment": ("the ending is not quite awful", "", 1),
    "grammar-paraphrase": ("the doctor ran", "the doctor hurried", 1),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_parts_are_balanced_and_share_no_text(name: str) -> None:
    parts = write_examples(name)
    train, test = parts["train"], parts["test"]
    assert len(train) + len(test) == 5000
    assert 3900 < len(train) < 4100
    assert not {example[:2] for example in train} & {example[:2] for example in test}
    for part in (train, test):
        assert abs(sum(label for *_, label in part) / len(part) - 0.5) < 0.05
    assert train[0] == PINNED[name]  # figures depend on it
    assert {word for a, b, _ in train for word in f"{a} {b}".split()} == set(GRAMMARS[name].words)
    assert all(bool(b) == GRAMMARS[name].pair for _, b, _ in train)


def test_the_last_clause_of_a_review_decides() -> None:
    for text, _, label in write_examples("grammar-sentiment")["train"]:
        clauses = text.replace(" but ", " and ").split(" and ")
        praise = [(clause.split()[-1] in _PRAISE) != ("not" in clause.split()) for clause in clauses]
        assert clauses[-1].split()[-1] in _PRAISE + _BLAME
        assert praise[-1] == bool(label)
        assert len(praise) == 1 or (" but " in text) == (praise[0] != praise[1])


def test_paraphrases_mean_the_same() -> None:
    meaning = {word: (slot, i) for slot, words in enumerate(_SLOTS) for i, pair in enumerate(words) for word in pair}
    for first, second, label in write_examples("grammar-paraphrase")["test"]:
        one, other = ([meaning[word] for word in text.split()[1:]] for text in (first, second))
        assert (one == other) == bool(label)
        assert sum(a != b for a, b in zip(one, other, strict=True)) <= 1
