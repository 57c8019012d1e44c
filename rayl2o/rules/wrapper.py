"""What a rule around another rule takes over from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rayl2o.rules.base import Phi, Rule


@dataclass(frozen=True)
class Wrapper:
    """The part of the rule protocol that is the inner rule's own; a wrapper adds the rest.

    Attributes:
        rule: The inner rule, hand-made or learned.
    """

    rule: Rule

    @property
    def needs(self) -> frozenset[str]:
        """What the inner rule reads beside the gradient."""
        return self.rule.needs

    @property
    def coordinatewise(self) -> bool:
        """Whether the inner rule treats each coordinate alone."""
        return self.rule.coordinatewise

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights of the inner rule."""
        return self.rule.init_phi(generator, dtype)
