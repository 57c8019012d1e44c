"""No test of this folder waits, goes through a proxy, or finds what another one has loaded."""

from __future__ import annotations

import pytest

from rayl2o.tasks import data
from rayl2o.tasks.datasets import download


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    data._converted.cache_clear()
    data._ordered.cache_clear()
