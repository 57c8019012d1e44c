"""The adapter of PySR without Julia: names against the installed package, definitions against our operators, and the whole chain
with a stand-in for PySR in a real process. One test runs PySR itself, where Julia is."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Operand, Variable
from rayl2o.rules.operators import OPERATORS
from rayl2o.symbolic.engines import pysr
from rayl2o.symbolic.engines.base import Budget, Data
from rayl2o.symbolic.engines.julia_operators import JULIA, PAPER_OPERATORS
from rayl2o.symbolic.engines.preset import read_preset
from rayl2o.symbolic.engines.presets import presets
from rayl2o.symbolic.engines.pysr import PySR
from rayl2o.symbolic.engines.pysr_settings import Settings, keywords

SETTINGS = {
    **{field.name: field.default for field in fields(Settings)},
    "max_complexity": 40,
    "search_s": 10.0,
    "seed": 5,
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
DATA = Data(("g0", "m"), X, X[:, 0] * X[:, 1])
BUDGET = Budget(cpu_s=10.0, max_complexity=20)


# The installed package, read and not imported


def installed_signature() -> dict[str, tuple[str, Any]]:
    """Annotation and default of each keyword of ``PySRRegressor``."""
    found = importlib.util.find_spec("pysr")
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).with_name("sr.py").read_text(encoding="utf-8"))
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "PySRRegressor")
    (init,) = (node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    pairs = [*zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)]
    pairs += zip(init.args.args[-len(init.args.defaults) :], init.args.defaults, strict=True)
    return {a.arg: (ast.unparse(a.annotation) if a.annotation else "", ast.unparse(d) if d else None) for a, d in pairs}


def test_every_keyword_exists_in_the_installed_package() -> None:
    signature = installed_signature()
    used = {*keywords(SETTINGS, "folder"), "extra_sympy_mappings"}
    assert used - set(signature) == set()
    assert len(used) > 15
    assert "'serial', 'multithreading'" in signature["parallelism"][0]
    assert "64" in signature["precision"][0]
    assert "'accuracy'" in signature["model_selection"][0]


def test_our_defaults_are_the_installed_ones() -> None:
    signature, ours = installed_signature(), keywords(SETTINGS, "folder")
    for name in ("niterations", "populations", "population_size", "ncycles_per_iteration", "parsimony",
                 "tournament_selection_n"):  # fmt: skip
        assert ast.literal_eval(signature[name][1]) == ours[name], name


def test_an_operator_that_pysr_does_not_know_has_a_definition() -> None:
    """PySR's own names, as its table of sympy forms has them (infix apart)."""
    found = importlib.util.find_spec("pysr")
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).with_name("export_sympy.py").read_text(encoding="utf-8"))
    known = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for name, operator in JULIA.items():
        assert operator.definition or name in "+-*" or operator.name in known, name
        assert not operator.definition or operator.name not in known, f"{name} would redefine PySR's own"


# The operators


def test_the_table_is_ours() -> None:
    assert {name: each.arity for name, each in JULIA.items()} == {n: o.arity for n, o in OPERATORS.items()}
    assert set(PAPER_OPERATORS) == set(OPERATORS) - {"neg", "abs", "sign"}
    assert len({each.name for each in JULIA.values()}) == len(JULIA)


JULIA_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "sign": np.sign, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "sinh": np.sinh, "asinh": np.arcsinh,
    "min": np.minimum, "max": np.maximum, "clamp": np.clip, "ifelse": np.where, "oftype": lambda like, value: value,
}  # fmt: skip


def julia_value(node: ast.expr, scope: dict[str, Any]) -> Any:
    """A Julia right-hand side that is also a Python expression."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return scope[node.id]
    if isinstance(node, ast.UnaryOp):
        return -julia_value(node.operand, scope)
    if isinstance(node, ast.Compare):
        return julia_value(node.left, scope) < julia_value(node.comparators[0], scope)
    if isinstance(node, ast.BinOp):
        a, b = julia_value(node.left, scope), julia_value(node.right, scope)
        return a * b if isinstance(node.op, ast.Mult) else a / b
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    return JULIA_FUNCTIONS[node.func.id](*(julia_value(each, scope) for each in node.args))


@pytest.mark.parametrize("name", [name for name, each in JULIA.items() if each.definition])
def test_a_definition_means_what_our_operator_means(name: str) -> None:
    sizes = np.array([0.0, 1e-30, 1e-24, 1e-9, 1e-8, 0.3, 1.0, 5.0, 27.0, 30.0, 85.0, 1e6, 1e11, 1e12, 1e14])
    points = np.concatenate([sizes, -sizes[1:]])
    arguments = (points,) if JULIA[name].arity == 1 else tuple(a.ravel() for a in np.meshgrid(points, points))
    head, _, body = str(JULIA[name].definition).partition(" = ")
    assert head == f"{JULIA[name].name}({', '.join('xy'[: JULIA[name].arity])})"
    scope = dict(zip("xy", arguments, strict=False))
    found = julia_value(ast.parse(body, mode="eval").body, scope)
    wanted = OPERATORS[name].function(*(torch.from_numpy(a) for a in arguments)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_keywords_of_both_modes() -> None:
    serial = keywords(SETTINGS, "folder")
    assert (serial["parallelism"], serial["deterministic"], serial["random_state"]) == ("serial", True, 5)
    assert serial["binary_operators"][:3] == ["+", "-", "*"]
    assert any(each.startswith("o_ssqrt(x) = ") for each in serial["unary_operators"])
    assert "erfc" in serial["unary_operators"]
    threads = keywords({**SETTINGS, "mode": "threads", "max_complexity": 3}, "folder")
    assert (threads["parallelism"], threads["deterministic"]) == ("multithreading", False)
    assert threads["random_state"] is None
    assert threads["maxsize"] == 7


# Settings


def test_presets_are_engines_and_the_two_readings_differ() -> None:
    read = {name: read_preset(name) for name in presets() if name.startswith("pysr-")}
    engines = {name.removeprefix("pysr-"): PySR(**one.settings) for name, one in read.items()}
    assert engines["paper-populations"].populations == 200
    assert engines["paper-population-size"].population_size == 200
    assert {engines[f"paper-{each}"].iterations for each in ("populations", "population-size")} == {300}
    sizes = {name: one.budget.max_complexity for name, one in read.items() if one.budget}
    assert (sizes["pysr-paper-code"], sizes["pysr-paper-code-train"]) == (200, 20)


@pytest.mark.parametrize(
    "bad",
    [
        {"iterations": 0}, {"populations": 1.5}, {"population_size": 15}, {"cycles": True}, {"threads": 0},
        {"threads": 2}, {"parsimony": -1.0}, {"parsimony": math.nan}, {"start_s": 0.0}, {"mode": "paralel"},
        {"memory_mb": -1}, {"operators": ()}, {"operators": ("run(`x`)",)}, {"operators": ("sqr",)},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_setting_is_a_clear_error(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        PySR(**bad)


# The chain, with a stand-in for the package


STAND_IN = """
import json, os, sys, time
class PySRRegressor:
    def __init__(self, **keywords): self.k = keywords
    def fit(self, x, y):
        k = self.k
        assert not {"torch", "juliacall", "ray"} & set(sys.modules), "something heavy is here"
        seen = {"shape": x.shape, "mappings": sorted(k["extra_sympy_mappings"])}
        seen["threads"] = os.environ["PYTHON_JULIACALL_THREADS"]
        seen |= {name: k[name] for name in ("maxsize", "random_state", "timeout_in_seconds")}
        open(os.environ["SEEN"], "w").write(json.dumps(seen))
        os.makedirs(os.path.join(k["output_directory"], k["run_id"]))
        path = os.path.join(k["output_directory"], k["run_id"], "hall_of_fame.csv")
        with open(path, "w") as file: file.write(os.environ["HALL"])
        exec(os.environ["THEN"])
"""
HALL = 'Complexity,Loss,Equation\n3,0.1,"x0 * x1"\n1,0.5,"x1"\n30,0.01,"cut' + '"\n'


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``pysr`` that writes the hall of fame in HALL and then runs THEN; a ``julia`` on the path."""
    (tmp_path / "pysr").mkdir()
    (tmp_path / "pysr" / "__init__.py").write_text(STAND_IN)
    (tmp_path / "sympy.py").write_text("def Function(name): return name\n")
    (tmp_path / "julia").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "julia").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
    monkeypatch.setenv("HALL", HALL)
    monkeypatch.setenv("THEN", "pass")
    return tmp_path


def test_the_chain(stand_in: Path) -> None:
    formulas = PySR(mode="threads", threads=2).fit(DATA, DATA, BUDGET, seed=1)
    assert [str(each) for each in formulas] == ["m", "g0*m"]
    assert formulas[1].operands == (Variable("g0"), Variable("m"))
    seen = json.loads((stand_in / "seen.json").read_text())
    assert seen["shape"] == [40, 2]
    assert seen["mappings"] == sorted(each.name for each in JULIA.values() if each.definition)
    assert (seen["threads"], seen["maxsize"], seen["timeout_in_seconds"]) == ("2", 20, 5.0)
    assert seen["random_state"] is None


def test_a_search_that_fails_at_the_end_keeps_what_it_found(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEN", "os.kill(os.getpid(), 9)")
    assert len(PySR().fit(DATA, DATA, BUDGET, seed=1)) == 2


def test_a_search_that_hangs_is_killed_and_keeps_what_it_found(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEN", "time.sleep(300)")
    monkeypatch.setattr(pysr, "_GRACE_S", 0.0)
    found: list[Expression] = []
    for start_s in (2.0, 8.0, 32.0):  # a busy machine may need longer to come as far as the file
        with contextlib.suppress(UserError):
            found = list(PySR(start_s=start_s).fit(DATA, DATA, Budget(cpu_s=0.1, max_complexity=2), seed=1))
            break
    assert [str(each) for each in found] == ["m"]


@pytest.mark.parametrize(
    ("hall", "then", "what"),
    [
        ("", "sys.exit('no Julia package')", "ended with status 1.*no Julia package"),
        ("nonsense\n", "pass", "ended with status 0"),
        ("Complexity,Loss,Equation\n", "pass", "no formula that we can use.*empty"),
        ("Complexity,Loss,Equation\n1,0.1,cos(x0)\n", "pass", "no formula that we can use.*cos"),
    ],
)
def test_nothing_found_is_a_clear_error(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, hall: str, then: str, what: str
) -> None:
    monkeypatch.setenv("HALL", hall)
    monkeypatch.setenv("THEN", then)
    with pytest.raises(UserError, match=what):
        PySR().fit(DATA, DATA, BUDGET, seed=1)


def test_without_julia_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIAPKG_EXE"):
        monkeypatch.delenv(name, raising=False)
    assert not pysr.available()
    with pytest.raises(UserError, match=r"needs Julia.*julialang\.org"):
        PySR().fit(DATA, DATA, BUDGET, seed=1)
    (tmp_path / "julia-1.11").write_text("#!/bin/sh\n")
    (tmp_path / "julia-1.11").chmod(0o755)
    monkeypatch.setenv("PYTHON_JULIAPKG_EXE", str(tmp_path / "julia-1.11"))
    assert pysr.julia() == str(tmp_path / "julia-1.11")
    assert "juliacall" not in sys.modules


@pytest.mark.skipif(pysr.julia() is None, reason="needs Julia")
@pytest.mark.timeout(1800)
def test_pysr_itself_finds_a_product_and_repeats_itself() -> None:
    engine = PySR(iterations=4, populations=4, operators=("+", "*", "ssqrt", "/"))
    first, second = (engine.fit(DATA, DATA, Budget(cpu_s=300.0, max_complexity=12), seed=1) for _ in range(2))
    assert first == second
    columns: dict[Operand, torch.Tensor] = {
        Variable(name): torch.from_numpy(X[:, i].copy()) for i, name in enumerate(DATA.names)
    }
    errors = [float(np.mean((each.evaluate(columns).numpy() - DATA.y) ** 2)) for each in first]
    assert min(errors) < 1e-6
