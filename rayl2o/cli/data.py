"""``rayl2o data``: which data sets are here, whether they are sound, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import Output, one_line, output
from rayl2o.errors import UserError, unknown_name

if TYPE_CHECKING:
    from rayl2o.tasks.datasets.download import Told
    from rayl2o.tasks.datasets.survey import PartReport, Presence

_PLAIN_EVERY = 0.1
"""Share of a download between two lines where there is no terminal."""


def verb(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="list, check or prepare.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Data sets; check: all that are here.", show_default=False),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--from", help="prepare: http, https or file address of a mirror.", show_default=False),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="prepare: fetch the published files even if others are here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List data sets, check that they are sound, or download them into $RAYL2O_DATA."""
    actions = {"list": _list, "check": _check, "prepare": _prepare}
    if action not in actions:
        raise unknown_name("action of 'rayl2o data'", action, actions)
    if action != "prepare" and (base is not None or replace):
        option, value = ("--from", base) if base is not None else ("--replace", replace)
        raise UserError(f"{option} belongs to 'rayl2o data prepare'", value=value, mend="leave it out")
    if action == "list" and names:
        raise UserError("'rayl2o data list' lists them all", value=names, mend="leave out the names")
    one_thread()
    with output(as_json) as says:
        sound = actions[action](says, names or [], base, replace)
    if not sound:
        raise typer.Exit(1)


def _list(says: Output, names: Sequence[str], base: str | None, replace: bool) -> bool:  # noqa: ARG001
    from rayl2o.tasks.datasets.registry import SOURCES
    from rayl2o.tasks.datasets.survey import presence

    found = [presence(name) for name in SOURCES]
    table = Table(title="data sets")
    for column in ("name", "status", "examples", "published", "download", "where"):
        table.add_column(column, overflow="fold", justify="right" if column == "download" else "left")
    for item in found:
        where = _where(item)
        size = f"{item.download / 1e6:,.0f} MB" if item.download else ""
        table.add_row(item.name, item.status, _counts(item.examples), _counts(item.published), size, where)
    more = "also: hf:NAME (Hugging Face datasets), torchvision:NAME; 'rayl2o data prepare NAME' downloads"
    says.result({"items": [_presence(item) for item in found]}, table, more)
    return True


def _check(says: Output, names: Sequence[str], base: str | None, replace: bool) -> bool:  # noqa: ARG001
    from rayl2o.cli.progress import followed
    from rayl2o.tasks.datasets.registry import SOURCES
    from rayl2o.tasks.datasets.survey import MISSING, inspect, presence

    chosen = names or [name for name in SOURCES if presence(name).status != MISSING]
    table = Table(title="data sets, read whole")
    for column in ("name", "part", "examples", "per class", "files", "store"):
        table.add_column(column, overflow="fold")
    items: list[dict[str, Any]] = []
    for name in followed(chosen, len(chosen), "data set", str, says.err):
        try:
            parts, error = inspect(name), None
        except UserError as wrong:
            if names:
                raise
            parts, error = (), str(wrong)
            table.add_row(name, "[bold red]damaged[/]", "", "", error, "")
        for part in parts:
            table.add_row(name, part.part, f"{part.examples:,}", _per_class(part), _published(part), _stored(part))
        items.append({"name": name, "parts": [_part(part) for part in parts], "error": error})
    sound = all(item["error"] is None for item in items)
    says.result({"ok": sound, "items": items}, table)
    return sound


def _prepare(says: Output, names: Sequence[str], base: str | None, replace: bool) -> bool:
    from rayl2o.tasks.datasets.prepare import prepare

    if not names:
        raise UserError("'rayl2o data prepare' needs a name", value=None, mend="choose one of 'rayl2o data list'")
    items, lines = [], []
    with _told(says.err) as told:
        for name in names:
            done = prepare(name, base, replace=replace, told=told)
            items.append({"name": name, **vars(done)})
            did = f"{len(done.fetched)} files fetched" if done.fetched else "it was there"
            aside = f"; set aside: {', '.join(done.set_aside)}" if done.set_aside else ""
            lines.append(f"{name}: {_counts(done.examples)} in {done.folder}, {did}{aside}")
    says.result({"items": items}, *lines)
    return True


@contextmanager
def _told(console: Console) -> Iterator[Told]:
    """A bar for each file, or a line now and then where there is no terminal."""
    if not console.is_terminal:
        shares: dict[str, int] = {}

        def line(file: str, have: int, total: int) -> None:
            share = int(have / total / _PLAIN_EVERY)
            if shares.get(file) != share:
                shares[file] = share
                console.print(f"{one_line(file)}: {have:,} of {total:,} bytes", markup=False)

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def bar(file: str, have: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(one_line(file), total=total)
            bars.update(tasks[file], completed=have)

        yield bar


def _where(item: Presence) -> str:
    from rayl2o.tasks.datasets.folder import DATA_VARIABLE
    from rayl2o.tasks.datasets.survey import DAMAGED, EMBEDDED

    if item.status == EMBEDDED:
        return "with scikit-learn"
    if item.status == DAMAGED:
        return item.detail
    return str(item.folder) if item.folder is not None else f"${DATA_VARIABLE} is not set"


def _presence(item: Presence) -> dict[str, Any]:
    return {**vars(item), "examples": dict(item.examples), "published": dict(item.published)}


def _part(part: PartReport) -> dict[str, Any]:
    return {**vars(part), "files": [vars(file) for file in part.files], "stored": dict(part.stored)}


def _counts(examples: Any) -> str:
    return ", ".join(f"{count:,} {part}" for part, count in examples.items())


def _per_class(part: PartReport) -> str:
    return f"{min(part.labels):,} to {max(part.labels):,} in {len(part.labels)}"


def _published(part: PartReport) -> str:
    """Whether the files are those of the publisher."""
    words = {True: "published", False: "not the published file", None: "no checksum known"}
    return "; ".join(f"{file.file.name} {file.sha256[:12]} ({words[file.published]})" for file in part.files)


def _stored(part: PartReport) -> str:
    return ", ".join(f"{order}: {state}" for order, state in part.stored.items())
