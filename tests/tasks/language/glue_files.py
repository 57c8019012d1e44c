"""Writes small files in GLUE's own layout, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HEADERS = {
    "CoLA": "",
    "SST-2": "sentence\tlabel",
    "MRPC": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "MNLI": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
    "\tsentence1\tsentence2\tlabel1\tgold_label",
    "QNLI": "index\tquestion\tsentence\tlabel",
    "QQP": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
}
"""As in the files of gluebenchmark.com; CoLA has none."""
ROWS = {
    "CoLA": ["gj04\t1\t\tThe sailors rode the breeze clear.", "gj04\t0\t*\tThe more does Bill smoke."],
    "SST-2": ["hide new secretions \t0", "that loves its characters \t1"],
    "MRPC": ["1\t7\t8\tHe said \"no\".\tHe said no.", "0\t9\t10\tShe left .\tHe came ."],
    "MNLI": [
        "0\t1\t1n\tfiction\t(\t(\t(\t(\tA dog ran.\tAn animal ran.\tentailment\tentailment",
        "1\t2\t2n\tfiction\t(\t(\t(\t(\tA dog ran.\tNo dog ran.\tcontradiction\tcontradiction",
    ],
    "QNLI": ["0\tWho ran?\tThe dog ran.\tentailment", "1\tWho ran?\tIt rained.\tnot_entailment"],
    "QQP": ["1\t2\t3\tWho?\tWho is it?\t1", "2\t4\t5\tA row cut short", "3\t6\t7\tWhy?\tWhat?\t0"],
}  # fmt: skip


def write_glue(
    root: Path, folder: str, rows: Sequence[str] | None = None, header: str | None = None, end: str = "\n"
) -> Path:
    """``train.tsv`` and the labelled test file of a task under ``root/glue``; returns the former."""
    place = root / "glue" / folder
    place.mkdir(parents=True)
    head = HEADERS[folder] if header is None else header
    lines = [*([head] if head else []), *(ROWS[folder] if rows is None else rows)]
    for name in ("train", "dev_matched" if folder == "MNLI" else "dev"):
        (place / f"{name}.tsv").write_bytes("".join(line + end for line in lines).encode())
    return place / "train.tsv"
