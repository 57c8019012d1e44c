from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from rich.console import Console

from rayl2o.cli.front_browser import Browsing, browse, press, view
from rayl2o.cli.front_document import Entry, front_document
from tests.cli.fronts import document

DOWN, UP, ENTER, ESCAPE = "\x1b[B", "\x1b[A", "\r", "\x1b"


def _start() -> Browsing:
    return Browsing(front_document(document()))


def _after(*keys: str, length: int = 0) -> Browsing:
    state = _start()
    for key in keys:
        state = press(state, key, lambda entry: f"saved {entry.index}", 30, length)
    return state


def _shown(state: Browsing, width: int, height: int = 30) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, height=height)
    console.print(view(state, console, width, height))
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("keys", "index"),
    [
        ((), 0), ((DOWN,), 1), ((DOWN, DOWN, UP), 1), ((UP,), 0), ((DOWN,) * 9, 3), (("\x1b[F",), 3), (("\x1b[F", "\x1b[H"), 0),
        (("j", "j", "k"), 1), (("\xe0P",), 1), (("3",), 3), (("3", "1"), 1), (("3", DOWN, "2"), 2), (("\x1b[6~",), 3),
        (("r", "4"), 4), (("x", "?"), 0),
    ],
)  # fmt: skip
def test_keys_move(keys: tuple[str, ...], index: int) -> None:
    current = _after(*keys).current
    assert current is not None
    assert current.index == index


def test_a_number_that_is_not_there_is_said() -> None:
    state = _after("9")
    assert state.cursor == 0
    assert "9" in state.said


def test_the_cursor_stays_on_its_candidate_when_the_order_changes() -> None:
    state = _after(DOWN, "o")
    assert state.sort == "r2"
    assert state.current is not None
    assert state.current.index == 1
    assert [entry.index for entry in state.entries] == [3, 2, 1, 0]
    back = _after("r", "4", "r")
    assert back.cursor == 0
    assert len(back.entries) == 4


def test_a_page_opens_scrolls_and_closes() -> None:
    assert _after(ENTER).page
    assert not _after(ENTER, ESCAPE).page
    assert _after(ENTER, DOWN, length=40).offset == 1
    assert _after(ENTER, *[DOWN] * 50, UP, length=40).offset == 40 - 28 - 1
    assert _after(ENTER, DOWN, length=10).offset == 0
    assert _after(ENTER, "\x1b[F", length=40).offset == 12


def test_saving_and_leaving() -> None:
    assert _after(DOWN, "s").said == "saved 1"
    assert _after(DOWN, ENTER, "s").said == "saved 1"
    assert _after("q").over
    assert _after(ENTER, "\x03").over


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("keys", [(), ("r", "4"), (DOWN, ENTER)])
def test_a_screen_fits(keys: tuple[str, ...], width: int) -> None:
    for height in (12, 30):
        lines = _shown(_after(*keys), width, height)
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width


def test_what_the_screens_say() -> None:
    text = "\n".join(_shown(_after("r", "4"), 160))
    assert "front and refused: 5 formulas by nodes" in text
    assert "refused: a constant gradient is ascended" in text
    page = "\n".join(_shown(_after(DOWN, ENTER), 80, 60))
    for words in (
        "candidate 1: selected",
        "test 0.850",
        "by run: 0.1   0.15",
        "0.1250±0.0354",
        "g_tilde 6.00",
        "LaTeX",
        "def update",
    ):
        assert words in page, words


def test_the_loop_ends_with_q_and_with_the_end_of_input() -> None:
    saved: list[int] = []

    def save(entry: Entry) -> str:
        saved.append(entry.index)
        return "saved"

    def typed(keys: Iterator[str]) -> str:
        key = next(keys, None)
        if key is None:
            raise EOFError
        return key

    for keys in ([DOWN, ENTER, DOWN, "s", ESCAPE, "q"], [DOWN, "s"]):
        file, left = io.StringIO(), iter(keys)
        console = Console(file=file, width=80, height=24, force_terminal=True)
        browse(_start(), console, lambda left=left: typed(left), save)  # type: ignore[misc]
        assert "formulas by nodes" in file.getvalue()
    assert saved == [1, 1]


def test_an_engine_without_formulas_left_is_an_empty_list() -> None:
    from dataclasses import replace

    from rayl2o.symbolic.front import Front

    found = front_document(document())
    bare = replace(found, front=Front((), ()))
    state = press(Browsing(bare), ENTER, lambda entry: "", 30)
    assert not state.page
    assert "0 formulas" in "\n".join(_shown(state, 80))
