from __future__ import annotations

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.tabular import TABLE_SPLITS, TABLES, load_table, table_info


@pytest.mark.parametrize("name", TABLES)
def test_sizes_are_as_promised(name: str) -> None:
    table = table_info(name)
    for split in TABLE_SPLITS:
        data = load_table(name, split)
        assert data.inputs.shape == (table.count(split), table.features)
        assert data.inputs.dtype == torch.float32
        assert data.labels.dtype == torch.int64
        assert data.classes == table.classes
        assert set(data.labels.tolist()) == set(range(table.classes))


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_standardised_by_what_is_trained_on(name: str) -> None:
    whole, train, test = (load_table(name, split, dtype=torch.float64).inputs for split in TABLE_SPLITS)
    for inputs in (whole, train):
        torch.testing.assert_close(inputs.mean(0), torch.zeros_like(inputs[0]), atol=1e-12, rtol=0)
        torch.testing.assert_close(inputs.std(0, correction=0), torch.ones_like(inputs[0]))
    assert test.mean(0).abs().max() > 1e-3


def test_splits_divide_the_table() -> None:
    from sklearn.datasets import load_iris

    raw, labels = load_iris(return_X_y=True)
    train, test = (load_table("iris", split, dtype=torch.float64) for split in ("train", "test"))
    assert len(train.labels) == 120
    assert sorted(torch.cat((train.labels, test.labels)).tolist()) == sorted(labels.tolist())
    whole = load_table("iris", dtype=torch.float64)
    assert whole.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(whole.inputs.numpy(), (raw - raw.mean(0)) / raw.std(0), atol=1e-12)


def test_read_once() -> None:
    assert load_table("wine") is load_table("wine", "all")
    assert load_table("wine", dtype=torch.float64) is not load_table("wine")


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="unknown table: got 'irirs'; did you mean 'iris'"):
        load_table("irirs")
    with pytest.raises(UserError, match="unknown split"):
        load_table("iris", "valid")
