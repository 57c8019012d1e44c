"""The law that a spec and seeds make the same problem in another process: same bits, for any number of families at once."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import torch

from rayl2o.errors import UserError
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.base import TaskBatch, TaskSpec
from rayl2o.tasks.laws.drawing import evaluations

TIMEOUT_S = 300


def fingerprint(tasks: TaskBatch) -> str:
    """SHA-256 of what instances compute at a generic point: starts, losses, gradients, Hessian-vector products. Equal bits,
    equal fingerprints; torch must run on as many threads.
    """
    seeds = list(range(tasks.k))
    params = tasks.init_params(seeds)
    noise = torch.randn(*params.shape, generator=seeded("laws", "elsewhere"), dtype=torch.float64).to(params)
    found = {"init_params": params, **evaluations(tasks, seeds, params + 0.1 * noise, noise)}
    digest = hashlib.sha256(repr(tasks.layout).encode())
    for name, value in found.items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fingerprints_elsewhere(specs: Mapping[str, Sequence[TaskSpec]]) -> dict[str, str]:
    """Builds specs in one new process, from JSON, and returns their fingerprints by name, or what was raised there.

    The process finds what this one does (``sys.path``), but its hashes of text are salted otherwise.

    Raises:
        UserError: If the process fails as a whole.
    """
    asked = {name: [spec.to_json() for spec in group] for name, group in specs.items()}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "random"}
    done = subprocess.run(
        [sys.executable, "-m", "rayl2o.tasks.laws.rebuilt"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=environment,
        timeout=TIMEOUT_S,
    )
    if done.returncode != 0:
        tail = done.stderr.strip().rpartition("\n")[2]
        raise UserError("the process that rebuilds tasks failed", value=tail, mend="see its error")
    answer: dict[str, str] = json.loads(done.stdout.rpartition("\n")[2])  # a plugin may print when it is imported
    return answer
