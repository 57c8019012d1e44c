"""One candidate in full: scores, guards, and the formula to read, to type in again, to print and to run."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from rayl2o.cli.front_document import Entry
from rayl2o.cli.front_table import loss, row, short
from rayl2o.cli.output import number, one_line
from rayl2o.optim.export import python_update
from rayl2o.symbolic.candidate import Candidate

LOOKS_AT = "R² of the clamped formula against the network"


def detail(entry: Entry) -> Group:
    """Everything that is known of a candidate, for a terminal."""
    candidate = entry.candidate
    parts: list[RenderableType] = [_head(entry), _indented(candidate.rule().pretty())]
    parts += [_section(LOOKS_AT), *_scores(candidate)]
    parts += [_section("closed loop"), *_closed_loop(candidate)]
    if candidate.tpf:
        lags = ", ".join(f"{name} {value:.2f}" for name, value in candidate.tpf.items())
        parts += [_section("TPF, steps"), _indented(lags)]
    parts += [_section("guards"), *_guards(candidate)]
    parts += [_section("exact"), _indented(str(candidate.expression))]
    parts += [_section("LaTeX"), _indented(candidate.rule().latex())]
    source = python_update(candidate.rule()).rstrip()
    shown = Syntax(source, "python", theme="ansi_dark", background_color="default", word_wrap=True)
    parts += [_section("Python (rayl2o export gives the optimizer)"), Padding.indent(shown, 2)]
    return Group(*parts)


def whole_row(entry: Entry) -> dict[str, Any]:
    """A candidate as ``--pick --json`` gives it."""
    c = entry.candidate
    return {
        **row(entry.index, c),
        "selected": entry.selected,
        "refused": [reason.to_json() for reason in c.refused],
        "r2_test": c.r2_test,
        "r2_tensors": dict(c.r2_tensors),
        "r2_runs": list(c.r2_runs),
        "clamp": c.clamp,
        "pretty": c.rule().pretty(),
        "latex": c.rule().latex(),
        "python": python_update(c.rule()),
    }


def _head(entry: Entry) -> Text:
    c = entry.candidate
    marks = [mark for mark, holds in (("selected", entry.selected), ("refused", bool(c.refused))) if holds]
    floats = "1 float" if c.buffers == 1 else f"{c.buffers} floats"
    sizes = f"{c.complexity} nodes, {floats} of state per parameter, clamp {number(c.clamp, 3)}"
    return Text(f"candidate {entry.index}: " + ", ".join([*marks, f"by {one_line(c.engine)}", sizes]), style="bold")


def _scores(c: Candidate) -> list[RenderableType]:
    named = (
        ("training", c.r2_train), ("validation", c.r2_val), ("test", c.r2_test), ("stretched", c.r2_stretched),
        ("early", c.r2_early), ("late", c.r2_late),
    )  # fmt: skip
    lines = ["   ".join(f"{name} {short(value, 3)}" for name, value in named)]
    if c.r2_tensors:
        lines.append("by tensor: " + "   ".join(f"{one_line(n)} {short(v, 3)}" for n, v in c.r2_tensors.items()))
    if c.r2_runs:
        lines.append("by run: " + "   ".join(short(value, 3) for value in c.r2_runs))
    return [_indented(line) for line in lines]


def _closed_loop(c: Candidate) -> list[RenderableType]:
    if c.closed_loop is None:
        return [_indented("not run: only some members of a front are")]
    lines = [f"mean loss {loss(c)}" if not c.diverged else f"diverged in {c.diverged} runs"]
    if c.closed_loop_runs:
        lines.append("by run: " + "   ".join(number(value) for value in c.closed_loop_runs))
    return [_indented(line) for line in lines]


def _guards(c: Candidate) -> list[RenderableType]:
    named = [("refused", reason) for reason in c.refused] + [("flagged", reason) for reason in c.flagged]
    lines = [f"{word}: {one_line(reason.name)}: {one_line(reason.detail)}" for word, reason in named]
    return [_indented(line) for line in lines or ["nothing found"]]


def _section(name: str) -> Text:
    return Text(f"\n{name}", style="bold cyan")


def _indented(text: str) -> Padding:
    return Padding.indent(Text(text, overflow="fold"), 2)
