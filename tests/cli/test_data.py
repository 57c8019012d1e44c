from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rayl2o.cli import doctor
from rayl2o.tasks.datasets import download, survey
from rayl2o.tasks.datasets import prepare as preparing
from rayl2o.tasks.datasets.archives import PUBLICATIONS
from rayl2o.tasks.datasets.registry import SOURCES
from tests.cli.command import Said, rayl2o, refused
from tests.tasks.datasets.cifar_files import write_cifar10
from tests.tasks.datasets.idx_files import write_mnist
from tests.tasks.datasets.mirror import Mirror, mnist_files, mnist_publication, serving

FILES = mnist_files()


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RAYL2O_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """Publishes a small MNIST."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with serving(Mirror({f"/{name}": content for name, content in FILES.items()})) as found:
        published = {"mnist": mnist_publication(FILES, found.url)}
        monkeypatch.setattr(preparing, "PUBLICATIONS", published)
        monkeypatch.setattr(survey, "PUBLICATIONS", {**PUBLICATIONS, **published})
        yield found


def refused_at_last(said: Said, *says: str) -> None:
    """A mistake that shows only after some progress."""
    *_, line = said.err.splitlines(keepends=True)
    refused(Said(said.code, said.out, line), *says)


def test_list(data: Path) -> None:
    data.mkdir()
    write_cifar10(data)
    items = {item["name"]: item for item in rayl2o("data", "list", "--json").json["items"]}
    assert list(items) == list(SOURCES)
    assert {name: item["status"] for name, item in items.items() if item["status"] != "missing"} == {
        "digits": "embedded",
        "cifar10": "found",
    }
    assert items["cifar10"]["examples"] == {"train": 10, "test": 3}
    assert items["mnist"]["published"] == {"train": 60_000, "test": 10_000}
    assert items["mnist"]["folder"] == str(data / "mnist")
    assert "rayl2o data prepare mnist" in items["mnist"]["detail"]
    shown = rayl2o("data", "list")
    assert shown.code == 0
    assert all(name in shown.out for name in (*SOURCES, "hf:NAME", "torchvision:NAME"))


def test_list_without_a_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA")
    assert "$RAYL2O_DATA is not set" in rayl2o("data", "list").out
    assert rayl2o("data", "list", "--json").json["items"][1]["folder"] is None


def test_prepare_then_check(data: Path, mirror: Mirror) -> None:
    mirror.breaks = 1
    said = rayl2o("data", "prepare", "mnist", "--json")
    (item,) = said.json["items"]
    assert item["examples"] == {"train": 6, "test": 6}
    assert (item["folder"], sorted(item["fetched"]), item["set_aside"]) == (str(data / "mnist"), sorted(FILES), [])
    assert "train-images-idx3-ubyte.gz: " in said.err
    assert "it was there" in rayl2o("data", "prepare", "mnist").out
    report = rayl2o("data", "check", "mnist", "--json").json
    train, test = report["items"][0]["parts"]
    assert report["ok"] is True
    assert (train["examples"], train["labels"]) == (6, [1] * 6 + [0] * 4)
    assert [file["published"] for file in train["files"] + test["files"]] == [True] * 4
    assert train["stored"] == {"in order": "sound", "shuffled": "absent"}
    assert "published" in rayl2o("data", "check", "mnist").out


def test_check_of_all_that_is_here_says_what_is_damaged(data: Path) -> None:
    data.mkdir()
    folder = write_mnist(data)
    assert [item["name"] for item in rayl2o("data", "check", "--json").json["items"]] == ["digits", "mnist"]
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"x")
    said = rayl2o("data", "check")
    assert said.code == 1
    assert "damaged" in said.out
    assert "t10k-images-idx3-ubyte.gz" in said.out
    listed = rayl2o("data", "list", "--json").json["items"][1]
    assert listed["status"] == "damaged"
    refused_at_last(rayl2o("data", "check", "mnist"), "t10k-images-idx3-ubyte.gz", "rayl2o data prepare mnist")
    refused_at_last(rayl2o("data", "check", "cifar10"), "cifar-10-batches-bin", "rayl2o data prepare cifar10")


def test_prepare_replaces_only_when_told(data: Path, mirror: Mirror) -> None:
    data.mkdir()
    write_mnist(data, count=4)
    assert rayl2o("data", "prepare", "mnist", "--json").json["items"][0]["fetched"] == []
    again = rayl2o("data", "prepare", "mnist", "--replace", "--from", mirror.url + "/", "--json").json
    assert again["items"][0]["examples"] == {"train": 6, "test": 6}


def test_prepare_refuses_a_wrong_file(data: Path, mirror: Mirror) -> None:
    name = "/train-labels-idx1-ubyte.gz"
    mirror.files[name] = mirror.files[name][:-1] + b"\xff"
    refused_at_last(rayl2o("data", "prepare", "mnist", "--json"), "checksum", "--from URL")
    assert not list(data.glob("[!.]*"))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["data", "lst"], ("did you mean 'list'",)),
        (["data", "prepare"], ("needs a name", "rayl2o data list")),
        (["data", "prepare", "mnits"], ("did you mean 'mnist'",)),
        (["data", "prepare", "digits"], ("nothing is published", "mnist")),
        (["data", "prepare", "mnist", "--from", "ftp://host"], ("ftp://host", "http, https, file")),
        (["data", "check", "--replace"], ("--replace", "prepare")),
        (["data", "list", "--from", "http://x"], ("--from", "prepare")),
        (["data", "list", "mnist"], ("leave out the names",)),
    ],
)
def test_mistakes(args: list[str], says: tuple[str, ...]) -> None:
    refused(rayl2o(*args), *says)


def test_prepare_without_a_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA")
    refused(rayl2o("data", "prepare", "mnist"), "RAYL2O_DATA", "not set")


def test_doctor_looks_at_every_data_set() -> None:
    assert set(doctor.DATA_SETS) == set(SOURCES) - {"cifar100-coarse"}  # which is in the files of cifar100
