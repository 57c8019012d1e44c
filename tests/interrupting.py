"""A child that hears Ctrl-C even where the tests run in the background, which makes SIGINT ignored and inherited so."""

from __future__ import annotations

import signal


def hear_ctrl_c() -> None:
    """For ``preexec_fn``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
