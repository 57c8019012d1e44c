"""Rows of the table of laws: the analytic families and the small tables, at small sizes."""

from __future__ import annotations

from rayl2o.tasks.analytic.dm_quadratic import DMQuadratic
from rayl2o.tasks.analytic.lasso import Lasso
from rayl2o.tasks.analytic.linear_regression import LinearRegression
from rayl2o.tasks.analytic.logistic_regression import LogisticRegression
from rayl2o.tasks.analytic.matrix_factorisation import MatrixFactorisation
from rayl2o.tasks.analytic.noisy_quadratic import NoisyQuadratic
from rayl2o.tasks.analytic.rastrigin import Rastrigin
from rayl2o.tasks.analytic.rosenbrock import Rosenbrock
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.networks.two_moons import TwoMoons

ROWS: dict[str, TaskFamily] = {
    "linear-regression": LinearRegression(),
    "linear-regression-tall": LinearRegression(size=4, rows=9),
    "linear-regression-code": LinearRegression(variant="code"),
    "rosenbrock": Rosenbrock(),
    "rosenbrock-pairs": Rosenbrock(pairs=3),
    "two-moons": TwoMoons(hidden=(7, 6, 5), points=65),
    "two-moons-code": TwoMoons(hidden=(6,), points=64, variant="code"),
    "p1": Rastrigin(),
    "p1-code": Rastrigin(variant="code"),
    "rastrigin-code-5": Rastrigin(size=5, variant="code"),
    "dm-quadratic": DMQuadratic(),
    "lasso-small": Lasso(size=40, rows=20, nonzeros=5),
    "logistic-regression-breast-cancer": LogisticRegression(),
    "logistic-regression-iris": LogisticRegression(data="iris", batch_size=16, split="test"),
    "logistic-regression-wine": LogisticRegression(data="wine", batch_size=16, l2=0.0),
    "matrix-factorisation": MatrixFactorisation(rows=8, columns=6, rank=2, true_rank=3),
    "matrix-completion": MatrixFactorisation(rows=6, columns=8, rank=2, observed=0.5, noise=0.1),
    "noisy-quadratic": NoisyQuadratic(size=6),
    "noisy-quadratic-isotropic": NoisyQuadratic(size=5, spectrum="two-point", covariance="isotropic"),
    "ill-conditioned-quadratic": NoisyQuadratic(condition=1e4, noise=0.0),
}
"""Families by the name of their row."""
