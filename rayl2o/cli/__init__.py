"""The command line: one verb per stage, each with ``--json``."""

from rayl2o.cli.entry import main

__all__ = ["main"]
