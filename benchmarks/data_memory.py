"""Memory of N processes that hold one data set, with the store and without: ``python benchmarks/data_memory.py [cifar10] [16]``.

The proportional set size counts a page that m processes map as 1/m of a page in each, so that the sum over processes is what the
machine spends. The same processes before they load any data are the base line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "data-memory.json"
_WORKER = """
import sys
import torch
from rayl2o.tasks.data import load

def memory():
    found = {}
    for line in open("/proc/self/smaps_rollup"):
        key, _, rest = line.partition(":")
        if key in ("Pss", "Private_Dirty"):
            found[key] = int(rest.split()[0]) / 1024
    return f"{found['Pss']} {found['Private_Dirty']}"

def touch(data):  # every page, as training does in time
    for rows in torch.arange(len(data.labels)).split(100):
        data.inputs[rows].sum()
    return "touched"

data = load("digits")
touch(data)
for line in sys.stdin:
    if line.strip() == "memory":
        answer = memory()
    else:
        data = load(line.strip())
        answer = touch(data)
    print(answer, flush=True)
"""


def measure(name: str, processes: int, cache: str) -> dict[str, Any]:
    """What the data add, summed over processes that all live at the same time, in MiB."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"RAYL2O_CACHE": cache, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(processes)
    ]

    def ask(line: str) -> list[str]:
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{line}\n")
            worker.stdin.flush()
        return [worker.stdout.readline() for worker in workers if worker.stdout is not None]

    def memory() -> tuple[float, float]:
        numbers = [[float(value) for value in line.split()] for line in ask("memory")]
        return sum(pss for pss, _ in numbers), sum(dirty for _, dirty in numbers)

    memory()  # once all of them have started
    before = memory()
    ask(name)
    after = memory()
    for worker in workers:
        worker.communicate()
    return {
        "processes": processes,
        "pss_mib": round(after[0] - before[0]),
        "private_dirty_mib": round(after[1] - before[1]),
        "pss_before_mib": round(before[0]),
    }


def main(name: str = "cifar10", most: str = "16") -> None:
    """Measures 1, 4 and ``most`` processes with a store that is there, and with a cache that cannot be written."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        measure(name, 1, cache)
        for processes in sorted({1, 4, int(most)}):
            for kind, folder in (("store", cache), ("memory", "/dev/null/none")):
                row = {"data": name, "kind": kind, **measure(name, processes, folder)}
                rows.append(row)
                print(row, flush=True)
        files = [path.stat().st_size for path in Path(cache).rglob("*") if path.is_file()]
    result = {"rows": rows, "store_mib": round(sum(files) / 2**20)}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
