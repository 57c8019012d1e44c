"""Halls of fame of PySR, of today and of 2020-21, as our formulas. Text goes through the white list of ``rules/parse.py``.

Today: ``Complexity,Loss,Equation``, equations quoted, infix. In 2020-21: ``Complexity|MSE|Equation``, functions in prefix form
(``plus(x0, mult(x1, 2.0))``), ``pow(x, y)`` meaning sign(x) |x|^y. Julia's infix ``^`` is refused: at negative numbers it is not
our signed power, and its meaning changed between versions.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import column_operand
from rayl2o.rules.parse import MAX_LENGTH, parse_expression
from rayl2o.symbolic.engines.julia_operators import JULIA

MAX_ROWS = 10_000
MAX_BYTES = 50_000_000
BACKUPS = (".bak", ".bkup")
_HEADERS = (("complexity", "loss", "equation"), ("complexity", "mse", "equation"))
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eEf][+-]?\d+)?)|(?P<mark>[-+*/(),]))", re.ASCII
)
_MEND = "use numbers, columns, + - * / and functions that our operators can express"
_FORMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "plus": ("((", ") + (", "))"),
        "add": ("((", ") + (", "))"),
        "sub": ("((", ") - (", "))"),
        "mult": ("((", ") * (", "))"),
        "mul": ("((", ") * (", "))"),
        "div": ("((", ") / (", "))"),
        "inv": ("(1.0 / (", "))"),
        "pow": ("spow(", ", ", ")"),
        "pow_abs": ("spow(abs(", "), ", ")"),
        "cube": ("spow(", ", 3.0)"),
        "sqrt": ("ssqrt(", ")"),
        "sqrtm": ("ssqrt(abs(", "))"),
        "sqrt_abs": ("ssqrt(abs(", "))"),
        JULIA["/"].name: ("((", ") / (", "))"),
        **{
            julia.name: (f"{name}(", *(", ",) * (julia.arity - 1), ")")
            for name, julia in JULIA.items()
            if julia.definition and name.isidentifier()
        },
    }
)
"""What stands before, between and after the arguments of a function of theirs, written by us. ``sqrt`` is NaN below 0, ours is
not: the two agree wherever theirs is defined."""


@dataclass(frozen=True)
class Row:
    """One formula, with what the file says of it (not trusted: score it again)."""

    complexity: int
    loss: float
    expression: Expression


@dataclass(frozen=True)
class Skipped:
    """A row that could not be used: its line in the file from 1, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class HallOfFame:
    """The usable rows in the order of the file, and the others."""

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]


def numbered(names: Sequence[str]) -> dict[str, str]:
    """Columns under the names PySR gives them: ``{"x0": names[0], ...}``."""
    return {f"x{i}": name for i, name in enumerate(names)}


def read_hall_of_fame(path: Path, columns: Mapping[str, str]) -> HallOfFame:
    """The file or its backup (``.bak``, once ``.bkup``), whichever has more usable rows: a killed search may tear one.

    Raises:
        UserError: If neither is a hall of fame.
    """
    candidates = [each for suffix in ("", *BACKUPS) if (each := path.with_name(path.name + suffix)).is_file()]
    if not candidates:
        raise UserError("no hall of fame there", value=str(path), mend="give the path of a hall_of_fame.csv")
    best: HallOfFame | None = None
    fault: UserError | None = None
    for candidate in candidates:
        try:
            hall = parse_hall_of_fame(_text(candidate), columns)
        except UserError as error:
            fault = fault or error
            continue
        if best is None or len(hall.rows) > len(best.rows):
            best = hall
    if best is None:
        raise fault or UserError("not a hall of fame", value=str(path), mend="give a hall_of_fame.csv")
    return best


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError("too large for a hall of fame", value=f"{size} bytes", mend=f"at most {MAX_BYTES} bytes")
    return path.read_text(encoding="utf-8-sig", errors="replace")


def parse_hall_of_fame(text: str, columns: Mapping[str, str]) -> HallOfFame:
    """Reads the text of a hall of fame.

    Args:
        text: Header and rows, in either format.
        columns: Our name of a column by its name in the file; any other name in a formula is an error of its row.

    Raises:
        UserError: If the header is not one of a hall of fame.
    """
    lines = text.splitlines()
    separator = _separator(lines[0] if lines else "")
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        if number > MAX_ROWS + 1:
            skipped.append(Skipped(number, f"more than {MAX_ROWS} rows; the rest is left out"))
            break
        try:
            rows.append(_row(line, separator, columns))
        except UserError as error:
            skipped.append(Skipped(number, str(error)))
    return HallOfFame(tuple(rows), tuple(skipped))


def _separator(header: str) -> str:
    for separator in (",", "|"):
        if tuple(part.strip().strip('"').lower() for part in header.split(separator)) in _HEADERS:
            return separator
    raise UserError(
        "not the header of a hall of fame",
        value=header,
        mend="the first line is Complexity,Loss,Equation or Complexity|MSE|Equation",
    )


def _row(line: str, separator: str, columns: Mapping[str, str]) -> Row:
    if len(line) > MAX_LENGTH + 200:
        raise UserError("the row is too long", value=line, mend=f"use at most {MAX_LENGTH} characters")
    try:
        (parts,) = csv.reader([line], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        raise UserError("the row is cut off or badly quoted", value=line, mend="give whole rows") from None
    if len(parts) != 3:
        raise UserError("a row has three fields", value=line, mend="give complexity, loss and equation")
    complexity, loss, equation = (part.strip() for part in parts)
    if not re.fullmatch(r"[0-9]{1,6}", complexity) or int(complexity) < 1:
        raise UserError("bad complexity", value=complexity, mend="give a positive whole number")
    return Row(int(complexity), _loss(loss), parse_equation(equation, columns))


def _loss(text: str) -> float:
    try:
        value = float(re.sub(r"(?<=[0-9.])f(?=[-+]?[0-9])", "e", text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError("bad loss", value=text, mend="give a finite number")
    return value


def parse_equation(text: str, columns: Mapping[str, str]) -> Expression:
    """One equation as PySR writes it.

    Args:
        text: Infix or prefix; Julia's ``1.0f-3`` is a number.
        columns: Our name of a column by its name in the file.

    Raises:
        UserError: If it is anything but a formula over the columns and our operators.
    """
    if len(text) > MAX_LENGTH:
        raise UserError("the formula is too long", value=text, mend=f"use at most {MAX_LENGTH} characters")
    tokens = list(_tokens(text))
    if not tokens:
        raise UserError("an empty formula", value=text, mend=_MEND)
    ours = " ".join(_translated(tokens, columns))
    expression = parse_expression(ours, columns=frozenset(columns.values()))
    allowed = {column_operand(name) for name in columns.values()}
    for operand in expression.operands:
        if operand not in allowed:
            raise UserError("not a column of the table", value=str(operand), mend=f"use one of {', '.join(columns)}")
    return expression


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise UserError("not allowed in a formula", value=text[place : place + 40].strip(), mend=_MEND)
        kind = str(match.lastgroup)
        yield kind, match.group(kind)
        place = match.end()


def _translated(tokens: Sequence[tuple[str, str]], columns: Mapping[str, str]) -> Iterator[str]:
    """Our text, token by token: columns renamed, numbers as Python has them, their functions as ours. Nesting needs no stack
    of calls, only the list of open brackets."""
    opened: list[_Bracket] = []
    called = ""
    for (kind, token), (_, following) in zip(tokens, (*tokens[1:], ("", "")), strict=True):
        if kind == "name" and following == "(" and token in _FORMS:
            called = token
        elif kind == "name":
            yield token if following == "(" else _renamed(token, columns)
        elif kind == "number":
            yield token.replace("f", "e")
        elif token == "(":
            opened.append(_Bracket(called))
            yield opened[-1].form[0] if called else "("
            called = ""
        elif token == ",":
            yield opened[-1].next() if opened else ","
        elif token == ")":
            yield opened.pop().close() if opened else ")"
        else:
            yield token


def _renamed(name: str, columns: Mapping[str, str]) -> str:
    if name not in columns:  # Inf and NaN come here too
        raise unknown_name("column", name, columns)
    return columns[name]


class _Bracket:
    """An open bracket: plain, or that of one of their functions, whose arguments it counts."""

    def __init__(self, function: str) -> None:
        self.function, self.form, self._commas = function, _FORMS.get(function, ("(", ")")), 0

    def next(self) -> str:
        """What stands between two arguments."""
        if not self.function:
            return ","
        self._commas += 1
        if self._commas > len(self.form) - 2:
            raise self._wrong()
        return self.form[self._commas]

    def close(self) -> str:
        """What stands after the last argument."""
        if self.function and self._commas != len(self.form) - 2:
            raise self._wrong()
        return self.form[-1]

    def _wrong(self) -> UserError:
        arity = len(self.form) - 1
        return UserError(
            f"{self.function!r} takes {arity} argument{'s' if arity > 1 else ''}",
            value=self._commas + 1,
            mend=f"give exactly {arity}",
        )
