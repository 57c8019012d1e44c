"""Tries a family by the laws: for a plugin when it is registered, and for anybody's tests."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.laws import derivatives, drawing, evaluating
from rayl2o.tasks.laws.case import Case, Resolve
from rayl2o.tasks.laws.drawing import global_generators
from rayl2o.tasks.laws.law import Breach, Law

_DRAWS = "draw with rayl2o.seeds.generator(purpose, seed)"

LAWS: tuple[Law, ...] = (
    Law(
        "sample",
        "sample(generator) gives a TaskSpec, the same one for the same state of the generator",
        "draw the spec's seed from the generator that is passed, and from nothing else",
        drawing.sample,
        evaluates=False,
    ),
    Law(
        "json",
        "a spec survives JSON with all settings of its family, and that family draws its like",
        "give specs to_settings(self) of rayl2o.tasks.settings",
        drawing.survives_json,
        evaluates=False,
    ),
    Law(
        "shapes",
        "build gives K instances; params [K, D], losses [K], derivatives [K, D], in the dtype asked for, float32 and float64",
        "see the docstrings of rayl2o.tasks.base.TaskBatch",
        drawing.shapes,
    ),
    Law(
        "arguments",
        "params and vectors are not written to, and no result is a view of one",
        "use out-of-place operations, or clone first",
        evaluating.arguments_unchanged,
    ),
    Law(
        "global randomness",
        "no global generator (torch, numpy, random) is read or seeded",
        _DRAWS,
        drawing.global_randomness,
    ),
    Law(
        "finite start",
        "fresh params, their losses and gradients are finite",
        "draw starts where the loss is defined",
        drawing.finite_start,
    ),
    Law(
        "graph",
        "loss_and_grad and hvp leave no graph and no .grad, under no_grad too; loss can be differentiated",
        "detach what loss_and_grad and hvp return, and nothing in loss",
        evaluating.no_graph,
    ),
    Law(
        "no memory",
        "a result depends on no earlier call and is overwritten by no later one, to the bit",
        "keep no buffers and no counters: return fresh tensors",
        evaluating.nothing_remembered,
    ),
    Law(
        "reproducible",
        "equal specs and seeds give equal bits, from the family and from the one that its spec names",
        _DRAWS,
        drawing.reproducible,
    ),
    Law(
        "apart",
        "no result of an instance changes by a bit when another one's params do, not even to NaN, infinite or huge",
        "compute row k from row k only, without reductions over K",
        evaluating.apart,
    ),
    Law(
        "own seed",
        "start and minibatch of an instance depend on its own seed only, wherever it stands and whatever the others are",
        f"{_DRAWS}, one generator per instance",
        drawing.own_seed,
    ),
    Law(
        "alone",
        "an instance alone is the instance among others: its start to the bit, results to 1e-9 of their norms",
        "let nothing depend on K, nor on a row's number",
        evaluating.alone,
    ),
    Law(
        "loss",
        "loss and loss_and_grad give the same losses, to 1e-10",
        "compute both from one formula",
        derivatives.loss_agrees,
    ),
    Law(
        "gradient",
        "the gradient is that of central differences of the loss, to 1e-5, in float64",
        "correct loss_and_grad, or make it by autograd with rayl2o.tasks.autograd_batch",
        derivatives.gradient,
    ),
    Law(
        "hessian",
        "hvp is that of central differences of the gradient, to 1e-4, in float64",
        "correct hvp, or make it by autograd with rayl2o.tasks.autograd_batch",
        derivatives.hessian,
    ),
    Law(
        "autograd",
        "gradient and hvp are those of autograd through loss, to 1e-8 of each tensor, in float64",
        "let loss be the same function, differentiable twice",
        derivatives.autograd,
    ),
    Law(
        "float32",
        "float32 is the same task: starts, and losses and gradients there, agree to 1e-2 of their norms",
        "draw in float64 and cast then; compute what is ill-conditioned in float64",
        evaluating.float32,
    ),
)
"""Causes before what follows from them: the first that is broken is the one to mend."""
_BASIC = frozenset({"sample", "json", "shapes"})


def check(
    family: TaskFamily,
    resolve: Resolve | None = None,
    *,
    laws: Sequence[Law] = LAWS,
    k: int = 2,
    evaluate: bool = True,
    seconds: float = math.inf,
) -> list[Breach]:
    """The laws that a family breaks; at some 120 evaluations of ``k`` instances, milliseconds for a small family.

    Args:
        family: What is tried.
        resolve: Finds the family of a spec (``registry.family_of``); by default specs are of the family's own class.
        laws: Which laws.
        k: Instances.
        evaluate: Whether to try laws that build and evaluate instances.
        seconds: No law is begun later than this; the laws that are left count as kept.

    Returns:
        Breaches in the order of ``laws``; the first of one that all others rest on ends the trial.

    Raises:
        UserError: If the instances cannot be built, e.g. because data are missing.
    """
    case, begun, built = Case(family, resolve, k), time.monotonic(), False
    found: list[Breach] = []
    with global_generators():
        for law in laws:
            if law.evaluates and (not evaluate or time.monotonic() - begun > seconds):
                continue
            if law.evaluates and not built:
                _build(case)
                built = True
            why = _tried(law, case)
            if why is not None:
                found.append(Breach(law, why))
                if law.name in _BASIC:
                    break
    return found


def require(family: TaskFamily, name: str, resolve: Resolve | None = None) -> None:
    """Refuses a family that breaks a law, naming the first.

    Args:
        family: What is tried.
        name: The task's, for the message.
        resolve: As of :func:`check`.

    Raises:
        UserError: With the law's name, the numbers, and the mend; or as :func:`check`.
    """
    breaches = check(family, resolve)
    if breaches:
        raise refusal(f"task {name!r}", breaches[0])


def refusal(what: str, breach: Breach) -> UserError:
    """The error for a task that breaks a law; ``what`` names it."""
    return UserError(
        f"{what} breaks the law {breach.law.name!r} ({breach.law.statement})", value=breach.found, mend=breach.law.mend
    )


def _build(case: Case) -> None:
    """Lets a user's mistake pass, such as missing data; whatever else is raised here is a breach of ``shapes``."""
    try:
        _ = case.tasks
    except UserError:
        raise
    except Exception:
        return


def _tried(law: Law, case: Case) -> str | None:
    try:
        return law.trial(case)
    except Exception as error:  # whatever a family raises, it raises where the law says that it works
        return f"{type(error).__name__}: {error}"
