"""The example runs as its readme says and learns the digits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_runs_and_learns() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "use_formula_in_a_torch_loop.py")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=EXAMPLES.parent)
    assert out.stderr == ""
    assert "SymbolicOptimizer (Δθ = -0.01 ema₀.₅(g̃) - 0.01 ema₀.₉₅(g̃)" in out.stdout
    rows = re.findall(r"^(.+?) +(\d\.\d{4}) +(\d\.\d{3})$", out.stdout, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["formula (text)", "formula (rule file)", "Adam, lr 0.01", "Adam, lr 0.03"]
    assert rows[0][1:] == rows[1][1:]  # text and file are the same optimizer
    assert all(float(accuracy) > 0.9 for _, _, accuracy in rows)


def test_the_readme_lists_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert all(path.name in readme for path in EXAMPLES.glob("*.py"))
