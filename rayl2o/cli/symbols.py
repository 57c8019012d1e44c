"""``rayl2o symbols``: browses the front of a distillation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayl2o.cli.distill import FRONT
from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import output
from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.symbolic.candidate import Candidate
    from rayl2o.symbolic.front import Front

_MEND = "name a folder that 'rayl2o distill' wrote"


def verb(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that 'rayl2o distill' wrote.")],
    pick: Annotated[
        int | None, typer.Option("--pick", help="Show one candidate in full, by its number.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --pick: save it as a rule file.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Browse the formulas of a distillation: complexity, fit, loss in closed loop, and what the guards refused."""
    if out is not None and pick is None:
        raise UserError("--out saves one candidate", value=str(out), mend="say which with --pick")
    one_thread()
    from rayl2o.cli.front_table import columns_table, front_table, row
    from rayl2o.symbolic.candidate import Candidate
    from rayl2o.symbolic.front import Front

    with output(as_json) as says:
        data = read(folder)
        front, selected = Front.from_json(data.get("front")), Candidate.from_json(data.get("selected"))
        rows = [{**row(i, c), "selected": c.expression == selected.expression} for i, c in enumerate(front.candidates)]
        refused = [{"formula": str(c.expression), "reasons": [r.to_json() for r in c.refused]} for c in front.refused]
        result: dict[str, Any] = {"front": rows, "refused": refused}
        if pick is None:
            lines = [f"refused: {c.expression.pretty()}: {c.refused[0].detail}" for c in front.refused if c.refused]
            says.result(result, front_table(front, selected), columns_table(data), *lines)
            return
        candidate = _picked(front, pick)
        path = None if out is None else _save(candidate, out)
        shown = [candidate.rule().pretty(), str(candidate.expression), *([] if path is None else [f"saved as {path}"])]
        says.result({**rows[pick], "path": path}, *shown)


def read(folder: Path) -> dict[str, Any]:
    """What ``distill`` wrote beside its rules.

    Raises:
        UserError: If the file is missing or not what ``distill`` writes.
    """
    from rayl2o.checkpoint import parse_json

    path = folder / FRONT if folder.is_dir() else folder
    try:
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the front ({error.strerror})", value=str(path), mend=_MEND) from error
    except ValueError as error:
        raise UserError(f"the front is not JSON ({error})", value=str(path), mend=_MEND) from error
    columns = ("front", "selected", "network", "distilled", "gained", "tuned")
    if not isinstance(data, dict) or any(name not in data for name in columns):
        raise UserError("the file holds no distillation", value=str(path), mend=_MEND)
    return data


def _picked(front: Front, pick: int) -> Candidate:
    if not 0 <= pick < len(front.candidates):
        raise UserError("no such candidate", value=pick, mend=f"give a number from 0 to {len(front.candidates) - 1}")
    return front.candidates[pick]


def _save(candidate: Candidate, out: Path) -> str:
    from rayl2o.rules.files import save_rule

    return str(save_rule(out.with_suffix(""), candidate.rule(name=out.stem), {}, {"engine": candidate.engine}))
