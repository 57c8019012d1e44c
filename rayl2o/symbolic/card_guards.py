"""What the guards say of a formula alone, without the table it was fitted on: the verdict in the card of a shipped rule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.guards import ASCENT, BLOW_UP, MAGNITUDES, NO_CLAMP, constant_response, quiet_verdict

CHECKED = "constant gradients of +-1e-8 to +-1e2 to steady state, then 40 steps of zero gradient"


def verdict_of(rule: SymbolicRule) -> dict[str, Any]:
    """``{"checked", "refused": [sentence], "flagged": [sentence], "steady_response": {|g|: step}}``, plain JSON-able data."""
    response = constant_response(rule)
    after = quiet_verdict(rule)
    blown = None if after is None else f"{BLOW_UP}: {after}"
    refused = [text for text in (_ascent(response), blown) if text is not None]
    flagged = [f"{NO_CLAMP}: the output is not clamped"] if rule.clamp is None else []
    shown = {f"{MAGNITUDES[i]:g}": float(f"{float(response[0, i]):.3g}") for i in range(0, len(MAGNITUDES), 8)}
    return {"checked": CHECKED, "refused": refused, "flagged": flagged, "steady_response": shown}


def _ascent(response: Tensor) -> str | None:
    uphill = torch.stack([response[0], -response[1]])
    bad = ~(uphill <= 1e-9 * response.abs().max())  # a NaN is bad
    found = []
    for sign, row in zip("+-", bad, strict=True):
        if bool(row.any()):
            sizes = [magnitude for magnitude, is_bad in zip(MAGNITUDES, row.tolist(), strict=True) if is_bad]
            found.append(f"constant gradients from {sign}{sizes[0]:.3g} to {sign}{sizes[-1]:.3g} are ascended")
    return f"{ASCENT}: {', '.join(found)}" if found else None
