"""``rayl2o symbols``: browses the front of a distillation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import Output, output
from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.cli.front_document import Entry, FrontDocument


def verb(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that 'rayl2o distill' wrote.")],
    sort: Annotated[str, typer.Option("--sort", help="Order: nodes, r2, loss or buffers.")] = "nodes",
    engine: Annotated[
        str | None, typer.Option("--engine", help="Only the formulas that this engine found.", show_default=False)
    ] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Also those that the guards refused, with reasons.")
    ] = False,
    pick: Annotated[
        int | None, typer.Option("--pick", help="Show one candidate in full, by its number.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --pick: save it as a rule file.", show_default=False)
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the page of figures to this file.", show_default=False)
    ] = None,
    browse: Annotated[bool, typer.Option("--browse", help="Move about the front with keys (in a terminal).")] = False,
    as_json: Json = False,
) -> None:
    """Browse the formulas of a distillation: complexity, fit, loss in closed loop, and what the guards refused."""
    if out is not None and pick is None:
        raise UserError("--out saves one candidate", value=str(out), mend="say which with --pick")
    if browse and (as_json or not (sys.stdin.isatty() and sys.stdout.isatty())):
        raise UserError("--browse needs a terminal", value="no terminal", mend="leave it out, or use --pick")
    one_thread()
    from rayl2o.cli.front_document import listed, read_front

    with output(as_json) as says:
        document = read_front(folder)
        entries = listed(document, sort, engine, refused)
        if browse:
            _browse(document, sort, engine, refused, folder, says)
            return
        page = None if report is None else _report(document, report, folder)
        if pick is not None:
            _show(document, pick, out, page, says)
            return
        _list(document, entries, page, says)


def _list(document: FrontDocument, entries: list[Entry], page: str | None, says: Output) -> None:
    from rich.text import Text

    from rayl2o.cli.front_table import FrontTable, columns_table, row

    left_out = [entry for entry in document.entries if entry.candidate.refused]
    listed_out = [entry for entry in entries if entry.candidate.refused]
    result: dict[str, Any] = {
        "front": [{**row(e.index, e.candidate), "selected": e.selected} for e in entries if not e.candidate.refused],
        "refused": [
            {
                "index": entry.index,
                "formula": str(entry.candidate.expression),
                "reasons": [reason.to_json() for reason in entry.candidate.refused],
            }
            for entry in left_out
        ],
        "report": page,
    }
    hints = [] if page is None else [f"report: {page}"]
    if left_out and not listed_out:
        hints.append(f"{len(left_out)} more were refused or no better than a simpler one: --refused shows why")
    hints.append("--pick N shows one in full, --browse moves about")
    columns = [columns_table(document.columns)] if document.columns else []
    table = FrontTable(entries, "front: complexity against held-out rows, judged in closed loop")
    says.result(result, table, *columns, *(Text(hint) for hint in hints))


def _show(document: FrontDocument, pick: int, out: Path | None, page: str | None, says: Output) -> None:
    from rich.text import Text

    from rayl2o.cli.candidate_detail import detail, whole_row

    entries = document.entries
    if not 0 <= pick < len(entries):
        raise UserError("no such candidate", value=pick, mend=f"give a number from 0 to {len(entries) - 1}")
    entry = entries[pick]
    path = None if out is None else save(entry, document, out)
    written = [f"saved as {path}"] * (path is not None) + [f"report: {page}"] * (page is not None)
    says.result({**whole_row(entry), "path": path, "report": page}, detail(entry), *(Text(line) for line in written))


def _browse(document: FrontDocument, sort: str, engine: str | None, refused: bool, folder: Path, says: Output) -> None:
    import click

    from rayl2o.cli.front_browser import Browsing, browse

    place = folder if folder.is_dir() else folder.parent

    def keep(entry: Entry) -> str:
        path = place / f"candidate-{entry.index}.json"
        if path.exists():
            return f"{path} is there already"
        try:
            return f"saved as {save(entry, document, path)}"
        except UserError as error:
            return str(error)  # the reader goes on

    browse(Browsing(document, engine, sort, refused), says.out, click.getchar, keep)


def save(entry: Entry, document: FrontDocument, out: Path) -> str:
    """Writes a candidate as a rule file; its card says where it comes from, and why it was refused if it was.

    Raises:
        UserError: If the disk refuses.
    """
    from rayl2o.rules.files import save_rule

    candidate = entry.candidate
    failures = [reason.detail for reason in (*candidate.refused, *candidate.flagged)]
    card = {
        **document.card,
        "engine": candidate.engine,
        "selection_loss": candidate.closed_loop,
        "known_failures": failures or None,
    }
    return str(save_rule(out.with_suffix(""), candidate.rule(name=out.stem), {}, card))


def _report(document: FrontDocument, path: Path, folder: Path) -> str:
    from rayl2o.cli.distillation_page import distillation_page
    from rayl2o.evaluate.distillation_report import write_distillation

    write_distillation(path, distillation_page(document, f"rayl2o symbols {folder} --report {path}"))
    return str(path)
