"""The catalogue as a whole; each task's own numbers are tested beside its family."""

from __future__ import annotations

import pytest

from rayl2o.tasks import catalogue
from rayl2o.tasks.catalogue import FAMILIES, NAMED
from rayl2o.tasks.registry import task


def test_every_named_task_is_of_a_known_family_and_can_be_made() -> None:
    for name, named in NAMED.items():
        assert named.family in FAMILIES, name
        assert task(name).family == named.family
        assert named.summary, name


def test_twins_are_smaller() -> None:
    twins = {name: named for name, named in NAMED.items() if named.twin_of}
    for name, twin in twins.items():
        whole = NAMED[twin.twin_of]
        assert not whole.twin_of, name
        assert twin.paper in ("", whole.paper), name
        assert task(name).layout.size < task(twin.twin_of).layout.size, name  # type: ignore[attr-defined]


def test_names_do_not_clash() -> None:
    for name in set(NAMED) & set(FAMILIES):
        assert NAMED[name].family == name
        assert not NAMED[name].fixed
    with pytest.raises(ValueError, match=r"two tasks of one name: \['a'\]"):
        catalogue._by_name([{"a": 1}, {"a": 2}])
