"""Rules by name: the built-in ones, presets of their sizes, and plugins from the entry point group ``rayl2o.rules``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.plugins import Group, Plugin, load, plugins
from rayl2o.rules.adam_variants import ADAM_VARIANTS
from rayl2o.rules.aggmo import AggMo
from rayl2o.rules.base import Rule
from rayl2o.rules.classic import CLASSIC, Classic
from rayl2o.rules.decoupled import DECOUPLED
from rayl2o.rules.dm import DM
from rayl2o.rules.gru import Gru
from rayl2o.rules.lion import Lion
from rayl2o.rules.named import card_of, is_named, named_rules, read_named
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.rnnprop_extra import RnnPropExtra
from rayl2o.rules.scale import Scale
from rayl2o.rules.scheduled import Scheduled, scheduled
from rayl2o.rules.schedules import parted
from rayl2o.rules.settings import from_settings, from_text, settings_of
from rayl2o.rules.small_mlp import SmallMlp

BUILT_IN = "built-in"
SYMBOLIC = "symbolic"

_HAND_MADE: tuple[type[Classic], ...] = (*CLASSIC, *ADAM_VARIANTS, Lion, AggMo, *DECOUPLED)
_LEARNED: tuple[Any, ...] = (DM, RnnProp, RnnPropExtra, Gru, Scale, SmallMlp)

KINDS: Mapping[str, type] = MappingProxyType({rule.kind: rule for rule in (*_HAND_MADE, *_LEARNED)})
"""Built-in kinds with settings; ``symbolic`` beside them takes a formula."""


@dataclass(frozen=True)
class Preset:
    """A kind in another size.

    Attributes:
        kind: What it makes.
        settings: Which settings differ from the kind's defaults; they may be overridden.
        summary: One line.
    """

    kind: str
    settings: Mapping[str, Any]
    summary: str


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "dm-small": Preset("dm", {"hidden": (7,)}, "L2O-DM with one LSTM layer of 7."),
        "rnnprop-small": Preset("rnnprop", {"projection": 6, "hidden": (7,)}, "RP(small) of S: projection 6, LSTM 7."),
    }
)
GROUP = Group(
    entry_points="rayl2o.rules",
    noun="rule",
    key="kind",
    members=("kind", "needs", "coordinatewise", "state_size", "init_phi", "init_state", "update", "sequence"),
    built_in=frozenset({*KINDS, *PRESETS, SYMBOLIC, *named_rules()}),
)
"""Rules of other distributions."""

_SYMBOLIC_SETTINGS = ("formula", "clamp", "gain", "name")


@dataclass(frozen=True)
class RuleInfo:
    """What ``rayl2o list rules`` shows of a rule.

    Attributes:
        name: As :func:`make` takes it.
        source: ``built-in`` or the distribution of the plugin.
        summary: One line.
        defaults: Its settings.
        learned: Whether it has weights, and so is used from a rule file; the others by name, as ``adam:lr=0.01``.
        state_bytes: Bytes of float32 state per coordinate with the default settings; None where a formula decides.
        error: Why a plugin cannot be used.
    """

    name: str
    source: str
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    learned: bool = False
    state_bytes: int | None = None
    error: str | None = None


def make(kind: str, settings: Mapping[str, Any]) -> Rule:
    """The rule of a kind or preset with JSON-able settings.

    Raises:
        UserError: If there is no such rule, its plugin cannot be used, or a setting is unknown, of the wrong type or out of
            range.
    """
    own, schedule = parted(settings)
    if kind == Scheduled.kind:  # as settings_of writes it
        kind = str(own.pop("rule", ""))
    return scheduled(_unscheduled(kind, own), schedule)


def _unscheduled(kind: str, settings: Mapping[str, Any]) -> Rule:
    if kind == SYMBOLIC:
        return _symbolic(settings)
    if kind in PRESETS:
        preset = PRESETS[kind]
        return cast(Rule, from_settings(KINDS[preset.kind], {**preset.settings, **settings}, kind))
    return cast(Rule, from_settings(_factory(kind), settings, kind))


def parse_rule(text: str) -> Rule:
    """A rule without weights from text such as ``adam`` or ``adam:lr=0.01,beta1=0.9``.

    Raises:
        UserError: If there is no such rule, it has weights, or a setting is malformed, repeated, unknown, of the wrong type
            or out of range.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if name in {*(rule.kind for rule in _LEARNED), SYMBOLIC, *PRESETS} or is_named(name):
        raise UserError("this rule has weights or a formula of its own", value=name, mend="give its rule file instead")
    factory = _factory(name)
    settings: dict[str, str] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UserError("cannot read a setting of a rule", value=text, mend="write it like adam:lr=0.01,beta1=0.9")
        if key in settings:
            raise UserError(f"setting {key!r} is given twice", value=text, mend="give it once")
        settings[key] = value
    own, schedule = parted(settings)
    return scheduled(cast(Rule, from_text(factory, own, name)), schedule)


def rules() -> list[RuleInfo]:
    """Every rule, built-in ones first, then plugins, unusable ones with their error."""
    found = [_info(name, BUILT_IN, make(name, {}), _summary(kind)) for name, kind in KINDS.items()]
    found += [_info(name, BUILT_IN, make(name, {}), preset.summary) for name, preset in PRESETS.items()]
    found.append(RuleInfo(SYMBOLIC, BUILT_IN, "A formula over gradient signals, with lags and moving averages."))
    found += [_from_card(name) for name in named_rules()]
    return found + [_from_plugin(plugin) for plugin in plugins(GROUP)]


def _factory(name: str) -> type:
    """The class behind a kind."""
    return KINDS[name] if name in KINDS else load(GROUP, name, GROUP.noun, GROUP.built_in)


def _symbolic(settings: Mapping[str, Any]) -> Rule:
    from rayl2o.rules.symbolic import SymbolicRule

    for key in settings:
        if key not in _SYMBOLIC_SETTINGS:
            raise unknown_name(f"setting of rule {SYMBOLIC!r}", key, _SYMBOLIC_SETTINGS)
    if not isinstance(settings.get("formula"), str):
        raise UserError(
            "a symbolic rule needs a formula", value=dict(settings), mend="give one, like formula='-0.01*g'"
        )
    return SymbolicRule.from_formula(settings["formula"], **{k: v for k, v in settings.items() if k != "formula"})


def _from_card(name: str) -> RuleInfo:
    """A shipped formula: as text ``NAME`` or ``NAME:gain=0.1,clamp=0.05``."""
    rule = read_named(name)
    defaults = {"gain": rule.gain, "clamp": rule.clamp}
    return RuleInfo(name, BUILT_IN, str(card_of(name)["summary"]), defaults, state_bytes=4 * rule.state_size)


def _from_plugin(plugin: Plugin) -> RuleInfo:
    try:
        factory = plugin.load()
        return _info(plugin.name, plugin.distribution, factory(), _summary(factory))
    except UserError as error:
        return RuleInfo(plugin.name, plugin.distribution, "", error=str(error))
    except Exception as error:  # whatever foreign code does, the built-in rules stay usable
        why = plugin.refusal(f"{type(error).__name__}: {error}")
        return RuleInfo(plugin.name, plugin.distribution, "", error=str(why))


def _info(name: str, source: str, rule: Rule, summary: str) -> RuleInfo:
    learned = bool(rule.init_phi(torch.Generator().manual_seed(0)))
    return RuleInfo(name, source, summary, settings_of(rule), learned, 4 * rule.state_size)


def _summary(factory: type) -> str:
    return (factory.__doc__ or "").strip().partition("\n")[0].replace("``", "")
