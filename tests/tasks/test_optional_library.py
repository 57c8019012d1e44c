from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.optional_library import import_optional


def test_what_is_there_is_imported() -> None:
    assert import_optional("json.decoder", "hf", "a test").__name__ == "json.decoder"


def test_what_is_missing_is_named_with_what_installs_it() -> None:
    with pytest.raises(UserError) as caught:
        import_optional("no_such_library.part", "hf", "a test")
    assert "a test needs a library that cannot be imported (No module named 'no_such_library')" in str(caught.value)
    assert "got 'no_such_library.part'; pip install 'rayl2o[hf]'" in str(caught.value)


def test_a_blocked_library_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'rayl2o\[hf\]'"):
        import_optional("transformers", "hf", "a test")


def test_what_is_broken_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("raise RuntimeError('built for another torch')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="built for another torch"):
        import_optional("broken_library", "hf", "a test")
    sys.modules.pop("broken_library", None)
