"""The table of verbs. Importing it loads no heavy library: every verb imports its rooms when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from rayl2o import __version__
from rayl2o.cli import (
    bench,
    data,
    demo,
    distill,
    doctor,
    evaluate,
    export,
    finetune,
    import_weights,
    listing,
    regress,
    segments,
    status,
    study,
    symbols,
    train,
    tune,
)

app = typer.Typer(
    name="rayl2o",
    help="Meta-train optimizers, distil them into formulas, compare them fairly, use them in PyTorch.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_VERBS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("Start here", "doctor", doctor.verb),
    ("Start here", "demo", demo.verb),
    ("Start here", "list", listing.verb),
    ("Start here", "data", data.verb),
    ("The path", "train", train.verb),
    ("The path", "tune", tune.verb),
    ("The path", "distill", distill.verb),
    ("The path", "finetune", finetune.verb),
    ("The path", "evaluate", evaluate.verb),
    ("The path", "export", export.verb),
    ("Look closer", "status", status.verb),
    ("Look closer", "regress", regress.verb),
    ("Look closer", "symbols", symbols.verb),
    ("Look closer", "segments", segments.verb),
    ("Look closer", "study", study.verb),
    ("Look closer", "bench", bench.verb),
    ("Look closer", "import-weights", import_weights.verb),
)
for _panel, _name, _verb in _VERBS:
    app.command(_name, rich_help_panel=_panel)(_verb)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Meta-train optimizers, distil them into formulas, compare them fairly, use them in PyTorch."""
    if version:
        typer.echo(f"rayl2o {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit
