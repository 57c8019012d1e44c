from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.language.bert import Bert, BertShape
from rayl2o.tasks.language.tokens import Sentences

TINY = BertShape(layers=2, hidden=8, heads=2, feedforward=12, vocabulary=30, positions=12, classes=3)
BASE = BertShape(layers=12, hidden=768, heads=12, feedforward=3072, vocabulary=30522, positions=512, classes=2)


def example(k: int = 3) -> tuple[Tensor, Sentences]:
    rng = torch.Generator().manual_seed(0)
    params = 0.3 * torch.randn(k, TINY.layout.size, generator=rng, dtype=torch.float64)
    tokens = torch.randint(4, 30, (k, 5, 7), generator=rng)
    lengths = torch.randint(3, 8, (k, 5, 1), generator=rng)
    present = torch.arange(7) < lengths
    unseen = torch.zeros(k, 5, 7, dtype=torch.float64).masked_fill(~present, torch.finfo(torch.float64).min)
    types = (present & (torch.arange(7) > 2)).long()
    return params, Sentences(tokens * present, types, unseen[:, :, None, None], {})


def test_the_true_size_is_that_of_the_paper() -> None:
    transformers = pytest.importorskip("transformers")
    assert BASE.layout.size == 109_483_778
    with torch.device("meta"):
        module = transformers.BertForSequenceClassification(transformers.BertConfig())
    found = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert found == dict(zip(BASE.layout.names, BASE.layout.shapes, strict=True))
    assert tuple(found) == BASE.layout.names
    norms = {name for name, part in module.named_modules() if isinstance(part, torch.nn.LayerNorm)}
    kinds = dict(zip(BASE.layout.names, BASE.layout.kinds, strict=True))
    assert {name.rpartition(".")[0] for name, kind in kinds.items() if kind == "norm"} == norms
    assert BASE.layout.depths[0] == 0
    assert BASE.layout.depths[-1] == 14
    assert len(BASE.starts) == len(BASE.layout.names) == 201


def test_starts_are_berts_own() -> None:
    starts = dict(zip(TINY.layout.names, TINY.starts, strict=True))
    assert starts["bert.embeddings.word_embeddings.weight"].std == 0.02
    assert starts["classifier.weight"].std == 0.02
    assert (starts["bert.embeddings.LayerNorm.weight"].std, starts["bert.embeddings.LayerNorm.weight"].value) == (0, 1)
    assert (starts["bert.embeddings.LayerNorm.bias"].std, starts["bert.embeddings.LayerNorm.bias"].value) == (0, 0)
    assert (starts["bert.pooler.dense.bias"].std, starts["bert.pooler.dense.bias"].value) == (0, 0)


@pytest.mark.parametrize("k", [1, 3])
def test_it_is_the_module_of_transformers(k: int) -> None:
    transformers = pytest.importorskip("transformers")
    params, sentences = example(k)
    bert = Bert(TINY)
    logits = bert.logits(params.requires_grad_(), sentences)
    (grad,) = torch.autograd.grad(logits.square().sum(), params)
    config = transformers.BertConfig(**TINY.config, num_labels=3)
    module = transformers.BertForSequenceClassification(config).double().eval()
    for i in range(k):
        module.load_state_dict(TINY.layout.unflatten(params[i].detach()))
        mask = (sentences.unseen[i, :, 0, 0] == 0).long()
        given = {"attention_mask": mask, "token_type_ids": sentences.types[i]}
        expected = module(input_ids=sentences.tokens[i], **given).logits
        torch.testing.assert_close(logits[i], expected, rtol=1e-10, atol=1e-12)
        slopes = torch.autograd.grad(expected.square().sum(), list(module.parameters()))
        torch.testing.assert_close(grad[i], torch.cat([s.flatten() for s in slopes]), rtol=1e-8, atol=1e-12)


def test_dropout_is_what_is_given() -> None:
    pytest.importorskip("transformers")
    params, sentences = example()
    bert = Bert(TINY, dropout=True)
    shapes = bert.dropout_shapes(5, 7)
    assert set(shapes.values()) == {(5, 8), (5, 7, 8), (5, 2, 7, 7)}
    assert len(shapes) == 2 + 3 * 2
    assert Bert(TINY).dropout_shapes(5, 7) == {}
    ones = {name: torch.ones(3, *shape, dtype=torch.float64) for name, shape in shapes.items()}
    whole = bert.logits(params, Sentences(sentences.tokens, sentences.types, sentences.unseen, ones))
    torch.testing.assert_close(whole, Bert(TINY).logits(params, sentences))
    bias = TINY.layout.unflatten(params)["classifier.bias"].unsqueeze(1).expand(3, 5, 3)
    none = {**ones, "dropout.kept": torch.zeros(3, 5, 8, dtype=torch.float64)}
    torch.testing.assert_close(
        bert.logits(params, Sentences(sentences.tokens, sentences.types, sentences.unseen, none)), bias
    )
    for name in shapes:
        fewer = {**ones, name: 0.5 * ones[name]}
        changed = bert.logits(params, Sentences(sentences.tokens, sentences.types, sentences.unseen, fewer))
        assert not torch.allclose(changed, whole), name


def test_no_global_generator_is_used() -> None:
    pytest.importorskip("transformers")
    before = torch.random.get_rng_state()
    params, sentences = example()
    Bert(TINY, dropout=False).logits(params, sentences)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_large_score_at_padding_cannot_be_seen() -> None:
    pytest.importorskip("transformers")
    params, sentences = example(1)
    bert = Bert(TINY)
    changed = sentences.tokens.masked_fill(sentences.unseen[:, :, 0, 0] < 0, 29)
    one = bert.logits(params, sentences)
    two = bert.logits(params, Sentences(changed, sentences.types, sentences.unseen, {}))
    assert torch.equal(one, two)
    assert math.isfinite(one.sum())


def test_another_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(transformers, "BertForSequenceClassification", transformers.BertForMaskedLM)
    with pytest.raises(UserError, match="transformers builds BERT of other tensors"):
        Bert(TINY)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"the architecture of BERT needs.*pip install 'rayl2o\[hf\]'"):
        Bert(TINY)
