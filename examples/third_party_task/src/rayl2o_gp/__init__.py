"""Hyperparameters of Gaussian processes as a task for rayl2o."""

from rayl2o_gp.evidence import GPEvidence

__all__ = ["GPEvidence"]
