"""The learned rule that a study distils: a run's folder, a rule file, or published weights, here or in the data folder."""

from __future__ import annotations

import os
from pathlib import Path

from rayl2o.errors import UserError
from rayl2o.folder import CONFIG, RULE, trained_rule
from rayl2o.rules.files import LoadedRule, load_rule
from rayl2o.rules.published import import_weights
from rayl2o.tasks.datasets.folder import DATA_VARIABLE


def learned_rule(name: str) -> LoadedRule:
    """The rule of a name.

    Args:
        name: Path of a run's folder, of a folder with one rule, of a rule file, or of published weights (Sonnet layout, no JSON
            beside them). What is not found as given is looked for in ``$RAYL2O_DATA``.

    Raises:
        UserError: If there is none, it is damaged, has no weights, or is not coordinate-wise.
    """
    found = _read(_place(name))
    if not found.phi or found.kind == "symbolic":
        raise UserError("only a learned rule can be distilled", value=name, mend="name a run, or a file with weights")
    if not found.rule.coordinatewise:
        mend = "distil dm, rnnprop or a rule like them"
        raise UserError("only coordinate-wise rules can be distilled", value=found.kind, mend=mend)
    return found


def _place(name: str) -> Path:
    if not name:
        raise UserError("a study of an engine needs a rule", value=name, mend="write e.g. rule: runs/quickstart")
    given, data = Path(name).expanduser(), os.environ.get(DATA_VARIABLE, "")
    places = [given, *([Path(data).expanduser() / given] if data else [])]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        where = (
            f"nor in ${DATA_VARIABLE}" if data else f"and ${DATA_VARIABLE}, where it would be looked for, is not set"
        )
        raise UserError(f"no such rule file or run, {where}", value=name, mend="check the path")
    return found


def _read(path: Path) -> LoadedRule:
    if path.is_dir():
        if (path / CONFIG).is_file():
            return trained_rule(path)
        if not (path / f"{RULE}.json").is_file():
            mend = "name a run's folder or a rule file"
            raise UserError("the folder holds neither a run nor a rule", value=str(path), mend=mend)
        return load_rule(path / f"{RULE}.json")
    if path.suffix == ".safetensors" and not path.with_suffix(".json").is_file():
        rule, phi = import_weights(path)
        return LoadedRule(path.stem, rule, phi, rule.kind, {})
    return load_rule(path)
