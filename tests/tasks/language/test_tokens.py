from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.language.tokens import HashedWords, ListedWords, WordPieces, tokenize

PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "play", "##ing", "##ed", "cafe", ",", "!"]


def vocabulary(folder: Path, pieces: list[str] = PIECES) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return path


def test_listed_words() -> None:
    words = ListedWords(("good", "bad"))
    assert words.cut(["good bad good", "", "ugly bad"]) == [[4, 5, 4], [], [1, 5]]


def test_hashed_words() -> None:
    words = HashedWords(1000)
    one, two, three = words.cut(["It's good!", "it ' s  GOOD !", ""])
    assert one == two
    assert three == []
    assert len(one) == 5
    assert all(4 <= number < 1000 for number in one)
    assert words.cut(["good"]) == [[113]]  # the same in every process
    assert {number for line in HashedWords(6).cut(["a b c d e f g h"]) for number in line} == {4, 5}


def test_word_pieces_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    path = vocabulary(tmp_path)
    ours = WordPieces(path, 20, lowercase=True)
    theirs = transformers.BertTokenizer(vocab=str(path), do_lower_case=True)
    texts = ["The PLAYING, played!", "Café the", "unknown playx", "!!!", ""]
    assert ours.cut(texts) == [theirs.encode(text, add_special_tokens=False) for text in texts]
    assert ours.cut(["The playing, Café!"]) == [[6, 7, 8, 11, 10, 12]]
    assert WordPieces(path, 20, lowercase=False).cut(["The playing"]) == [[2, 7, 8]]
    assert ours.special == (0, 3, 4)


def test_examples_are_laid_out_as_bert_has_them() -> None:
    words = ListedWords(tuple("abcdefgh"))
    single = tokenize(words, ["a b", "a b c d e f g h", ""], ["", "", ""], [1, 0, 1], 6)
    assert single.tokens.dtype == torch.int32
    assert single.tokens.tolist() == [[2, 4, 5, 3, 0, 0], [2, 4, 5, 6, 7, 3], [2, 3, 0, 0, 0, 0]]
    assert single.lengths.tolist() == [4, 6, 2]
    assert single.labels.tolist() == [1, 0, 1]
    pair = tokenize(words, ["a", "a b c d", "a b c"], ["b c", "e f g", "d e f g h"], [0, 0, 0], 8)
    assert pair.tokens.tolist() == [
        [2, 4, 3, 5, 6, 3, 0, 0],
        [2, 4, 5, 6, 3, 8, 9, 3],  # longest first, the second of equals
        [2, 4, 5, 6, 3, 7, 8, 3],
    ]
    sentences = pair.sentences(torch.tensor([[0], [2]]), torch.float64)
    assert sentences.tokens.shape == (2, 1, 8)
    assert sentences.types.tolist() == [[[0, 0, 0, 1, 1, 1, 0, 0]], [[0, 0, 0, 0, 0, 1, 1, 1]]]
    assert sentences.unseen.shape == (2, 1, 1, 1, 8)
    assert (sentences.unseen[0] == torch.finfo(torch.float64).min).flatten().tolist() == [False] * 6 + [True] * 2
    assert not sentences.unseen[1].any()
    assert not single.sentences(torch.tensor([[0, 1, 2]]), torch.float32).types.any()


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([*PIECES, "the"], "pieces are repeated, lines: got 1"),
        (PIECES[1:], r"a piece is missing: got '\[PAD\]'"),
        ([*PIECES, *map(str, range(8))], "more pieces than the model has vectors: got 21; set vocabulary to 21"),
    ],
)
def test_bad_vocabularies(tmp_path: Path, pieces: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _ = WordPieces(vocabulary(tmp_path, pieces), 20, True).special


def test_unreadable_vocabularies(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary cannot be read \(No such file"):
        _ = WordPieces(tmp_path / "vocab.txt", 20, True).special
    (tmp_path / "vocab.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match="not UTF-8, at byte: got 0"):
        _ = WordPieces(tmp_path / "vocab.txt", 20, True).special
