"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rayl2o.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; progress and logs on stderr.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the results.", show_default=False)]
Task = Annotated[str | None, typer.Option("--task", help="A task of 'rayl2o list tasks'.", show_default=False)]
Data = Annotated[
    str | None, typer.Option("--data", help="digits (embedded) or another of 'rayl2o data list'.", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the task, such as activation=relu; repeatable.", show_default=False),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="inline (this process), local (starts Ray here) or cluster (joins one); default: as the config says.",
        show_default=False,
    ),
]
Address = Annotated[
    str | None, typer.Option("--address", help="auto or HOST:PORT of the Ray cluster to join.", show_default=False)
]
RolloutWorkers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Roll-out workers on Ray; 0 for one per free CPU.", show_default=False),
]
EngineText = Annotated[
    str,
    typer.Option(
        "--engine",
        help="One of 'rayl2o list engines', e.g. evolved or evolved:generations=20; or the best.yaml of a study.",
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that share the work.")]


def first_free(folder: Path, stem: str) -> Path:
    """``folder/stem-1``, or the next number that is not taken."""
    taken = {path.name for path in folder.glob(f"{stem}-*")}
    return folder / next(name for name in (f"{stem}-{i}" for i in range(1, len(taken) + 2)) if name not in taken)


def one_thread() -> None:
    """Pins torch to one thread and denormals to zero, as results are defined (docs/architecture.md); loads torch."""
    import torch

    torch.set_num_threads(1)
    # Converged losses have gradients in the denormal range, where arithmetic is many times slower.
    torch.set_flush_denormal(True)


def assignments(texts: Sequence[str]) -> list[tuple[str, str]]:
    """``key=value`` texts in two parts.

    Raises:
        UserError: If a text has no ``=``.
    """
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not key:
            raise UserError("a setting must read key=value", value=text, mend="e.g. activation=relu")
    return [(key, value) for key, _, value in pairs]
