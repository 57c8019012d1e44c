"""Distillation of real learned optimizers, rule by rule: ``python -m benchmarks.sr_l2o [--folder FOLDER]``.

What ``rayl2o bench sr-l2o`` runs, an hour on one core; each rule's rows are kept in FOLDER as they come, so that a run that is
cut short goes on. Writes ``benchmarks/results/sr-l2o.json``; ``scripts/write_l2o_page.py`` puts it into docs/distillation.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.run import write
from rayl2o.benchmark.row import Row
from rayl2o.benchmark.sr_l2o import CONFIGS, adam_rows, families_of, subject_rows
from rayl2o.benchmark.sr_rules import OWN, Subject, published, trained


def parts() -> Mapping[str, Callable[[], list[Row]]]:
    """What is to be done, by name; a rule is made when its turn comes."""
    learned = {subject.name: subject for subject in published()}
    data = sorted({"digits", *(subject.data for subject in learned.values())})
    return {
        **{name: partial(_rows, subject) for name, subject in learned.items()},
        **{name: partial(_own_rows, name, preset) for name, preset in OWN.items()},
        **{f"adam-{name}": partial(adam_rows, families_of(name), name) for name in data},
    }


def _rows(subject: Subject) -> list[Row]:
    return subject_rows(subject, families_of(subject.data), CONFIGS[subject.data])


def _own_rows(name: str, preset: str) -> list[Row]:
    return _rows(trained(name, preset))


def main() -> None:
    """Does what is not there yet, then writes all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/sr-l2o"))
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows: list[dict[str, Any]] = []
    for name, make in parts().items():
        file = folder / f"{name.replace(' ', '_')}.json"
        if not file.exists():
            file.write_text(json.dumps([asdict(row) for row in make()], indent=1))
            print(f"{name} done", flush=True)
        rows += json.loads(file.read_text())
    write("sr-l2o", rows)


if __name__ == "__main__":
    main()
