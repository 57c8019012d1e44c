from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from rayl2o.rules.dm import DM
from rayl2o.rules.registry import parse_rule
from rayl2o.study.distillation import Distillation
from rayl2o.study.distilling import distilled
from rayl2o.symbolic.complexity import lags_until_forgotten
from rayl2o.symbolic.perception import momentum_tpf
from tests.study.examples import DISTILLATION, toy

ASKED: Distillation = toy(distillation=DISTILLATION).distillation


def test_of_gradient_descent_all_is_known() -> None:
    done = json.loads(json.dumps(distilled(parse_rule("sgd:lr=0.03"), {}, ASKED), allow_nan=False))
    assert done["perception"] == {"5": {"g": 0.0}, "20": {"g": 0.0}}
    search = done["searches"]["ema"]
    for mc in search["complexity"].values():
        assert (mc["nodes"], mc["inputs"], mc["formula"]) == (3, 1, "-0.03*g")
    assert search["best"]["60"]["r2_test"] == pytest.approx(1.0)
    assert search["best"]["60"]["buffers"] == 0


def test_momentum_is_one_average_and_several_lags() -> None:
    asked = replace(ASKED, modes=("ema", "paper"), signals={"momentum": ("g",)}, errors=(0.01,), max_complexity=120)
    done = distilled(parse_rule("momentum:lr=0.003,momentum=0.9"), {}, asked)
    for horizon in asked.horizons:
        assert done["perception"][str(horizon)]["g"] == pytest.approx(momentum_tpf(0.9, horizon), rel=1e-4)
    mc = done["searches"]["ema"]["complexity"]["0.01"]
    assert (mc["nodes"], mc["inputs"]) == (3, lags_until_forgotten(0.9))
    assert done["searches"]["paper"]["complexity"]["0.01"]["nodes"] > mc["nodes"]


def test_a_known_rule_may_name_its_own_signals() -> None:
    label = "adam:lr=0.01,beta1=0.95,beta2=0.95"
    asked = replace(ASKED, signals={"adam": ("g",), label: ("m_tilde",)})
    own, usual = (distilled(parse_rule(label), {}, asked, text) for text in (label, "adam"))
    assert own["searches"]["ema"]["complexity"]["0.05"]["formula"] == "-0.01*m_tilde"
    assert "m_tilde" not in json.dumps(usual["searches"])


def test_what_no_formula_reaches_is_null_and_sizes_nest() -> None:
    asked = replace(ASKED, signals={"adam": ("g",)}, errors=(0.0,), nodes=(1, 7, 60))
    done = json.loads(json.dumps(distilled(parse_rule("adam:lr=0.01"), {}, asked), allow_nan=False))
    search = done["searches"]["ema"]
    assert search["complexity"] == {"0": None}
    assert search["best"]["1"] is None
    assert search["best"]["7"]["nodes"] <= 7
    assert search["best"]["7"]["r2_val"] < search["best"]["60"]["r2_val"] < 1.0
    assert [line["nodes"] for line in search["front"]] == sorted({line["nodes"] for line in search["front"]})


def test_what_guards_refuse_counts_for_mc_but_is_not_sound() -> None:
    rule = DM(hidden=(3,))  # untrained, it ascends
    done = distilled(rule, rule.init_phi(torch.Generator().manual_seed(1)), replace(ASKED, errors=(0.5,), nodes=(60,)))
    search = done["searches"]["ema"]
    assert search["front"]
    assert search["best"]["60"]["r2_val"] == search["front"][-1]["r2_val"]
    assert search["sound"] == {"60": None}
    assert 0.0 < done["perception"]["20"]["g"] < 19.0
