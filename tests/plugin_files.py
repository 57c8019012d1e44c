"""Installs throw-away distributions that offer rules or tasks by entry point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from rayl2o.plugins import Group, plugins

RULE = '''
from dataclasses import dataclass
from typing import ClassVar
from rayl2o.rules.classic import Classic

@dataclass(frozen=True)
class Sign(Classic):
    """Signed descent."""
    kind: ClassVar[str] = "sign"
    lr: float = 0.01

    def move(self, grad, step, buffers):
        return -self.lr * grad.sign(), ()
'''

TASK = '''
from dataclasses import dataclass
from typing import ClassVar
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.analytic.quadratic import Quadratic

@dataclass(frozen=True)
class Bowl:
    """A round bowl."""
    family: ClassVar[str] = "bowl"
    size: int = 3

    @property
    def layout(self):
        return Quadratic(self.size).layout

    def sample(self, generator):
        return TaskSpec("bowl", {"size": self.size})

    def build(self, specs, device="cpu", dtype=None):
        inner = Quadratic(self.size, 0.0, 0.0)
        return inner.build([inner.sample(__import__("torch").Generator()) for _ in specs], device, dtype)
'''


def install(folder: Path, group: Group, name: str, module: str, code: str, entries: Mapping[str, str]) -> None:
    """A distribution ``name`` in ``folder`` with one module and ``entries`` (entry point name to ``module:object``)."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{entry} = {target}\n" for entry, target in entries.items())
    (info / "entry_points.txt").write_text(f"[{group.entry_points}]\n{lines}")


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes the distributions in ``folder`` visible."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        plugins.cache_clear()
        yield
    plugins.cache_clear()
