from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.language import text
from rayl2o.tasks.language.text import SYMBOLS, TEXTS, UNKNOWN, VOCABULARY, Text, TextSource, encode, load_text


def decode(part: Text) -> str:
    return "".join((*VOCABULARY, "?")[code] for code in part.codes.tolist())


def test_the_vocabulary_is_fixed() -> None:
    assert SYMBOLS == 97
    assert encode(VOCABULARY).tolist() == list(range(96))
    assert encode("\t\x00\x7f\x80é€😀").tolist() == [UNKNOWN] * 7
    assert encode("").tolist() == []
    assert encode("aé\n").dtype == torch.uint8


def test_unicode_names_are_the_same_everywhere() -> None:
    train, test = load_text("unicode-names"), load_text("unicode-names", "test")
    assert len(train.codes) + len(test.codes) == 354_743
    assert len(test.codes) == 35_474
    assert train.sha256 == test.sha256 == TEXTS["unicode-names"].sha256
    assert decode(train).startswith("TIBETAN SUBJOINED LETTER DZHA\nORIYA LETTER YA\n")
    assert "LATIN SMALL LETTER A" in decode(train).split("\n")
    assert train.codes.max() < UNKNOWN
    assert train is load_text("unicode-names")


def test_python_topics_are_english() -> None:
    try:
        train = load_text("python-topics")
    except UserError as error:
        pytest.skip(str(error))
    assert decode(train).startswith('The "assert" statement\n***')
    assert decode(train).count(" the ") > 250


def test_another_text_under_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = TextSource(lambda: "something else", TEXTS["python-topics"].sha256, "")
    monkeypatch.setattr(text, "TEXTS", {**TEXTS, "other": other})
    with pytest.raises(UserError, match=r"another one in this Python: got '3\..*use text=unicode-names"):
        load_text("other")


def test_windows_are_consecutive_characters() -> None:
    part = Text(encode("abcdefgh"), "")
    found = part.windows(torch.tensor([[0, 3], [5, 1]]), 2)
    assert found.dtype == torch.int64
    assert found.shape == (2, 2, 3)
    assert ["".join(VOCABULARY[c] for c in row) for row in found.flatten(0, 1).tolist()] == ["abc", "def", "fgh", "bcd"]


def test_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    (tmp_path / "text").mkdir()
    file = tmp_path / "text" / "poem.txt"
    file.write_bytes("\ufeffOne\r\ntwo\nthrée 4567".encode())
    assert decode(load_text("poem")) == "One\ntwo\nthr?e 4"[:16] + "56"
    assert decode(load_text("poem", "test")) == "7"
    assert decode(load_text(str(file))) == decode(load_text("poem"))
    file.write_text("another text")
    os.utime(file, (1, 1))
    assert decode(load_text("poem")) == "another tex"


def test_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    with pytest.raises(UserError, match=r"'poem' is read from \$RAYL2O_DATA, which is not set.*text/poem\.txt"):
        load_text("poem")
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be read \(No such file.*text/poem\.txt.*unicode-names"):
        load_text("poem")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "poem.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"poem\.txt: text is not UTF-8, at byte: got 3"):
        load_text("poem")
    (tmp_path / "text" / "folder.txt").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load_text("folder")


@pytest.mark.parametrize("name", ["", "../poem", "a/b", "-x", "a b", "poem\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(UserError, match="name of a text is bad"):
        load_text(name)


def test_a_path_must_be_absolute_and_a_part_known() -> None:
    with pytest.raises(UserError, match="path of a text is relative"):
        load_text("poem.txt")
    with pytest.raises(UserError, match="unknown part of a text"):
        load_text("unicode-names", "tset")
