from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.language import bert_weights
from rayl2o.tasks.language.bert import BertShape
from rayl2o.tasks.language.bert_weights import Pretrained, find_pretrained, lowercases

TINY = BertShape(layers=1, hidden=4, heads=2, feedforward=6, vocabulary=10, positions=8, classes=2)
CONFIG = {"model_type": "bert", **TINY.config}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    flat = torch.randn(TINY.layout.size, generator=torch.Generator().manual_seed(seed))
    return {name: tensor.clone() for name, tensor in TINY.layout.unflatten(flat).items()}


def write(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any] = CONFIG) -> Pretrained:
    save_file(dict(weights), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return find_pretrained(str(folder))


def test_a_folder_that_transformers_saved(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(**TINY.config, num_labels=2)
    module = transformers.BertForSequenceClassification(config)
    module.save_pretrained(tmp_path)
    found = find_pretrained(str(tmp_path)).tensors(TINY)
    assert tuple(found) == TINY.layout.names
    assert all(torch.equal(found[name], tensor) for name, tensor in module.state_dict().items())


def test_old_names_and_other_heads(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in tensors().items() if not name.startswith(("classifier", "bert.pooler"))}
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }
    extra = {"cls.predictions.bias": torch.zeros(10), "bert.embeddings.position_ids": torch.arange(8)}
    found = write(tmp_path, {**old, **extra}).tensors(TINY)
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    bare = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
    found = write(tmp_path, bare).tensors(TINY)
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_bad_weights(tmp_path: Path) -> None:
    weights = tensors()
    with pytest.raises(UserError, match=r"shape of classifier\.weight: got \[3, 4\]; it must be \[2, 4\]"):
        write(tmp_path, {**weights, "classifier.weight": torch.zeros(3, 4)}).tensors(TINY)
    name = "bert.encoder.layer.0.output.dense.bias"
    with pytest.raises(UserError, match=f"a tensor is missing: got '{name}'"):
        write(tmp_path, {key: tensor for key, tensor in weights.items() if key != name}).tensors(TINY)
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="pretrained weights cannot be read"):
        find_pretrained(str(tmp_path)).tensors(TINY)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="pickle, which is never read"):
        find_pretrained(str(tmp_path)).tensors(TINY)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_size": 8}, "hidden_size: got 8; it must be 4, as the settings of the task say"),
        ({"num_attention_heads": 4}, "num_attention_heads: got 4; it must be 2"),
        ({"model_type": "roberta"}, "model_type: got 'roberta'; only 'bert' is built"),
        ({"hidden_act": "relu"}, "hidden_act: got 'relu'; only 'gelu' is built"),
    ],
)
def test_bad_configs(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        write(tmp_path, tensors(), {**CONFIG, **config}).tensors(TINY)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read as JSON"), ("[1]", "not a JSON object")])
def test_damaged_configs(tmp_path: Path, text: str, message: str) -> None:
    pretrained = write(tmp_path, tensors())
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        pretrained.tensors(TINY)


def test_what_a_config_leaves_out_is_bert_base(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="num_hidden_layers: got 12; it must be 1"):
        write(tmp_path, tensors(), {}).tensors(TINY)


def test_the_tokenizer_of_a_model(tmp_path: Path) -> None:
    pretrained = write(tmp_path, tensors())
    with pytest.raises(UserError, match=r"pretrained model has no vocabulary.*put the model's vocab\.txt there"):
        pretrained.tokenizer(10)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    assert pretrained.tokenizer(10).lowercase
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not pretrained.tokenizer(10).lowercase
    assert not lowercases(tmp_path / "vocab.txt")


def test_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, tuple(allow_patterns)))
        if name == "owner/gone":
            raise ConnectionError("no network")
        return str(tmp_path)

    hub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setattr(bert_weights, "import_optional", lambda module, extra, purpose: hub)
    bert_weights._download.cache_clear()
    assert find_pretrained("owner/name@1a2b").folder == tmp_path
    assert find_pretrained("some-bert").folder == tmp_path
    files = ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json")
    assert asked == [("owner/name", "1a2b", files), ("some-bert", None, files)]
    with pytest.raises(UserError, match=r"cannot be fetched from the hub \(ConnectionError\): got 'owner/gone'"):
        find_pretrained("owner/gone")
    bert_weights._download.cache_clear()


@pytest.mark.parametrize("name", ["/no/such/folder", "./here", "~/models/bert", "a/b/c"])
def test_no_folder_and_no_name(name: str) -> None:
    with pytest.raises(UserError, match="folder of a pretrained model does not exist"):
        find_pretrained(name)
