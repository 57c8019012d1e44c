"""Rows for the table of ``test_rule_laws.py``: more hand-made rules, and rules under a schedule."""

from __future__ import annotations

from rayl2o.rules.adam_variants import AdaBelief, NAdam, Yogi
from rayl2o.rules.aggmo import AggMo
from rayl2o.rules.base import Rule
from rayl2o.rules.classic import Adam
from rayl2o.rules.dm import DM
from rayl2o.rules.lion import Lion
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.scheduled import Scheduled
from rayl2o.rules.schedules import Cosine, Product, StepDecay, Warmup

ROWS: dict[str, Rule] = {
    "lion": Lion(lr=0.1),
    "adabelief": AdaBelief(),
    "yogi": Yogi(),
    "yogi, corrected": Yogi(bias_correction=True, initial_accumulator_value=0.0),
    "nadam": NAdam(),
    "nadam, no momentum": NAdam(beta1=0.0, beta2=0.0),
    "aggmo": AggMo(lr=0.1),
    "adam, cosine": Scheduled(Adam(lr=0.1), Cosine(6, 0.1)),
    "nadam, all": Scheduled(NAdam(), Product((Warmup(2), StepDecay(3, 0.5), Cosine(7)))),
    "dm, step decay": Scheduled(DM(hidden=(5, 3)), StepDecay(3)),
    "rnnprop, warmup": Scheduled(RnnProp(projection=6, hidden=(7,)), Warmup(5)),
}
"""AdamW and LionW read the params, which the table does not pass; their laws are in ``test_decoupled.py``."""

COMPILED = ["lion", "adabelief", "yogi, corrected", "nadam", "aggmo", "nadam, all", "rnnprop, warmup"]
"""Rows to compile: at least one of every kind."""
