"""Text classification sets in the form of GLUE (Wang et al. 2018): what each asks, and a strict reader of GLUE's own files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rayl2o.errors import UserError, unknown_name
from rayl2o.tasks.datasets.folder import DATA_VARIABLE
from rayl2o.tasks.language.glue_grammar import GRAMMARS, Example, write_examples


@dataclass(frozen=True)
class GlueTask:
    """What a set asks, and where it stands in GLUE's files. Columns are named by the header, or by number where there is none.

    Attributes:
        folder: Of its files in ``$RAYL2O_DATA/glue``; empty for a set that a grammar writes.
        labels: Classes as the files write them, class 0 first.
        metric: By which GLUE scores it: ``accuracy``, ``f1`` (of class 1) or ``matthews`` (correlation).
        first, second: Columns of the texts; ``second`` is empty where there is one text.
        label: Column of the label.
        columns: How many there are where no header says so; 0 with a header.
        test: Stem of the file that is the ``test`` part: labels of GLUE's own test files are secret.
        drops_short_rows: Whether rows that end too early are left out, as everyone does with QQP, whose files have some.
    """

    folder: str
    labels: tuple[str, ...]
    metric: str
    first: str = "sentence"
    second: str = ""
    label: str = "label"
    columns: int = 0
    test: str = "dev"
    drops_short_rows: bool = False

    @property
    def pair(self) -> bool:
        """Whether an example has two texts."""
        return bool(self.second)


GLUE: Mapping[str, GlueTask] = MappingProxyType(
    {
        "cola": GlueTask("CoLA", ("0", "1"), "matthews", first="3", label="1", columns=4),
        "sst2": GlueTask("SST-2", ("0", "1"), "accuracy"),
        "mrpc": GlueTask("MRPC", ("0", "1"), "f1", "#1 String", "#2 String", "Quality"),
        "mnli": GlueTask(
            "MNLI", ("entailment", "neutral", "contradiction"), "accuracy", "sentence1", "sentence2", "gold_label",
            test="dev_matched",
        ),
        "qnli": GlueTask("QNLI", ("entailment", "not_entailment"), "accuracy", "question", "sentence"),
        "qqp": GlueTask("QQP", ("0", "1"), "f1", "question1", "question2", "is_duplicate", drops_short_rows=True),
        **{
            name: GlueTask("", ("0", "1"), "accuracy", second="second" if grammar.pair else "")
            for name, grammar in GRAMMARS.items()
        },
    }
)  # fmt: skip
"""By name."""


def glue_task(name: str) -> GlueTask:
    """What is known of a set without reading it.

    Raises:
        UserError: If there is no such set.
    """
    if name not in GLUE:
        raise unknown_name("text classification set", name, GLUE)
    return GLUE[name]


def find_glue(name: str, part: str) -> Path | None:
    """The file of a part (``train`` or ``test``) of a set; None if a grammar writes it.

    Raises:
        UserError: If the set is unknown, ``RAYL2O_DATA`` is unset, or the file is not there.
    """
    task = glue_task(name)
    if not task.folder:
        return None
    file = f"glue/{task.folder}/{'train' if part == 'train' else task.test}.tsv"
    root, instead = os.environ.get(DATA_VARIABLE), "or use data=" + " or data=".join(GRAMMARS)
    if not root:
        what = f"text classification set {name!r} is read from ${DATA_VARIABLE}, which is not set"
        raise UserError(what, value=root, mend=f"set it to the folder that holds {file}, {instead}")
    path = Path(root).expanduser().absolute() / file
    if not path.is_file():
        mend = f"unpack GLUE's {task.folder} there (the files of gluebenchmark.com), {instead}"
        raise UserError(f"file of text classification set {name!r} does not exist", value=str(path), mend=mend)
    return path


def read_glue(name: str, part: str) -> tuple[Example, ...]:
    """All examples of a part, in the order of the file.

    Raises:
        UserError: As :func:`find_glue`, or if the file is not UTF-8, lacks a column, has a row of another length, an empty text,
            an unknown label, or no rows.
    """
    path = find_glue(name, part)
    if path is None:
        return write_examples(name)[part]
    examples = tuple(_examples(glue_task(name), path))
    if not examples:
        raise UserError(f"{path}: no examples", value=0, mend="fetch the file again")
    return examples


def _examples(task: GlueTask, path: Path) -> Iterator[Example]:
    rows = _rows(path)
    if task.columns:
        header = [str(i) for i in range(task.columns)]
    else:
        _, header = next(rows, (1, []))
    wanted = [column for column in (task.first, task.second, task.label) if column]
    for column in wanted:
        if header.count(column) != 1:
            mend = f"{task.folder}'s own file has the columns {', '.join(wanted)}, separated by tabs"
            raise UserError(f"{path}: no column {column!r} in the header", value=header, mend=mend)
    first, label = header.index(task.first), header.index(task.label)
    second = header.index(task.second) if task.pair else None
    for number, row in rows:
        if len(row) < len(header) and task.drops_short_rows:
            continue
        if len(row) != len(header):
            mend = f"{len(header)} are expected, separated by tabs; fetch the file again"
            raise UserError(f"{path}: wrong number of columns in line {number}", value=len(row), mend=mend)
        texts = (row[first], "" if second is None else row[second])
        if not texts[0].strip() or (task.pair and not texts[1].strip()):
            raise UserError(f"{path}: line {number} has no text", value=row, mend="fetch the file again")
        if row[label] not in task.labels:
            mend = f"known: {', '.join(task.labels)}"
            raise UserError(f"{path}: unknown label in line {number}", value=row[label], mend=mend)
        yield (*texts, task.labels.index(row[label]))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers from 1 and columns. GLUE does not quote, and only a newline ends a line: texts hold other separators."""
    number = 1
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for line in file:
                yield number, line.rstrip("\r\n").split("\t")
                number += 1
    except UnicodeDecodeError:
        mend = "fetch the file again, or convert it to UTF-8"
        raise UserError(f"{path}: not UTF-8 near line", value=number, mend=mend) from None
    except OSError as error:
        raise UserError(f"text file is unreadable ({error.strerror})", value=str(path), mend="check the file") from None
