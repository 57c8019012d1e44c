"""Drop-in ``torch.optim`` optimizers from formulas and learned rules. Needs torch and the rules only."""

from rayl2o.optim.learned import LearnedOptimizer
from rayl2o.optim.symbolic import SymbolicOptimizer

__all__ = ["LearnedOptimizer", "SymbolicOptimizer"]
