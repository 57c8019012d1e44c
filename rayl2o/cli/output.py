"""What a verb says and where: the result on stdout (one JSON object with ``--json``), everything else on stderr."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.logging import RichHandler

_PLAIN_WIDTH = 132


@dataclass(frozen=True)
class Output:
    """The two channels of a verb.

    Attributes:
        as_json: Whether stdout carries one JSON object and nothing else.
        out: Stdout, for people.
        err: Stderr: progress, logs.
    """

    as_json: bool
    out: Console
    err: Console

    def result(self, data: Mapping[str, Any], *shown: RenderableType) -> None:
        """The verb's result, once: ``data`` as strict JSON, or ``shown`` for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(strict(data), allow_nan=False, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            for item in shown:
                self.out.print(item)
            sys.stdout.flush()


@contextmanager
def output(as_json: bool) -> Iterator[Output]:
    """Channels for one verb; the package's log goes to stderr meanwhile."""
    err = _console(sys.stderr)
    logger = logging.getLogger("rayl2o")
    handler = RichHandler(console=err, show_time=False, show_path=False, markup=False, highlighter=None)
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield Output(as_json, _console(sys.stdout), err)
    finally:
        logger.removeHandler(handler)


def strict(value: Any) -> Any:
    """Plain JSON data: numbers that are not finite become null, paths text, tuples lists, keys text."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Sequence):
        return [strict(item) for item in value]
    if isinstance(value, int):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def number(value: float | None, digits: int = 4) -> str:
    """A number for a table; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def one_line(text: str) -> str:
    """Text without line breaks or control characters, so that an error stays one line whatever the input was."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


def listed(names: Iterable[str]) -> str:
    """Names for a sentence."""
    return ", ".join(sorted(names))


def _console(stream: TextIO) -> Console:
    # A pipe has no width; rich's 80 columns would break every table in two.
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(file=stream, width=_PLAIN_WIDTH if piped else None, soft_wrap=False, highlight=False)
