"""``rayl2o export``: a rule for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import output
from rayl2o.errors import UserError, unknown_name

if TYPE_CHECKING:
    from rayl2o.rules.files import LoadedRule

FORMATS = ("json", "python", "latex")


def verb(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule file or a run's folder.")],
    form: Annotated[
        str, typer.Option("--format", help="json (rule file), python (needs PyTorch only) or latex.")
    ] = "json",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write; without it the text goes to stdout.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a rule as a rule file, as a Python optimizer of its own, or as a LaTeX formula."""
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    one_thread()
    from rayl2o.checkpoint import replace_file
    from rayl2o.cli.rule_argument import load

    with output(as_json) as says:
        loaded = load(rule)
        if form == "json" and loaded.rule.kind != "symbolic":
            path: Path | None = _weights(loaded, rule, out)
            text = ""
        else:
            path, text = out, _text(loaded, rule, form)
            if path is not None:
                replace_file(path, lambda file: file.write(text.encode()))
        if path is None and not as_json:
            typer.echo(text)
            return
        says.result(
            {"rule": rule, "format": form, "path": path, "text": text if path is None else None},
            f"{form} written to {path}",
        )


def _text(loaded: LoadedRule, argument: str, form: str) -> str:
    import json

    from rayl2o.optim.export import python_source
    from rayl2o.rules.symbolic import SymbolicRule

    if not isinstance(loaded.rule, SymbolicRule):
        raise UserError(f"only a formula can be exported as {form}", value=argument, mend="distil the rule first")
    if form == "python":
        return python_source(loaded.rule)
    if form == "latex":
        return loaded.rule.latex()
    return json.dumps(loaded.rule.to_json(), indent=1, allow_nan=False)


def _weights(loaded: LoadedRule, argument: str, out: Path | None) -> Path:
    """A learned rule is two files, so it needs a place."""
    from rayl2o.rules.files import save_rule

    if not loaded.phi:
        raise UserError(
            "a classic rule has no file", value=argument, mend="name a formula, a run, or a file with weights"
        )
    if out is None:
        raise UserError("a learned rule is two files", value=argument, mend="give --out NAME.json")
    return Path(save_rule(out.with_suffix(""), loaded.rule, loaded.phi, dict(loaded.card)))
