"""Runs a published benchmark and keeps its result: ``python benchmarks/run.py meta-gradient [segment ...]``.

Writes ``benchmarks/results/NAME.json``: the rows, and what they were measured with.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rayl2o.benchmark import BENCHMARKS
from rayl2o.cli.output import strict
from rayl2o.cluster.benchmark import BENCHMARKS as ON_RAY
from rayl2o.run import scope

RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    known = {**BENCHMARKS, **ON_RAY}
    for name in names or list(known):
        rows = [asdict(row) for row in known[name]()]
        write(name, rows)
        for row in rows:
            ratio = f"{row['ratio']:6.2f}x {row['against']}" if row["ratio"] is not None else ""
            print(f"{row['name']:<78} {row['value']:12.3f} {row['unit']:<14} {ratio}")


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Keeps a result, with what it was measured with."""
    machine = {"python": platform.python_version(), "processor": _processor(), **scope()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(strict({"measured_with": machine, "rows": rows}), indent=1) + "\n")


def _processor() -> str:
    """The processor's model name, where the system says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main(sys.argv[1:])
