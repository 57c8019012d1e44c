from __future__ import annotations

from rayl2o.tasks.datasets.archives import PUBLICATIONS
from rayl2o.tasks.datasets.registry import source_of


def test_members_have_the_size_of_what_is_published() -> None:
    ten, hundred = PUBLICATIONS["cifar10"], PUBLICATIONS["cifar100"]
    assert sum(size for name, size in ten.members.items() if name.startswith("data_batch")) == 50_000 * 3073
    assert (hundred.members["train.bin"], hundred.members["test.bin"]) == (50_000 * 3074, 10_000 * 3074)
    assert {name: publication.size for name, publication in PUBLICATIONS.items()} == {
        "mnist": 11_594_722,
        "fashion-mnist": 30_878_645,
        "cifar10": 170_052_171,
        "cifar100": 168_513_733,
        "cifar100-coarse": 168_513_733,
    }


def test_no_two_files_of_different_content_share_a_checksum() -> None:
    archives = {archive for name in PUBLICATIONS for archive in PUBLICATIONS[name].archives}
    assert len({archive.md5 for archive in archives}) == len({archive.sha256 for archive in archives}) == len(archives)
    assert all(source_of(name).info.classes for name in PUBLICATIONS)
