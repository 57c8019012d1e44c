"""A rule's update through ``torch.compile``: fewer, larger kernels for rules on few coordinates."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Inputs, Rule, State

Update = Callable[[Mapping[str, Tensor], Inputs, State], tuple[Tensor, State]]
INDUCTOR, TRACED = "inductor", "aot_eager"
BACKENDS = (INDUCTOR, TRACED)
"""``inductor`` writes and compiles C++; ``aot_eager`` only traces, which is what tests need."""


def compiled_update(rule: Rule, backend: str) -> Update:
    """``rule.update``, compiled anew for every shape it meets. Its numbers are those of the rule up to rounding.

    It pays where a step is many small operations (docs/performance.md has the crossover), after some seconds for every shape.

    Raises:
        UserError: From a call, if it cannot be compiled here.
    """
    return _compiled(cast(Hashable, rule), backend)


@lru_cache(maxsize=32)
def _compiled(hashed: Hashable, backend: str) -> Update:
    rule = cast(Rule, hashed)
    compiled = torch.compile(rule.update, backend=backend, fullgraph=True, dynamic=False)

    def update(phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        try:
            return compiled(phi, inputs, state)
        except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
            raise UserError(
                f"rule {rule.kind!r} cannot be compiled here: {str(error).strip().splitlines()[0]}",
                value=f"unroll.compile={backend}",
                mend="unset unroll.compile; inductor needs a C++ compiler",
            ) from error

    return update
