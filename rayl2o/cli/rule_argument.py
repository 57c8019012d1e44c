"""A RULE argument: a rule file, a run's folder, a shipped formula, or a classic rule such as ``adam:lr=0.01``."""

from __future__ import annotations

from pathlib import Path

from rayl2o.errors import UserError
from rayl2o.rules.files import LoadedRule, load_rule
from rayl2o.rules.named import is_named, named_rule
from rayl2o.rules.registry import parse_rule
from rayl2o.run import CONFIG, trained_rule

_FILES = (".json", ".safetensors")


def load(text: str) -> LoadedRule:
    """The rule that an argument means.

    Raises:
        UserError: If there is no such file, folder or rule, or it is damaged.
    """
    path = Path(text)
    if path.is_dir():
        return _from_folder(path)
    if path.suffix in _FILES or path.is_file():
        return load_rule(path)
    if "/" in text:
        raise UserError("no such rule file or run", value=text, mend="check the path")
    if is_named(text):
        formula = named_rule(text)
        return LoadedRule(text, formula, formula.init_phi(), formula.kind, formula.card)
    rule = parse_rule(text)
    return LoadedRule(name=text, rule=rule, phi={}, kind=rule.kind, card={})


def kind_of(loaded: LoadedRule) -> str:
    """``formula``, ``learned`` or ``classic``."""
    if loaded.rule.kind == "symbolic":
        return "formula"
    return "learned" if loaded.phi else "classic"


def _from_folder(path: Path) -> LoadedRule:
    """A run's folder, or one that holds a single rule, such as what ``distill`` and ``import-weights`` write."""
    if (path / CONFIG).is_file():
        return trained_rule(path)
    if (path / "rule.json").is_file():
        return load_rule(path / "rule.json")
    raise UserError(
        "the folder holds neither a run nor a rule", value=str(path), mend="name a run's folder or a rule file"
    )
