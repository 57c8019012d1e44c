"""What the guards say of a formula alone, without the table it was fitted on: the verdict in the card of a shipped rule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.guards import ASCENT, MAGNITUDES, NO_CLAMP, constant_response, settling_steps

BLOW_UP = "blow_up"
BLOWN = 100.0
"""Largest step after the gradient has gone to 0, in units of the largest step while it was there: a sound rule stays near 1."""
QUIET = 40
"""Steps of zero gradient that are looked at."""
CHECKED = "constant gradients of +-1e-8 to +-1e2 to steady state, then 40 steps of zero gradient"


def verdict_of(rule: SymbolicRule) -> dict[str, Any]:
    """``{"checked", "refused": [sentence], "flagged": [sentence], "steady_response": {|g|: step}}``, plain JSON-able data."""
    response = constant_response(rule)
    refused = [text for text in (_ascent(response), _blow_up(rule)) if text is not None]
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


def _blow_up(rule: SymbolicRule) -> str | None:
    steps = settling_steps(rule.expression.operands)
    grad = torch.tensor(MAGNITUDES, dtype=torch.float64).expand(steps + QUIET, -1).clone()
    grad[steps:] = 0.0
    phi = rule.init_phi(dtype=torch.float64)
    state = rule.init_state(phi, Layout.flat(len(MAGNITUDES)), 1, dtype=torch.float64)
    inputs = Inputs(grad=grad, step=torch.arange(len(grad), dtype=torch.float64)[:, None])
    with torch.no_grad():
        size = rule.sequence(phi, inputs, {"coord": state["coord"][0]})[0].abs()
    before, after = size[:steps].amax(0), size[steps:].amax(0)
    ratio = after / before.clamp(min=1e-300)
    if bool((ratio <= BLOWN).all()):
        return None
    worst = int(torch.nan_to_num(ratio, nan=torch.inf).argmax())
    return (
        f"{BLOW_UP}: when a gradient of {MAGNITUDES[worst]:.3g} goes to 0 the step grows to {float(after[worst]):.3g}, "
        f"{float(ratio[worst]):.3g} times what it was"
    )
