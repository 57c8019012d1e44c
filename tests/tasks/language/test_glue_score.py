from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from rayl2o.tasks.language.glue_score import glue_metric, glue_scores
from rayl2o.tasks.language.text_classification import TextClassification


@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_those_of_scikit_learn(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    predicted, labels = (torch.randint(2, (40,), generator=rng) for _ in range(2))
    assert glue_metric("accuracy", predicted, labels) == pytest.approx(accuracy_score(labels, predicted))
    assert glue_metric("f1", predicted, labels) == pytest.approx(f1_score(labels, predicted))
    assert glue_metric("matthews", predicted, labels) == pytest.approx(matthews_corrcoef(labels, predicted))


def test_metrics_without_a_class() -> None:
    zeros, ones = torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)
    assert glue_metric("f1", zeros, zeros) == 0
    assert glue_metric("matthews", ones, torch.tensor([0, 1, 0, 1, 1])) == 0
    assert glue_metric("f1", ones, ones) == 1


def test_scores_of_constant_classifiers() -> None:
    pytest.importorskip("transformers")
    family = TextClassification(layers=1, hidden=4, heads=1, feedforward=4, batch_size=300, split="test")
    params = torch.zeros(2, family.layout.size)
    family.layout.unflatten(params)["classifier.bias"][0, 1] = 1
    family.layout.unflatten(params)["classifier.bias"][1, 0] = 1
    yes = family.token_set().labels.double().mean().item()
    assert glue_scores(family, params) == pytest.approx([yes, 1 - yes])
    assert glue_scores(replace(family, dropout=0.3), params) == pytest.approx([yes, 1 - yes])
