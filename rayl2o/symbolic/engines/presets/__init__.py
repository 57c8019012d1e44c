"""Shipped settings of engines, one YAML file each. Imports nothing of ours, so that listing them costs nothing."""

from __future__ import annotations

from importlib import resources


def presets() -> dict[str, str]:
    """Name to first comment line."""
    folder = resources.files(__name__)
    found = sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    return {
        name.removesuffix(".yaml"): (folder / name).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for name in found
    }


def preset_text(name: str) -> str:
    """The YAML of a preset; ``name`` is one of :func:`presets`."""
    return (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
