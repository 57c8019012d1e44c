"""A shorter run of the example: the policy beats the tuned fixed step on tasks that neither has seen."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NUMBER = r"([-+]?\d+\.\d+)"


def test_a_policy_beats_the_best_fixed_step() -> None:
    arguments = ["--iterations", "12", "--policies", "2", "--episodes", "32"]
    command = [sys.executable, "-W", "error", str(EXAMPLES / "train_a_step_size_policy.py"), *arguments]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240, cwd=EXAMPLES.parent)
    assert out.stderr == ""
    found = re.findall(rf"^(.+?) +{NUMBER} \+- {NUMBER} +{NUMBER} \+- {NUMBER} +(\d+)%$", out.stdout, re.MULTILINE)
    rows = {name: [float(number) for number in numbers] for name, *numbers in found}
    fixed, hindsight = (next(row for name, row in rows.items() if start in name) for start in ("fixed step ", "each"))
    assert fixed[0] > 1  # the rival is a tuned one
    assert hindsight[2] >= 0
    for policy in ("policy 0", "policy 1"):
        gained, _, ahead, error, better = rows[policy]
        assert gained > fixed[0]
        assert ahead > 3 * error
        assert better > 80
