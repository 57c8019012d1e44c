from __future__ import annotations

import numpy as np
import pytest
import torch

from rayl2o.config import RunConfig
from rayl2o.evaluate.runner import log_loss, mean_loss, run
from rayl2o.meta.bptt import bptt
from rayl2o.rules.base import Phi
from rayl2o.rules.classic import Sgd
from rayl2o.seeds import generator
from rayl2o.study.arms import arms
from rayl2o.study.definition import Evaluation, Probe
from rayl2o.study.scoring import cosines, rounded, scores
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket
from tests.study.examples import toy, toy_data


def test_scores_are_those_of_the_runner() -> None:
    one = toy().evaluations[0]
    rule = Sgd(lr=0.1)
    curves = run(rule, {}, one.make_family(), one.eval_seeds, one.steps)
    found = scores(rule, {}, one)
    np.testing.assert_allclose(found["mean_loss"], mean_loss(curves), rtol=1e-5)
    np.testing.assert_allclose(found["log_loss"]["5"], log_loss(curves, 5), rtol=1e-5)
    assert found["diverged"] == [False, False]


def test_a_run_that_diverges_is_told() -> None:
    one: Evaluation = toy().evaluations[0]
    assert scores(Sgd(lr=1e9), {}, one)["diverged"] == [True, True]


def test_six_digits_are_kept() -> None:
    assert rounded([1.23456789, 0.0, 1234567.8]) == [1.23457, 0.0, 1234570.0]


def _config(steps: int) -> tuple[RunConfig, Phi]:
    """A DM whose updates are so large, on a bowl so steep, that later gradients depend on them."""
    changes = {"unroll": {"steps": steps}, "instances": 3, "curriculum": {"n_train": [2 * steps]}}
    bowl = {"name": "quadratic", "settings": {"size": 3, "log10_smallest": 0.0}}
    base = toy_data()["base"] | changes | {"task": bowl}
    axes = {"rule": {"dm": {"rule": {"kind": "dm", "settings": {"hidden": [3], "output_scale": 1.0}}}}}
    config = arms(toy(base=base, axes=axes, reference={}))[0].config(0)
    return config, config.make_rule().init_phi(generator("phi"))


def test_first_order_is_exact_in_a_window_of_one_step_only() -> None:
    probe = Probe(credits=("first_order", "exact"), at=(0, 4), windows=2)
    short, long = cosines(*_config(1), probe), cosines(*_config(4), probe)
    assert short["first_order"]["0"] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert long["exact"]["4"] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert all(value < 0.9999 for value in long["first_order"]["0"])
    assert long["first_order"]["0"][0] != long["first_order"]["0"][1]
    assert long["first_order"]["0"] != long["first_order"]["4"]


def test_a_cosine_is_autograds() -> None:
    config, phi = _config(4)
    found = cosines(config, phi, Probe(credits=("first_order",), at=(0,), windows=1))["first_order"]["0"][0]
    family = config.make_family()
    draws = generator("study", "probe", 0)
    ticket = Ticket("probe", 77, 0, 0, tuple(family.sample(draws) for _ in range(3)), 8)
    rule, plain = config.make_rule(), UnrollConfig(steps=4)
    first, exact = (
        torch.cat([g.flatten() for g in bptt(rule, plain, ticket, None, phi, second_order)[0].values()])
        for second_order in (False, True)
    )
    assert found == pytest.approx(float(torch.nn.functional.cosine_similarity(first, exact, dim=0)), abs=1e-4)
