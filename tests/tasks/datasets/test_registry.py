from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.hugging_face import HuggingFace
from rayl2o.tasks.datasets.registry import FILE_SOURCES, SOURCES, file_source, source_of
from rayl2o.tasks.datasets.torchvision_sets import Torchvision


def test_names_lead_to_sources() -> None:
    assert all(source_of(name).name == name for name in SOURCES)
    assert source_of("hf:some/set") == HuggingFace("hf:some/set")
    assert source_of("torchvision:MNIST") == Torchvision("torchvision:MNIST")
    assert set(SOURCES) - set(FILE_SOURCES) == {"digits"}
    assert file_source("digits") is None
    assert file_source("cifar10") is SOURCES["cifar10"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("cifar-10", "did you mean 'cifar10'"), ("torchvision:CIFAR", "did you mean 'CIFAR10'"), ("hf:", "use hf:NAME")],
)
def test_unknown_names(name: str, message: str) -> None:
    for find in (source_of, file_source):
        with pytest.raises(UserError, match=message):
            find(name)
