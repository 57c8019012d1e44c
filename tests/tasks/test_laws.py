"""Every law refuses who breaks it, by its name, and nobody else."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.laws import LAWS, SLOW_LAWS, check, require
from rayl2o.tasks.laws.case import LARGE, Case
from rayl2o.tasks.laws.drawing import global_generators
from rayl2o.tasks.laws.elsewhere import fingerprint, fingerprints_elsewhere
from rayl2o.tasks.laws.slow import adam_makes_progress, memory_does_not_grow
from rayl2o.tasks.registry import build, family_of
from tests.tasks.lawless import LEAKED, Lawless

FAULTS = {
    "sample from the global generator": ("sample", "equal generators drew"),
    "a tuple among settings": ("json", "came back as"),
    "a setting left out": ("json", "lacks the setting 'size'"),
    "a setting that its family refuses": ("json", "its own spec is refused"),
    "settings that change": ("json", "draws TaskSpec"),
    "raises": ("shapes", "ArithmeticError: no losses today"),
    "losses in a column": ("shapes", "loss is (2, 1)"),
    "deaf to dtype": ("shapes", "init_params is (2, 6) torch.float32, not (2, 6) torch.float64"),
    "another layout": ("shapes", "the layout of the family is"),
    "seeds the global generator": ("global randomness", "the global generator of torch was used"),
    "draws from numpy": ("global randomness", "the global generator of numpy was used"),
    "starts at infinity": ("finite start", "params of instance 0"),
    "counts its calls": ("no memory", "the same call after another one gives loss"),
    "returns its buffer": ("no memory", "a result was overwritten by a later call: gradient"),
    "depends on what was built before": ("reproducible", "the same family built twice gives loss"),
    "all starts from the first seed": ("own seed", "with the seeds in another order: init_params"),
    "minibatches by position": ("own seed", "one minibatch seed gives the losses"),
    "writes to params": ("arguments", "the tensor of params passed in was written to"),
    "touches params": ("arguments", "the tensor of params passed in was written to"),
    "returns params": ("arguments", "the gradient that is returned is a view of an argument"),
    "leaves a graph": ("graph", "the loss requires grad"),
    "fills .grad": ("graph", "params.grad was filled"),
    "loss cut off": ("graph", "loss() is cut off from its params"),
    "normalised over instances": ("apart", "other params of instance 0 change those of another one: loss"),
    "gradient of a mean": ("alone", "gradient of instance 0 alone and among 2 differs by"),
    "multiplied by zero": ("apart", "nan params of instance 1 change those of another one: loss"),
    "refuses NaN": ("apart", "nan params of instance 1 raise ArithmeticError for all"),
    "another constant": ("loss", "by loss_and_grad"),
    "gradient a little long": ("gradient", "by differences"),
    "one coordinate wrong": ("gradient", "by differences"),
    "hvp of the wrong sign": ("hessian", "coordinate"),
    "a term cut off": ("autograd", "gradient near its start, tensor 'b' of instance 0 is off by"),
    "starts of float32 are others": ("float32", "start of instance 0 in float32 is off by"),
    "drawn in the dtype": ("float32", "loss of instance 0 in float32 is off by"),
}


@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_sound_family_breaks_no_law(k: int) -> None:
    for family in (Lawless(), Quadratic(), Quadratic(1)):
        assert check(family, laws=(*LAWS, *SLOW_LAWS), k=k) == []
        require(family, "sound")


@pytest.mark.parametrize("fault", FAULTS)
def test_who_breaks_a_law_is_refused_by_its_name_with_the_numbers_and_the_mend(fault: str) -> None:
    law, says = FAULTS[fault]
    with pytest.raises(UserError) as caught:
        require(Lawless(fault=fault), "crooked")
    assert f"task 'crooked' breaks the law {law!r} (" in str(caught.value)
    assert says in str(caught.value.value)
    (mend,) = (one.mend for one in LAWS if one.name == law)
    assert str(caught.value).endswith(mend)


def test_every_law_has_a_fault_and_a_statement() -> None:
    assert {law for law, _ in FAULTS.values()} == {law.name for law in LAWS}
    assert all(law.statement and law.mend and law.trial.__doc__ for law in (*LAWS, *SLOW_LAWS))


def test_a_wrong_gradient_is_told_once_for_every_law_that_it_breaks() -> None:
    broken = [breach.law.name for breach in check(Lawless(fault="gradient a little long"))]
    assert broken == ["gradient", "hessian", "autograd"]
    assert "law 'gradient': instance 0 near its start has the slope" in str(
        check(Lawless(fault="one coordinate wrong"))[0]
    )


def test_what_all_laws_rest_on_ends_the_trial() -> None:
    assert [breach.law.name for breach in check(Lawless(fault="raises"))] == ["shapes"]


def test_missing_data_are_no_breach_but_an_error_of_their_own() -> None:
    with pytest.raises(UserError, match=r"bowls.csv is missing: got '/data'; fetch it"):
        check(Lawless(fault="data missing"))
    assert check(Lawless(fault="data missing"), evaluate=False) == []


def test_laws_may_be_limited_by_cost() -> None:
    assert check(Lawless(fault="raises"), evaluate=False) == []
    assert check(Lawless(fault="raises"), seconds=-1) == []
    assert check(Lawless(fault="a setting left out"), seconds=-1) != []
    assert Case(Lawless(LARGE + 1)).large
    assert not Case(Lawless(LARGE)).large


def test_a_trial_leaves_the_global_generators_alone() -> None:
    before = torch.get_rng_state()
    assert check(Lawless(fault="seeds the global generator"))
    assert torch.equal(torch.get_rng_state(), before)
    drawn = [np.random.get_state(legacy=False)["state"]["pos"], random.getstate()]  # noqa: NPY002
    with global_generators() as touched:
        np.random.rand()  # noqa: NPY002
        random.random()
        torch.rand(1)
    assert touched == ["torch", "numpy", "random"]
    assert drawn == [np.random.get_state(legacy=False)["state"]["pos"], random.getstate()]  # noqa: NPY002


@pytest.mark.parametrize(
    ("fault", "says"), [("keeps results", "objects"), ("keeps a graph", "bytes of the native heap")]
)
def test_memory_that_grows_is_found(fault: str, says: str) -> None:
    why = memory_does_not_grow(Case(Lawless(fault=fault)), steps=100)
    LEAKED.clear()
    assert why is not None
    assert says in why


def test_adam_that_makes_no_progress_is_found() -> None:
    why = adam_makes_progress(Case(Lawless(fault="starts at the optimum")), steps=30)
    assert why is not None
    assert "in 30 steps" in why


def test_fingerprints_tell_problems_apart_and_name_what_another_process_cannot_build() -> None:
    draws = torch.Generator().manual_seed(3)
    specs = {"one": [Quadratic().sample(draws) for _ in range(2)], "two": [Quadratic().sample(draws)]}
    unknown = {"three": [Lawless().sample(draws)]}
    here = {name: fingerprint(build(group)) for name, group in specs.items()}
    assert len(set(here.values())) == 2
    there = fingerprints_elsewhere({**specs, **unknown})
    assert there.pop("three").startswith("UserError: unknown task family: got 'lawless'")
    assert there == here


def test_the_family_of_a_spec_may_be_another_one() -> None:
    """A distribution over settings: its specs are of the plain family."""

    @dataclass(frozen=True)
    class Sizes:
        family: str = "sizes"

        def sample(self, generator: torch.Generator) -> object:
            return Quadratic(int(torch.randint(2, 9, (), generator=generator))).sample(generator)

        def build(self, specs: list, device: str = "cpu", dtype: torch.dtype = torch.float32) -> object:  # type: ignore[type-arg]
            return build(specs, device, dtype)

    assert check(Sizes(), family_of) == []  # type: ignore[arg-type]


def test_the_page_on_extending_has_every_law() -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| `")]
    rows = [f"| `{law.name}` | {law.statement} |" for law in (*LAWS, *SLOW_LAWS)]
    assert [line for line in table if line in rows] == rows
