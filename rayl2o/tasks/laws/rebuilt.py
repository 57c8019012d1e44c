"""``python -m rayl2o.tasks.laws.rebuilt``: specs as JSON on stdin, fingerprints of what they build on the last line of stdout."""

from __future__ import annotations

import json
import sys

import torch

from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.laws.elsewhere import fingerprint
from rayl2o.tasks.registry import build


def main() -> None:
    """Answers ``{name: [spec, ...]}`` with ``{name: fingerprint}``, or with the error in place of a fingerprint."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    answer = {}
    for name, group in json.load(sys.stdin).items():
        try:
            answer[name] = fingerprint(build([TaskSpec.from_json(spec) for spec in group]))
        except Exception as error:
            answer[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write("\n" + json.dumps(answer))


if __name__ == "__main__":
    main()
