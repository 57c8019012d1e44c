"""Classes from other distributions: entry points of one group, loaded when asked for, never trusted to work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import get_type_hints

from rayl2o.errors import UserError, shorten, unknown_name


@dataclass(frozen=True)
class Group:
    """What other distributions may offer, and what is asked of it.

    Attributes:
        entry_points: Name of the entry point group.
        noun: What an entry claims to be, for messages.
        key: Class attribute that must equal the name of the entry point.
        members: Attributes that the class must have.
        built_in: Names that are taken.
    """

    entry_points: str
    noun: str
    key: str
    members: tuple[str, ...]
    built_in: frozenset[str]


@dataclass(frozen=True)
class Plugin:
    """An entry point that claims to be one of a group.

    Attributes:
        name: Name of the entry point.
        distribution: Name of the distribution that brings it.
        entry: Where its class is.
        group: What it claims to be.
    """

    name: str
    distribution: str
    entry: EntryPoint
    group: Group

    def load(self) -> type:
        """The plugin's frozen dataclass. Imports the plugin's code.

        Raises:
            UserError: Naming the plugin, if its name is taken, its code does not import, or it is not what it claims to be.
        """
        if self.name in self.group.built_in:
            raise self.refusal(f"its name is that of a built-in {self.group.noun}")
        try:
            factory = self.entry.load()
            get_type_hints(factory)
        except (Exception, SystemExit) as error:
            raise self.refusal(f"{type(error).__name__}: {error}") from error
        parameters = getattr(factory, "__dataclass_params__", None)
        if not (isinstance(factory, type) and is_dataclass(factory) and parameters is not None and parameters.frozen):
            raise self.refusal(f"{self.entry.value} is not a frozen dataclass")
        if missing := [name for name in self.group.members if not hasattr(factory, name)]:
            raise self.refusal(f"it lacks {', '.join(missing)}")
        key = getattr(factory, self.group.key, None)
        if key != self.name:
            raise self.refusal(f"attribute {self.group.key!r} is {shorten(key)}, not {self.name!r}")
        return factory

    def refusal(self, why: str) -> UserError:
        """The error for a plugin that cannot be used."""
        what = f"{self.group.noun} {self.name!r} comes from a plugin that cannot be used ({why})"
        return UserError(what, value=self.distribution, mend="update or remove that distribution")


@lru_cache
def plugins(group: Group) -> tuple[Plugin, ...]:
    """Every installed plugin of a group by name and distribution; imports nothing. Read once per process."""
    found = [
        Plugin(entry.name, entry.dist.name if entry.dist is not None else "unknown distribution", entry, group)
        for entry in entry_points(group=group.entry_points)
    ]
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.distribution)))


def load(group: Group, name: str, kind: str, known: Iterable[str]) -> type:
    """The frozen dataclass of the one plugin of this name; ``kind`` and ``known`` names beside plugins are for messages.

    Raises:
        UserError: If there is none, there are several, or it cannot be used.
    """
    found = [plugin for plugin in plugins(group) if plugin.name == name]
    if not found:
        raise unknown_name(kind, name, {*known, *(plugin.name for plugin in plugins(group))})
    if len(found) > 1:
        value = [plugin.distribution for plugin in found]
        raise UserError(
            f"{group.noun} {name!r} comes from several plugins", value=value, mend="remove all but one of them"
        )
    return found[0].load()
