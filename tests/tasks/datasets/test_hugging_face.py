"""Against a stand-in for the library with the types and calls that are used of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.data import info, load
from rayl2o.tasks.datasets import hugging_face
from rayl2o.tasks.datasets.registry import source_of
from rayl2o.tasks.networks.mlp import MLP


class Image:
    """Stands for ``datasets.Image``."""


@dataclass
class ClassLabel:
    num_classes: int
    dtype: str = "int64"


@dataclass
class Value:
    dtype: str


@dataclass
class Table:
    """Stands for ``datasets.Dataset``."""

    features: Mapping[str, Any]
    columns: Mapping[str, list[Any]]
    _fingerprint: str | None = "f"

    def __getitem__(self, key: str | int) -> Any:
        return self.columns[key] if isinstance(key, str) else {name: rows[key] for name, rows in self.columns.items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(next(iter(self.columns.values())))))


@dataclass
class Hub:
    """What the library finds, by path and configuration, and how it was asked."""

    sets: dict[tuple[str, str | None], Any] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def load_dataset(self, path: str, config: str | None) -> Any:
        self.asked.append(("load", path, config))
        if (path, config) not in self.sets:
            raise FileNotFoundError(f"Dataset '{path}' doesn't exist on the Hub\nor cannot be accessed")
        return self.sets[path, config]

    def load_from_disk(self, path: str) -> Any:
        self.asked.append(("disk", path, None))
        return self.sets[path, None]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found, module = Hub(), ModuleType("datasets")
    for name, value in (("Image", Image), ("ClassLabel", ClassLabel), ("Value", Value)):
        setattr(module, name, value)
    module.load_dataset, module.load_from_disk = found.load_dataset, found.load_from_disk  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    yield found
    for cached in (hugging_face._opened, hugging_face._columns, hugging_face._info):
        cached.cache_clear()


def pictures(count: int, shape: tuple[int, ...] = (4, 3, 3), seed: int = 0) -> list[Any]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8))


def images(count: int, fingerprint: str = "f", shape: tuple[int, ...] = (4, 3, 3)) -> Table:
    labels = [i % 3 for i in range(count)]
    features = {"img": Image(), "label": ClassLabel(3), "id": Value("int64")}
    return Table(features, {"img": pictures(count, shape), "label": labels, "id": labels}, fingerprint)


def test_images_of_the_hub(hub: Hub) -> None:
    hub.sets["some/set", "small"] = {"train": images(7), "test": images(5, "g")}
    name = "hf:some/set@small"
    assert (info(name).shape, info(name).classes) == ((3, 4, 3), 3)
    train, test = load(name), load(name, "test")
    assert (train.inputs.shape, test.labels.tolist()) == ((7, 36), [0, 1, 2, 0, 1])
    picture = torch.from_numpy(pictures(7)[2]).permute(2, 0, 1) / torch.tensor(255.0)
    assert torch.equal(train.inputs[2].reshape(3, 4, 3), picture)
    assert hub.asked == [("load", "some/set", "small")]
    assert len(load(name, "half-2").labels) == 4


def test_grey_images_have_one_channel(hub: Hub) -> None:
    hub.sets["grey", None] = {"train": images(2, "grey", (4, 3))}
    assert info("hf:grey").shape == (1, 4, 3)


def test_a_task_can_be_built_on_it(hub: Hub) -> None:
    hub.sets["task", None] = {"train": images(9, "task"), "test": images(3, "task2")}
    family = MLP(data="hf:task", hidden=(4,), batch_size=2)
    assert family.layout.size == 36 * 4 + 4 + 4 * 3 + 3
    batch = family.build([family.sample(torch.Generator())])
    assert torch.isfinite(batch.loss_and_grad(batch.init_params([0]), batch.draw_batch([0]))[0]).all()


def table(a: list[float], fingerprint: str | None, labels: list[int] | None = None) -> Table:
    features = {"a": Value("float32"), "word": Value("string"), "b": Value("int8"), "label": Value("int64")}
    columns: dict[str, list[Any]] = {
        "a": a,
        "word": ["x"] * len(a),
        "b": [3] * len(a),
        "label": labels or [i % 2 for i in range(len(a))],
    }
    return Table(features, columns, fingerprint)


def test_columns_of_numbers_are_scaled_by_the_training_part(hub: Hub) -> None:
    hub.sets["table", None] = {"train": table([0.0, 5.0, 10.0], None), "validation": table([-1.0, 2.5, 20.0], None)}
    assert (info("hf:table").shape, info("hf:table").classes) == ((2,), 2)
    assert source_of("hf:table").digest("train") is None
    assert load("hf:table").inputs.tolist() == [[0, 0], [0.5, 0], [1, 0]]
    assert load("hf:table", "test").inputs[:, 0].tolist() == [0, 0.25, 1]


def test_the_digest_follows_the_librarys_fingerprint_and_what_is_read(hub: Hub) -> None:
    digests = set()
    for path, print_ in (("one", "f"), ("two", "g")):
        hub.sets[path, None] = {"train": images(3, print_), "test": images(3, "t")}
        digests |= {source_of(f"hf:{path}").digest("train"), source_of(f"hf:{path}").digest("test")}
    digests.add(source_of("hf:two#id").digest("train"))
    assert len(digests) == 5
    assert None not in digests


def test_folders(hub: Hub, tmp_path: Path) -> None:
    for name in ("saved", "files"):
        (tmp_path / name).mkdir()
        hub.sets[str(tmp_path / name), None] = {"train": images(4)}
    (tmp_path / "saved" / "dataset_dict.json").touch()
    assert info(f"hf:{tmp_path}/saved").classes == info(f"hf:{tmp_path}/files").classes == 3
    assert [how for how, _, _ in hub.asked] == ["disk", "load"]


def test_a_table_without_parts_is_a_training_part(hub: Hub) -> None:
    hub.sets["flat", None] = images(4, "flat")
    assert len(load("hf:flat").labels) == 4
    with pytest.raises(UserError, match=r"no 'test' part: got \['train'\]"):
        load("hf:flat", "test")


def test_the_column_of_labels_must_be_clear(hub: Hub) -> None:
    two = {"fine": ClassLabel(3), "coarse": ClassLabel(2), "img": Image()}
    columns = {"fine": [0, 1, 2], "coarse": [0, 0, 1], "img": pictures(3)}
    hub.sets["two", None] = {"train": Table(two, columns, "two"), "test": Table(two, columns, "two")}
    with pytest.raises(UserError, match=r"no single column of labels: got \['fine', 'coarse'\].*as in hf:two#COLUMN"):
        info("hf:two")
    assert (info("hf:two#coarse").classes, load("hf:two#fine").labels.tolist()) == (2, [0, 1, 2])


def test_labels_that_are_none(hub: Hub) -> None:
    hub.sets["bad", None] = {"train": table([1, 2], "b"), "test": table([1, 2], "b", [-1, -1])}
    with pytest.raises(UserError, match=r"bad labels in 'test'.*does this part come without labels"):
        load("hf:bad", "test")
    hub.sets["float", None] = {"train": table([1, 2], "b", [0.5, 1.0])}  # type: ignore[list-item]
    with pytest.raises(UserError, match="bad labels in 'train'"):
        load("hf:float")


def test_inputs_that_cannot_be_told(hub: Hub) -> None:
    text = Table({"text": Value("string"), "label": ClassLabel(2)}, {"text": ["a"], "label": [0]})
    hub.sets["text", None] = {"train": text}
    with pytest.raises(UserError, match="inputs cannot be told from its columns"):
        info("hf:text")
    mixed = images(2, "mixed")
    mixed.columns["img"][1] = pictures(1, (5, 3, 3))[0]
    hub.sets["mixed", None] = {"train": mixed}
    with pytest.raises(UserError, match=r"an image of another form.*all of one size, here \(3, 4, 3\)"):
        load("hf:mixed")
    hub.sets["nan", None] = {"train": table([1.0, float("nan")], "n")}
    with pytest.raises(UserError, match="no finite number"):
        load("hf:nan")


def test_data_that_cannot_be_had(hub: Hub) -> None:
    with pytest.raises(UserError) as caught:
        load("hf:no/such")
    assert "FileNotFoundError: Dataset 'no/such' doesn't exist on the Hub)" in str(caught.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    hugging_face._opened.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'rayl2o\[datasets\]'"):
        MLP(data="hf:some/set")
