"""Runs the command line in this process and keeps what it said."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from rayl2o.cli import main


@dataclass(frozen=True)
class Said:
    """Exit code and the two channels."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout; strict."""
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1, self.out

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        data = json.loads(self.out, parse_constant=refuse)
        assert isinstance(data, dict)
        return data


def rayl2o(*args: object) -> Said:
    """``rayl2o ARGS...``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(arg) for arg in args])
    return Said(code, out.getvalue(), err.getvalue())


def refused(said: Said, *says: str) -> str:
    """The one line of a user's mistake; checks the contract of it."""
    assert said.code == 2, (said.code, said.out, said.err)
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    for text in says:
        assert text in said.err, said.err
    return said.err


TINY = (
    "task.name=quadratic",
    "task.settings={size: 4}",
    "rule.kind=rnnprop-small",
    "unroll.steps=5",
    "unroll.sampling=all",
    "curriculum.n_train=[10, 20]",
    "instances=2",
    "output.checkpoint_every=2",
)
"""Overrides of quickstart that train in a moment."""
