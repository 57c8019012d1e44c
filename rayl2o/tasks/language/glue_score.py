"""How well params of a text classifier do, by the metric that GLUE has for the set (paper S, Table 9)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rayl2o.tasks.language.bert import Bert
from rayl2o.tasks.language.glue import glue_task
from rayl2o.tasks.language.text_classification import TextClassification


def glue_scores(family: TextClassification, params: Tensor) -> list[float]:
    """GLUE's metric, in [-1, 1], of K classifiers on all examples of the family's split; without dropout.

    Args:
        family: Whose set and split are meant; take ``replace(family, split="test")`` for what it was not trained on.
        params: ``[K, D]``.

    Raises:
        UserError: If ``transformers`` is missing or the data cannot be read.
    """
    bert, data = Bert(family.shape), family.token_set().to(params.device)
    predicted = torch.empty(len(params), len(data.labels), dtype=torch.int64, device=params.device)
    with torch.no_grad():
        for rows in torch.split(torch.arange(len(data.labels), device=params.device), family.batch_size):
            for one, found in zip(params, predicted, strict=True):
                sentences = data.sentences(rows.unsqueeze(0), params.dtype)
                found[rows] = bert.logits(one.unsqueeze(0), sentences).argmax(2).squeeze(0)
    return [glue_metric(glue_task(family.data).metric, found, data.labels) for found in predicted]


def glue_metric(metric: str, predicted: Tensor, labels: Tensor) -> float:
    """A metric of GLUE from classes int64 ``[N]``: ``accuracy``, ``f1`` of class 1, or ``matthews`` correlation of two classes.

    Where nothing is predicted or present that a ratio needs, it is 0.
    """
    if metric == "accuracy":
        return float((predicted == labels).double().mean())
    true_no, false_yes, false_no, true_yes = (int(n) for n in torch.bincount(2 * labels + predicted, minlength=4))
    if metric == "f1":
        return 2 * true_yes / max(2 * true_yes + false_yes + false_no, 1)
    margins = (true_yes + false_yes) * (true_yes + false_no) * (true_no + false_yes) * (true_no + false_no)
    return (true_yes * true_no - false_yes * false_no) / math.sqrt(max(margins, 1))
