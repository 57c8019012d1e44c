"""Writes the tables of docs/training-techniques.md and their figures from the committed results of studies.

``python scripts/write_training_page.py``; a result is ``benchmarks/results/study-NAME.json``, as ``rayl2o study NAME`` wrote it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rayl2o.study.figures import save_figures
from rayl2o.study.measured import measured
from rayl2o.study.page import with_studies
from rayl2o.study.records import read

ROOT = Path(__file__).parents[1]
PAGE, RESULTS, IMAGES = (ROOT / part for part in ("docs/training-techniques.md", "benchmarks/results", "docs/images"))


def documents(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The committed studies of training by name; those that distil have a page of their own."""
    found = (read(path) for path in sorted(folder.glob("study-*.json")))
    return {document["study"]: document for document in found if document is not None and not measured(document)}


def page() -> str:
    """The whole page as it should be."""
    return with_studies(PAGE.read_text(encoding="utf-8"), documents())


def write_figures(folder: Path = IMAGES) -> None:
    """The figures of every committed study."""
    for name, document in documents().items():
        save_figures(document, folder, f"study-{name}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    write_figures()
