"""Rules from other distributions: entry points of the group ``rayl2o.rules``, loaded when asked for, never trusted to work."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import get_type_hints

from rayl2o.errors import UserError, shorten

GROUP = "rayl2o.rules"
_MEMBERS = ("kind", "needs", "coordinatewise", "state_size", "init_phi", "init_state", "update", "sequence")


@dataclass(frozen=True)
class Plugin:
    """An entry point that claims to be a rule.

    Attributes:
        name: Name of the entry point, which is the rule's kind.
        distribution: Name of the distribution that brings it.
        entry: Where its class is.
    """

    name: str
    distribution: str
    entry: EntryPoint

    def load(self, taken: Collection[str]) -> type:
        """The frozen dataclass of the rule. Imports the plugin's code.

        Raises:
            UserError: Naming the plugin, if its name is taken, its code does not import, or it is no rule.
        """
        if self.name in taken:
            raise self.refusal("its name is that of a built-in rule")
        try:
            factory = self.entry.load()
            get_type_hints(factory)
        except (Exception, SystemExit) as error:
            raise self.refusal(f"{type(error).__name__}: {error}") from error
        parameters = getattr(factory, "__dataclass_params__", None)
        if not (isinstance(factory, type) and is_dataclass(factory) and parameters is not None and parameters.frozen):
            raise self.refusal(f"{self.entry.value} is not a frozen dataclass")
        if missing := [name for name in _MEMBERS if not hasattr(factory, name)]:
            raise self.refusal(f"it lacks {', '.join(missing)}")
        if getattr(factory, "kind", None) != self.name:
            raise self.refusal(f"attribute 'kind' is {shorten(getattr(factory, 'kind', None))}, not {self.name!r}")
        return factory

    def refusal(self, why: str) -> UserError:
        """The error for a plugin that cannot be used."""
        what = f"rule {self.name!r} comes from a plugin that cannot be used ({why})"
        return UserError(what, value=self.distribution, mend="update or remove that distribution")


@lru_cache(maxsize=1)
def plugins() -> tuple[Plugin, ...]:
    """Every installed plugin by name and distribution; imports nothing. Read once per process."""
    found = [
        Plugin(entry.name, entry.dist.name if entry.dist is not None else "unknown distribution", entry)
        for entry in entry_points(group=GROUP)
    ]
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.distribution)))
