"""Shipped run configs, one YAML file each. Imports nothing of ours, so that listing them costs nothing.

``NAME`` trains in minutes on the embedded digits; ``paper/NAME`` is the same at the size of the paper.
"""

from __future__ import annotations

from importlib import resources

PAPER = "paper"


def presets() -> dict[str, str]:
    """Name to first comment line."""
    folder = resources.files(__name__)
    found = {item.name: item for item in folder.iterdir()}
    found |= {f"{PAPER}/{item.name}": item for item in (folder / PAPER).iterdir()}
    return {
        name.removesuffix(".yaml"): found[name].read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for name in sorted(found, key=lambda name: (name.startswith(f"{PAPER}/"), name))
        if name.endswith(".yaml")
    }


def preset_text(name: str) -> str:
    """The YAML of a preset; ``name`` is one of :func:`presets`."""
    return (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
