"""rayl2o: meta-train optimizers, distil them into formulas, use the formulas as ``torch.optim`` optimizers."""

__version__ = "0.1.0"
