"""Shipped studies, one YAML file each. Imports nothing of ours, so that listing them costs nothing."""

from __future__ import annotations

from importlib import resources


def studies() -> dict[str, str]:
    """Name to first comment line."""
    folder = resources.files(__name__)
    found = sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    return {
        name.removesuffix(".yaml"): (folder / name).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for name in found
    }


def study_text(name: str) -> str:
    """The YAML of a study; ``name`` is one of :func:`studies`."""
    return (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
