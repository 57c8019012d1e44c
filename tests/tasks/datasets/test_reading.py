from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.reading import reading


def test_what_a_library_raises_becomes_one_line() -> None:
    with pytest.raises(UserError, match=r"cannot be read \(KeyError: 'first'\): got 'hf:x'"), reading("hf:x"):
        raise KeyError("first")
    with pytest.raises(UserError) as caught, reading("hf:x"):
        raise ConnectionError("first\nsecond")
    assert "second" not in str(caught.value)
    with pytest.raises(UserError, match="mine"), reading("hf:x"):
        raise UserError("mine", value=1, mend="")
