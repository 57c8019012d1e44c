"""The public archives of data sets: where they are published, how large they are, and their checksums.

The MD5 sums of CIFAR stand on its own page, those of Fashion-MNIST in its repository; those of MNIST are what torchvision checks.
The SHA-256 sums are what several independent libraries check for the same files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_CIFAR_BATCH = 10_000 * 3073


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        file: Its name, at the end of its address.
        size: Bytes.
        md5, sha256: Hex digests.
    """

    file: str
    size: int
    md5: str
    sha256: str


@dataclass(frozen=True)
class Publication:
    """A data set as it is published.

    Attributes:
        folder: Where it goes under the data folder; also the folder inside a tar file.
        bases: Addresses that the files' names are appended to, tried in order.
        archives: The files.
        members: For tar files: what is taken out, with the largest size that it may have. Empty where the files themselves
            are what is read.
        examples: Their number by part.
    """

    folder: str
    bases: tuple[str, ...]
    archives: tuple[Archive, ...]
    examples: Mapping[str, int]
    members: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(archive.size for archive in self.archives)


_CIFAR10 = Publication(
    folder="cifar-10-batches-bin",
    bases=("https://www.cs.toronto.edu/~kriz/",),
    archives=(
        Archive(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c32a1d4ab5d03f1284b67883e8d87530",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    examples={"train": 50_000, "test": 10_000},
    members={
        **{f"data_batch_{i}.bin": _CIFAR_BATCH for i in range(1, 6)},
        "test_batch.bin": _CIFAR_BATCH,
        "batches.meta.txt": 1000,
    },
)
_CIFAR100 = Publication(
    folder="cifar-100-binary",
    bases=("https://www.cs.toronto.edu/~kriz/",),
    archives=(
        Archive(
            "cifar-100-binary.tar.gz",
            168_513_733,
            "03b5dce01913d631647c71ecec9e9cb8",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
    ),
    examples={"train": 50_000, "test": 10_000},
    members={
        "train.bin": 50_000 * 3074,
        "test.bin": 10_000 * 3074,
        "fine_label_names.txt": 10_000,
        "coarse_label_names.txt": 10_000,
    },
)

PUBLICATIONS: Mapping[str, Publication] = MappingProxyType(
    {
        "mnist": Publication(
            folder="mnist",
            # The first is the mirror that torchvision prefers; the second, the original, often refuses.
            bases=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
            archives=(
                Archive(
                    "train-images-idx3-ubyte.gz",
                    9_912_422,
                    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                Archive(
                    "train-labels-idx1-ubyte.gz",
                    28_881,
                    "d53e105ee54ea40749a09fcbcd1e9432",
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                Archive(
                    "t10k-images-idx3-ubyte.gz",
                    1_648_877,
                    "9fb629c4189551a2d022fa330f9573f3",
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                Archive(
                    "t10k-labels-idx1-ubyte.gz",
                    4_542,
                    "ec29112dd5afa0611ce80d1b7f02629c",
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
            examples={"train": 60_000, "test": 10_000},
        ),
        "fashion-mnist": Publication(
            folder="fashion-mnist",
            bases=(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
            archives=(
                Archive(
                    "train-images-idx3-ubyte.gz",
                    26_421_880,
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                Archive(
                    "train-labels-idx1-ubyte.gz",
                    29_515,
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                Archive(
                    "t10k-images-idx3-ubyte.gz",
                    4_422_102,
                    "bef4ecab320f06d8554ea6380940ec79",
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                Archive(
                    "t10k-labels-idx1-ubyte.gz",
                    5_148,
                    "bb300cfdad3c16e7a12a480ee83cd310",
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
            examples={"train": 60_000, "test": 10_000},
        ),
        "cifar10": _CIFAR10,
        "cifar100": _CIFAR100,
        "cifar100-coarse": _CIFAR100,
    }
)
"""By data set."""
