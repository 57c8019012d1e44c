"""The layering law of docs/architecture.md: imports point down only, no cycle, ray in cluster/ only, light torch.optim."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rayl2o"

# A room may import rooms of a lower rank, and itself.
RANK = {
    "errors": -1, "seeds": 0, "layout": 0, "checkpoint": 0, "plugins": 0,
    "tasks": 1, "rules": 2, "optim": 3, "unroll": 4, "trajectory": 5, "meta": 6,
    "symbolic": 7, "evaluate": 7, "analysis": 7, "envs": 7,
    "runtime": 7, "config": 8, "benchmark": 9, "folder": 9, "telemetry": 9, "follow": 10, "run": 11, "cluster": 12,
    "study": 10, "demo": 13, "cli": 14,
    "__init__": 0,
}  # fmt: skip
FORBIDDEN = {("optim", "tasks"), ("symbolic", "evaluate"), ("evaluate", "symbolic")}


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Absolute names of everything that a module imports, type-checking imports included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def _own(names: set[str]) -> set[str]:
    return {n.split(".")[1] for n in names if n.startswith("rayl2o.") and n.split(".")[1] in RANK}


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room, names = _room(path), _imports(path)
    for other in _own(names) - {room}:
        assert RANK[other] < RANK[room], f"{room} must not import {other}"
        assert (room, other) not in FORBIDDEN
    if room != "cluster":
        assert not any(n == "ray" or n.startswith("ray.") for n in names), "import ray outside cluster/"
    assert not {n.split(".")[0] for n in names} & {"pickle", "dill", "cloudpickle", "marshal", "shelve"}


def test_no_import_cycle_between_modules() -> None:
    names = {".".join(("rayl2o", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in _modules()}
    graph = {name: {n for n in _imports(path) if n in names and n != name} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_law_catches_a_breach(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import ray.util\nfrom rayl2o.meta import learner\n")
    assert _own(_imports(bad)) == {"meta"}
    assert "ray.util" in _imports(bad)


def test_torch_optim_side_is_light() -> None:
    heavy = ("ray", "pyarrow", "scipy", "sklearn", "sympy", "matplotlib", "pydantic", "pandas")
    code = f"import sys, rayl2o.optim; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "[]"
