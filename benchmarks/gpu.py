"""What needs a GPU: paper R's full unroll at batch 32. ``python benchmarks/gpu.py``; needs torch, numpy, scipy, scikit-learn.

Writes ``benchmarks/results/full-unroll-gpu.json`` (or under the folder that is given).
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from rayl2o.benchmark.full_unroll import full_unroll_rows


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    rows = [asdict(row) for row in full_unroll_rows()]
    machine = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
    text = json.dumps({"measured_with": machine, "rows": rows}, indent=1) + "\n"
    (folder / "full-unroll-gpu.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results")
