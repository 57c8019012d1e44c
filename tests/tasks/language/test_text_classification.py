from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from rayl2o.errors import UserError
from rayl2o.tasks.language.bert import Bert
from rayl2o.tasks.language.text_classification import NAMED, TextClassification
from rayl2o.tasks.language.tokens import HashedWords, ListedWords
from tests.tasks.language.glue_files import write_glue

TINY = TextClassification(
    layers=1, hidden=8, heads=2, feedforward=8, vocabulary=40, positions=16, length=16, batch_size=6
)


def named(name: str, **settings: Any) -> TextClassification:
    return TextClassification(**{**NAMED[name].defaults, **NAMED[name].fixed, **settings})


def test_published_sizes() -> None:
    sizes = {name: named(name).layout.size for name in NAMED}
    classes = {name: named(name).shape.classes for name in NAMED}
    base = {name for name in NAMED if "small" not in name}
    assert base == {"bert-cola", "bert-sst2", "bert-mrpc", "bert-mnli", "bert-qnli", "bert-qqp"}
    assert all(sizes[name] == 109_482_240 + 769 * classes[name] for name in base)
    assert sizes["bert-sst2"] == 109_483_778
    assert classes["bert-mnli"] == 3
    assert sizes["bert-small"] == sizes["bert-small-pair"] == 20_258


def test_the_library_is_imported_late() -> None:
    code = (
        "import sys, rayl2o.tasks.language.text_classification as t; t.TextClassification().layout.size;"
        "print({'transformers', 'tokenizers', 'huggingface_hub', 'pydoc_data'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "set()"


def test_losses_are_the_cross_entropy_of_each_minibatch() -> None:
    pytest.importorskip("transformers")
    tasks = TINY.build([TINY.sample(torch.Generator())] * 3, dtype=torch.float64)
    params = tasks.init_params([1, 2, 3])
    batch = tasks.draw_batch([4, 5, 4])
    assert batch.shape == (3, 7)
    assert torch.equal(batch[0], batch[2])
    data = TINY.token_set()
    assert batch[:, :-1].max() < len(data.labels)
    for k in range(3):
        rows = batch[k : k + 1, :-1]
        logits = Bert(TINY.shape).logits(params[k : k + 1], data.sentences(rows, torch.float64))
        expected = cross_entropy(logits[0], data.labels[rows[0]])
        torch.testing.assert_close(tasks.loss(params, batch)[k], expected, rtol=1e-12, atol=0)
    assert tasks.loss_and_grad(params, batch)[0].max() < math.log(2) + 0.05


def test_the_start_is_berts_own() -> None:
    pytest.importorskip("transformers")
    tensors = TINY.layout.unflatten(TINY.build([TINY.sample(torch.Generator())]).init_params([0])[0])
    words = tensors["bert.embeddings.word_embeddings.weight"]
    assert abs(words.std() - 0.02) < 0.003
    assert torch.equal(tensors["bert.embeddings.LayerNorm.weight"], torch.ones(8))
    assert not tensors["classifier.bias"].any()


def test_dropout_belongs_to_the_minibatch() -> None:
    pytest.importorskip("transformers")
    family = replace(TINY, dropout=0.5)
    tasks = family.build([family.sample(torch.Generator())] * 2, dtype=torch.float64)
    params = tasks.init_params([1, 1]) + 0.3
    same, other = tasks.draw_batch([4, 4]), tasks.draw_batch([4, 4])
    loss = tasks.loss(params, same)
    assert torch.equal(loss, tasks.loss(params, other))
    assert loss[0] == loss[1]
    other[1, -1] += 1  # the same rows, other masks
    changed = tasks.loss(params, other)
    assert changed[0] == loss[0]
    assert changed[1] != loss[1]
    before = torch.random.get_rng_state()
    tasks.loss_and_grad(params, same)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_masks_keep_the_mean() -> None:
    from rayl2o.tasks.language.text_classification import _masks

    masks = _masks([1, 2, 1], "x", (100, 50), 0.2)
    assert masks.shape == (3, 100, 50)
    assert set(masks.flatten().tolist()) == {0.0, 1.25}
    assert abs(masks.mean() - 1) < 0.02
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(_masks([1], "y", (100, 50), 0.2)[0], masks[0])


def test_pretrained_params_and_pieces(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(**TINY.shape.config)
    module = transformers.BertModel(config)  # no classifier
    module.save_pretrained(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "film", "good", "is", "not", "bad"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    family = replace(TINY, pretrained=str(tmp_path))
    tasks = family.build([family.sample(torch.Generator())] * 2)
    rows = tasks.init_params([1, 2])
    for name, tensor in module.state_dict().items():
        for row in TINY.layout.unflatten(rows)[f"bert.{name}"]:
            assert torch.equal(row, tensor)
    own = TINY.layout.unflatten(rows)["classifier.weight"]
    assert not torch.equal(own[0], own[1])
    assert torch.equal(own, TINY.layout.unflatten(_fresh([1, 2]))["classifier.weight"])
    assert family.token_set().tokens.max() == 9
    two = replace(family, layers=2)
    with pytest.raises(UserError, match=r"num_hidden_layers: got 1; it must be 2"):
        two.build([two.sample(torch.Generator())])
    alone = replace(TINY, vocab=str(tmp_path / "vocab.txt"))
    assert torch.equal(alone.token_set().tokens, family.token_set().tokens)


def _fresh(seeds: list[int]) -> torch.Tensor:
    return TINY.build([TINY.sample(torch.Generator())] * len(seeds)).init_params(seeds)


def test_glue_files_with_hashed_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    write_glue(tmp_path, "MNLI")
    family = replace(TINY, data="mnli", split="test")
    assert family.tokenizer() == HashedWords(40)
    assert isinstance(TINY.tokenizer(), ListedWords)
    tasks = family.build([family.sample(torch.Generator())])
    assert family.token_set().labels.tolist() == [0, 2]
    params = tasks.init_params([0])
    assert abs(tasks.loss_and_grad(params, tasks.draw_batch([0]))[0] - math.log(3)) < 0.05
    other = tmp_path / "other"
    write_glue(other, "MNLI", ["0\t1\t1n\tf\t(\t(\t(\t(\tA.\tB.\tneutral\tneutral"])
    monkeypatch.setenv("RAYL2O_DATA", str(other))
    assert family.token_set().labels.tolist() == [1]


def test_missing_data_and_library_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"the architecture of BERT needs.*pip install 'rayl2o\[hf\]'"):
        TINY.build([TINY.sample(torch.Generator())])


def test_large_networks_go_one_after_another() -> None:
    pytest.importorskip("transformers")
    large = replace(TINY, vocabulary=130_000)
    assert large.build([large.sample(torch.Generator())] * 2).chunk == 1
    assert TINY.build([TINY.sample(torch.Generator())] * 2).chunk > 2


def test_adam_learns_the_grammar() -> None:
    pytest.importorskip("transformers")
    family = replace(TINY, hidden=16, feedforward=16, batch_size=16)
    tasks = family.build([family.sample(torch.Generator())])
    params = tasks.init_params([0])
    adam = torch.optim.Adam([params], lr=0.01)
    losses = []
    for step in range(200):
        loss, params.grad = tasks.loss_and_grad(params, tasks.draw_batch([step]))
        adam.step()
        losses.append(float(loss))
    assert sum(losses[-50:]) / 50 < 0.5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"data": "sst-2"}, "did you mean 'sst2'"),
        ({"split": "dev"}, "unknown split"),
        ({"layers": 0}, r"text-classification\.layers is out of range: got 0; use a number of 1 or more"),
        ({"hidden": 0}, r"text-classification\.hidden"),
        ({"heads": 3}, r"text-classification\.heads does not divide hidden: got 3; use a divisor of 32"),
        ({"feedforward": 0}, r"text-classification\.feedforward"),
        ({"length": 3}, r"text-classification\.length is out of range: got 3; use a number in 4\.\.32"),
        ({"length": 33}, r"text-classification\.length"),
        ({"batch_size": 0}, r"text-classification\.batch_size"),
        ({"vocabulary": 32}, r"text-classification\.vocabulary is out of range: got 32; use a number of 33 or more"),
        ({"data": "cola", "vocabulary": 4}, r"text-classification\.vocabulary.*5 or more"),
        (
            {"dropout": 1.0},
            r"text-classification\.dropout is out of range: got 1\.0; use a number of 0 or more and below 1",
        ),
        ({"dropout": math.nan}, r"text-classification\.dropout"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TextClassification(**bad)
