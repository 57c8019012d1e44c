"""Operon (the optional package ``pyoperon``) as an engine: genetic programming in a process of its own, bounded by generations.

Operon lacks asinh, erfc, sign, signed root and signed power. The first four can be offered as computed columns, of the inputs
only; by default they are left out, because more columns cost more than they brought (3 small targets, 3 seeds). A signed power
is out of reach but for ``powabs`` times a column ``sign``. relu comes of ``max``. Where Operon is not finite and our operators
are, the two differ: the caller scores the formulas again.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Node, Unary, Var
from rayl2o.rules.operands import column_operand
from rayl2o.rules.operators import OPERATORS
from rayl2o.seeds import derive_seed
from rayl2o.symbolic.engines import operon_process
from rayl2o.symbolic.engines.base import Budget, Data, Floats, Pmap
from rayl2o.symbolic.engines.operon_nodes import SYMBOLS, expression_of, without_offset
from rayl2o.symbolic.engines.own_process import Ended, run, write_job

_START_S = 120.0
_WALL_PER_CPU = 10.0
"""A process that has used this many wall seconds for each CPU second it may use hangs."""
_ADDED = 5
"""Nodes for the scale, the offset, and the one leaf that a binary tree has more than functions."""


def available() -> bool:
    """Whether ``pyoperon`` is installed; it is not imported."""
    return importlib.util.find_spec("pyoperon") is not None


@dataclass(frozen=True)
class Operon:
    """Settings of a search by NSGA-II over error and length, constants by Levenberg-Marquardt.

    Attributes:
        population: Trees, and trees offered in a generation.
        generations: What bounds the search; a budget of CPU seconds ends it earlier (looked at every second generation, of
            which the first two always run), and the formulas are then no longer a function of the seed alone.
        constant_steps: Steps of the optimizer of constants for each new tree.
        max_depth: Levels of a tree.
        symbols: Functions, of :data:`~rayl2o.symbolic.engines.operon_nodes.SYMBOLS`.
        extra: Unary operators of ours offered as columns of every input, such as asinh, sign, ssqrt, erfc.
        restarts: Searches from independent seeds, spread by ``pmap``; they share the CPU seconds.
        memory_mb: Cap of each process, in megabytes; 0 for none.

    Raises:
        UserError: If a setting is out of range or unknown.
    """

    population: int = 500
    generations: int = 25
    constant_steps: int = 5
    max_depth: int = 10
    symbols: tuple[str, ...] = ("add", "sub", "mul", "div", "abs", "exp", "sinh", "sqrtabs", "square", "tanh", "max")
    extra: tuple[str, ...] = ()
    restarts: int = 1
    memory_mb: int = 4000

    name: ClassVar[str] = "operon"

    def __post_init__(self) -> None:
        for setting, least in (("population", 2), ("generations", 1), ("constant_steps", 0), ("max_depth", 2),
                               ("restarts", 1), ("memory_mb", 0)):  # fmt: skip
            value = getattr(self, setting)
            if type(value) is not int or value < least:
                raise UserError(f"bad {setting} of operon", value=value, mend=f"use a whole number from {least}")
        for symbol in self.symbols:
            if symbol not in SYMBOLS:
                raise unknown_name("symbol of operon", symbol, SYMBOLS)
        for operator in self.extra:
            if operator not in OPERATORS or OPERATORS[operator].arity != 1:
                raise unknown_name("unary operator", operator, [n for n, o in OPERATORS.items() if o.arity == 1])

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        """The best formula of each length met, with and without the offset Operon adds (see :class:`Engine`).

        Raises:
            UserError: If Operon is not installed, or gave nothing.
        """
        del val  # scored by the caller
        if not available():
            raise UserError(
                "the engine operon is not installed", value=self.name, mend="run: pip install 'rayl2o[operon]'"
            )
        jobs = [_Job(self, train, budget, derive_seed("operon", seed, restart)) for restart in range(self.restarts)]
        found = {expression for part in pmap(_search, jobs) for expression in part}
        if not found:
            mend = "give a larger max_complexity or more CPU seconds"
            raise UserError("operon found no formula that we can use", value=budget.max_complexity, mend=mend)
        return sorted(found, key=lambda expression: (expression.complexity, str(expression)))


@dataclass(frozen=True)
class _Job:
    engine: Operon
    train: Data
    budget: Budget
    seed: int


def _search(job: _Job) -> list[Expression]:
    cpu_s = job.budget.cpu_s / job.engine.restarts
    settings: dict[str, object] = {
        **asdict(job.engine),
        "max_length": max(3, (job.budget.max_complexity - _ADDED) // 2),  # a leaf of Operon is up to 3 nodes of ours
        "cpu_s": cpu_s,
        "seed": job.seed,
    }
    with tempfile.TemporaryDirectory(prefix="rayl2o-operon-") as name:
        folder = Path(name)
        write_job(folder, _with_extra(job.train.x, job.engine.extra), job.train.y, settings)
        ended = run(("-m", operon_process.__name__, str(folder)), folder, _START_S + _WALL_PER_CPU * cpu_s)
        trees = _read(folder / operon_process.FRONT, ended)
    return _formulas(trees, _leaves(job.train.names, job.engine.extra), job.budget.max_complexity)


def _read(path: Path, ended: Ended) -> list[Any]:
    """What a search had found when it ended, however it ended."""
    if not path.is_file():
        what = "operon found nothing in its time" if ended.timed_out else f"operon ended with status {ended.code}"
        raise UserError(what, value=ended.last, mend="give it more CPU seconds, more memory_mb or fewer rows")
    trees: list[Any] = json.loads(path.read_text())["trees"]
    return trees


def _formulas(trees: Sequence[Any], leaves: Sequence[Node], max_complexity: int) -> list[Expression]:
    formulas: list[Expression] = []
    for tree in trees:
        try:
            expression = expression_of([(str(symbol), value, column) for symbol, value, column in tree], leaves)
        except UserError:  # a constant beyond our limits, a size beyond them: no candidate
            continue
        plain = without_offset(expression)
        formulas += [each for each in (expression, plain) if each is not None and each.complexity <= max_complexity]
    return formulas


def _with_extra(x: Floats, operators: Sequence[str]) -> Floats:
    """Columns ``[R, P (1 + E)]``: the inputs, then every operator's value of all of them."""
    columns = torch.from_numpy(np.ascontiguousarray(x))
    return torch.cat([columns, *(OPERATORS[name].function(columns) for name in operators)], dim=1).numpy()


def _leaves(names: Sequence[str], operators: Sequence[str]) -> list[Node]:
    leaves: list[Node] = [Var(column_operand(name)) for name in names]
    return leaves + [Unary(operator, leaf) for operator in operators for leaf in leaves]
