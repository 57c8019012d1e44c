from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.language.glue import GLUE, find_glue, glue_task, read_glue
from tests.tasks.language.glue_files import HEADERS, write_glue

READ = {
    "cola": [("The sailors rode the breeze clear.", "", 1), ("The more does Bill smoke.", "", 0)],
    "sst2": [("hide new secretions ", "", 0), ("that loves its characters ", "", 1)],
    "mrpc": [('He said "no".', "He said no.", 1), ("She left .", "He came .", 0)],
    "mnli": [("A dog ran.", "An animal ran.", 0), ("A dog ran.", "No dog ran.", 2)],
    "qnli": [("Who ran?", "The dog ran.", 0), ("Who ran?", "It rained.", 1)],
    "qqp": [("Who?", "Who is it?", 1), ("Why?", "What?", 0)],  # the row that is cut short is left out
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    return tmp_path


def test_what_each_asks() -> None:
    assert {name: (task.pair, len(task.labels), task.metric) for name, task in GLUE.items()} == {
        "cola": (False, 2, "matthews"),
        "sst2": (False, 2, "accuracy"),
        "mrpc": (True, 2, "f1"),
        "mnli": (True, 3, "accuracy"),
        "qnli": (True, 2, "accuracy"),
        "qqp": (True, 2, "f1"),
        "grammar-sentiment": (False, 2, "accuracy"),
        "grammar-paraphrase": (True, 2, "accuracy"),
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", READ)
def test_glues_own_layout(root: Path, name: str, end: str) -> None:
    write_glue(root, glue_task(name).folder, end=end)
    assert list(read_glue(name, "train")) == READ[name]
    assert list(read_glue(name, "test")) == READ[name]


def test_odd_characters_do_not_cut_lines(root: Path) -> None:
    odd = 'a\x85b\u2028c\x0bd "e'
    write_glue(root, "SST-2", [f"{odd}\t1"], header="\ufeffsentence\tlabel")
    assert read_glue("sst2", "train") == ((odd, "", 1),)


def test_a_grammar_needs_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    assert find_glue("grammar-sentiment", "train") is None
    assert len(read_glue("grammar-sentiment", "train")) > 3000


def test_missing_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = (
        r"file of text classification set 'mnli' does not exist: got .*glue/MNLI/dev_matched\.tsv.*unpack GLUE's MNLI"
    )
    with pytest.raises(UserError, match=message):
        find_glue("mnli", "test")
    monkeypatch.delenv("RAYL2O_DATA")
    with pytest.raises(UserError, match=r"\$RAYL2O_DATA, which is not set.*glue/SST-2/train\.tsv, or use data=grammar"):
        read_glue("sst2", "train")
    with pytest.raises(UserError, match="did you mean 'sst2'"):
        read_glue("sst-2", "train")


@pytest.mark.parametrize(
    ("folder", "rows", "header", "message"),
    [
        ("SST-2", ["good"], None, r"train\.tsv: wrong number of columns in line 2: got 1; 2 are expected"),
        ("SST-2", ["good\t1", "a\tb\t1"], None, "wrong number of columns in line 3: got 3"),
        ("SST-2", ["good\t2"], None, "unknown label in line 2: got '2'; known: 0, 1"),
        ("SST-2", [" \t1"], None, "line 2 has no text"),
        ("MRPC", ["1\t7\t8\tHe said.\t"], None, "line 2 has no text"),
        ("SST-2", [], None, "no examples"),
        ("SST-2", ["good\t1"], "text\tlabel", r"no column 'sentence' in the header: got \['text', 'label'\]"),
        ("SST-2", ["good\tgood\t1"], "sentence\tsentence\tlabel", "no column 'sentence' in the header"),
        ("CoLA", ["gj04\t1\tThe sailors."], None, "wrong number of columns in line 1: got 3; 4 are expected"),
        ("QQP", ["1\t2\t3\ta\tb\t1\t9"], HEADERS["QQP"], "wrong number of columns in line 2: got 7"),
        ("MNLI", ["0\t1\t1n\tf\t(\t(\t(\t(\tA.\tB.\t-\t-"], None, "unknown label in line 2: got '-'"),
    ],
)
def test_bad_files(root: Path, folder: str, rows: list[str], header: str | None, message: str) -> None:
    write_glue(root, folder, rows, header)
    name = next(name for name, task in GLUE.items() if task.folder == folder)
    with pytest.raises(UserError, match=message):
        read_glue(name, "train")


def test_files_of_another_encoding(root: Path) -> None:
    path = write_glue(root, "SST-2")
    path.write_bytes(b"sentence\tlabel\ncaf\xe9\t1\n")
    with pytest.raises(UserError, match="not UTF-8 near line"):
        read_glue("sst2", "train")
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="does not exist"):
        read_glue("sst2", "train")
