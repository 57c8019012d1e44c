"""``rayl2o import-weights``: published LSTM optimizers as rule files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import output


def verb(
    file: Annotated[Path, typer.Argument(metavar="FILE.safetensors", help="Weights as published (Sonnet layout).")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the rule file.")],
    as_json: Json = False,
) -> None:
    """Import published weights of L2O-DM or RNNprop; the kind is read off the shapes."""
    one_thread()
    from rayl2o.rules.files import save_rule
    from rayl2o.rules.published import import_weights

    with output(as_json) as says:
        rule, phi = import_weights(file)
        path = save_rule(out / file.stem, rule, phi, {"imported_from": file.name})
        says.result({"rule": str(path), "kind": rule.kind}, f"{rule.kind} saved as {path}")
