"""The process that runs Operon: ``python -m rayl2o.symbolic.engines.operon_process FOLDER``. Never imports torch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rayl2o.symbolic.engines.own_process import end_with_parent, limit_memory, read_job, write_whole

FRONT = "front.json"
_A = np.array([-1.7, -0.3, 0.4, 1.3])
_B = np.array([0.6, -1.1, 2.2, -0.7])
_BINARY = {
    "add": _A + _B, "sub": _A - _B, "mul": _A * _B, "div": _A / _B, "aq": _A / np.sqrt(1 + _B**2),
    "powabs": np.abs(_A) ** _B, "max": np.maximum(_A, _B), "min": np.minimum(_A, _B),
}  # fmt: skip
_UNARY = {
    "abs": np.abs(_A), "exp": np.exp(_A), "sinh": np.sinh(_A), "sqrtabs": np.sqrt(np.abs(_A)), "square": _A**2,
    "tanh": np.tanh(_A),
}  # fmt: skip
_CHUNK = 2
"""Generations between two looks at the clock, and between two writes of what was found."""


def probe(operon: Any) -> tuple[dict[int, str], dict[str, str]]:
    """What the installed Operon computes, by value: it has shipped with fmin and fmax exchanged.

    Returns:
        Our symbol by its type of node, and the name under which to ask for each symbol.
    """
    from pyoperon.sklearn import _KNOWN_SYMBOLS

    data = operon.Dataset(np.asfortranarray(np.column_stack((_A, _B))))
    a, b = (_column(operon, v.Hash) for v in sorted(data.Variables, key=lambda v: v.Index))
    table = operon.DispatchTable()
    symbols: dict[int, str] = {}
    names: dict[str, str] = {}
    for name, kind in _KNOWN_SYMBOLS.items():
        if name in ("constant", "variable"):
            continue
        node = operon.Node(kind)
        wanted, nodes = (_BINARY, [b, a, node]) if node.Arity == 2 else (_UNARY, [a, node])
        found = operon.Evaluate(table, operon.Tree(nodes).UpdateNodes(), data, operon.Range(0, len(_A)))
        for symbol, values in wanted.items():
            if np.allclose(found, values, rtol=1e-4, atol=1e-5):
                symbols[int(kind)] = symbol
                names[symbol] = name
    return symbols, names


def _column(operon: Any, label: int) -> Any:
    node = operon.Node(operon.NodeType.Variable, label)
    node.Value = 1.0
    return node


def search(x: Any, y: Any, settings: Mapping[str, Any], folder: Path) -> None:
    """Evolves in chunks and writes the best tree of each length seen so far after each of them."""
    import pyoperon
    from pyoperon.sklearn import SymbolicRegressor

    symbols, names = probe(pyoperon)
    allowed = [names[symbol] for symbol in settings["symbols"] if symbol in names]
    model = SymbolicRegressor(
        allowed_symbols=",".join([*allowed, "constant", "variable"]),
        objectives=["mse", "length"],
        population_size=settings["population"],
        pool_size=settings["population"],
        max_length=settings["max_length"],
        max_depth=settings["max_depth"],
        optimizer_iterations=settings["constant_steps"],
        max_evaluations=10**12,  # generations bound the search
        n_threads=1,
        warm_start=True,
    )
    best: dict[int, tuple[float, list[list[Any]]]] = {}
    done, longest = 0, 0.0
    while done < settings["generations"] and (not done or time.process_time() + longest <= settings["cpu_s"]):
        begun = time.process_time()
        step = min(_CHUNK, settings["generations"] - done)
        model.set_params(generations=step, random_state=settings["seed"] + done)
        model.fit(x, y)
        done += step
        columns = {label: i for i, label in enumerate(model.variables_)}
        for member in model.pareto_front_:
            length, error = int(member["length"]), float(member["mean_squared_error"])
            if np.isfinite(error) and error < best.get(length, (np.inf, []))[0]:
                best[length] = error, [_step(pyoperon, node, symbols, columns) for node in member["tree"].Nodes]
        write_whole(folder / FRONT, json.dumps({"done": done, "trees": [best[n][1] for n in sorted(best)]}))
        longest = max(longest, time.process_time() - begun)


def _step(operon: Any, node: Any, symbols: Mapping[int, str], columns: Mapping[int, int]) -> list[Any]:
    if node.IsVariable:
        return ["variable", float(node.Value), columns[node.HashValue]]
    if node.Type == operon.NodeType.Constant:
        return ["constant", float(node.Value), -1]
    return [symbols.get(int(node.Type), str(node.Name)), 0.0, -1]


def main(folder: Path) -> None:
    """Runs the job in ``folder``."""
    end_with_parent()
    x, y, settings = read_job(folder)
    limit_memory(settings["memory_mb"])
    search(x, y, settings, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
