"""The front under the keys: a list to move in, a page per candidate. What a key does is a pure function of the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from rich.console import Console, Group, RenderableType
from rich.text import Text

from rayl2o.cli.candidate_detail import detail
from rayl2o.cli.front_document import SORTS, Entry, FrontDocument, listed
from rayl2o.cli.front_table import NAMES, cells, signals_of
from rayl2o.cli.output import one_line

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"
ENTER, BACK, SAVE, QUIT, SORT, REFUSED = "enter", "back", "save", "quit", "sort", "refused"
# What terminals send; the second of each pair of arrows is Windows'.
_KEYS: Mapping[str, str] = MappingProxyType({
    "\x1b[A": UP, "\x1bOA": UP, "\xe0H": UP, "\x00H": UP, "k": UP,
    "\x1b[B": DOWN, "\x1bOB": DOWN, "\xe0P": DOWN, "\x00P": DOWN, "j": DOWN,
    "\x1b[5~": PAGE_UP, "\xe0I": PAGE_UP, "\x1b[6~": PAGE_DOWN, "\xe0Q": PAGE_DOWN, " ": PAGE_DOWN,
    "\x1b[H": HOME, "\x1b[1~": HOME, "\xe0G": HOME, "\x1b[F": END, "\x1b[4~": END, "\xe0O": END,
    "\r": ENTER, "\n": ENTER, "\x1b[C": ENTER, "\x1bOC": ENTER, "\xe0M": ENTER,
    "\x1b": BACK, "\x7f": BACK, "\x08": BACK, "b": BACK, "\x1b[D": BACK, "\x1bOD": BACK, "\xe0K": BACK,
    "s": SAVE, "q": QUIT, "\x03": QUIT, "\x04": QUIT, "o": SORT, "r": REFUSED,
})  # fmt: skip
FORMULA_LINES = 4
"""Lines for the formula at the cursor below the list."""
_HELP = "arrows or number: move   enter: in full   s: save as a rule   o: order   r: refused too   q: quit"
_PAGE_HELP = "arrows: scroll   back: list   s: save as a rule   q: quit"


@dataclass(frozen=True)
class Browsing:
    """Where a reader stands.

    Attributes:
        document: What is browsed.
        engine: Only its candidates; None for all.
        sort, refused: Order, and whether refused ones are listed.
        cursor: Place in the list.
        page: Whether the candidate at the cursor is shown in full.
        offset: First line of that page that is shown.
        typed: Digits typed so far of a number.
        said: One line on what just happened.
        over: Whether the reader is done.
    """

    document: FrontDocument
    engine: str | None = None
    sort: str = SORTS[0]
    refused: bool = False
    cursor: int = 0
    page: bool = False
    offset: int = 0
    typed: str = ""
    said: str = ""
    over: bool = False

    @property
    def entries(self) -> list[Entry]:
        """The list."""
        return listed(self.document, self.sort, self.engine, self.refused)

    @property
    def current(self) -> Entry | None:
        """The candidate at the cursor; None if the list is empty."""
        entries = self.entries
        return entries[self.cursor] if entries else None


def press(state: Browsing, key: str, save: Callable[[Entry], str], height: int, length: int = 0) -> Browsing:
    """The state after a key.

    Args:
        state: Before.
        key: What the terminal sent; unknown keys change nothing.
        save: Saves a candidate and says where.
        height: Lines of the terminal.
        length: Lines of the page, where one is shown.
    """
    state = replace(state, said="")
    if key.isdecimal() and not state.page:
        return _typed(state, state.typed + key)
    state, word = replace(state, typed=""), _KEYS.get(key)
    if word == QUIT:
        return replace(state, over=True)
    if word == SAVE and state.current is not None:
        return replace(state, said=save(state.current))
    return _on_page(state, word, height, length) if state.page else _in_list(state, word, height)


def browse(start: Browsing, console: Console, key: Callable[[], str], save: Callable[[Entry], str]) -> None:
    """Draws, reads a key, and so on until the reader quits; the screen is as it was afterwards."""
    state = start
    with console.screen(hide_cursor=True) as screen:
        while not state.over:
            width, height = console.size
            screen.update(view(state, console, width, height))
            length = len(_page_lines(state, console, width)) if state.page else 0
            try:
                state = press(state, key(), save, height, length)
            except (KeyboardInterrupt, EOFError):
                return


def view(state: Browsing, console: Console, width: int, height: int) -> RenderableType:
    """The screen of a state."""
    return _page(state, console, width, height) if state.page else _list(state, width, height)


def _typed(state: Browsing, digits: str) -> Browsing:
    """Goes to the number typed so far; a digit that leads nowhere begins a new number."""
    places = {str(entry.index): place for place, entry in enumerate(state.entries)}
    number = next((text for text in (digits, digits[-1]) if text in places), None)
    if number is None:
        return replace(state, typed="", said=f"no candidate {digits} here")
    return replace(state, typed=number, cursor=places[number])


def _in_list(state: Browsing, word: str | None, height: int) -> Browsing:
    last = max(0, len(state.entries) - 1)
    step = max(1, _listed(height) - 2)
    moves = {UP: -1, DOWN: 1, PAGE_UP: -step, PAGE_DOWN: step, HOME: -last, END: last}
    if word in moves:
        return replace(state, cursor=min(max(state.cursor + moves[word], 0), last))
    if word == ENTER and state.current is not None:
        return replace(state, page=True, offset=0)
    if word == SORT:
        order = SORTS[(SORTS.index(state.sort) + 1) % len(SORTS)]
        return _kept(replace(state, sort=order, said=f"ordered by {order}"), state.current)
    if word == REFUSED:
        said = "with" if not state.refused else "without"
        return _kept(replace(state, refused=not state.refused, said=f"{said} those that were refused"), state.current)
    return state


def _kept(state: Browsing, entry: Entry | None) -> Browsing:
    """The cursor on the same candidate as before, or on the first."""
    places = [place for place, other in enumerate(state.entries) if entry is not None and other.index == entry.index]
    return replace(state, cursor=places[0] if places else 0)


def _on_page(state: Browsing, word: str | None, height: int, length: int) -> Browsing:
    step, last = max(1, height - 4), max(0, length - _room(height))
    moves = {UP: -1, DOWN: 1, PAGE_UP: -step, PAGE_DOWN: step, HOME: -last, END: last}
    if word in moves:
        return replace(state, offset=min(max(0, state.offset + moves[word]), last))
    return replace(state, page=False) if word in (BACK, ENTER) else state


def _list(state: Browsing, width: int, height: int) -> RenderableType:
    entries = state.entries
    shown = _listed(height)
    first = min(max(0, state.cursor - shown // 2), max(0, len(entries) - shown))
    lines = [_title(state, len(entries), width), *_rows(entries, first, first + shown, state.cursor, width)]
    below: list[RenderableType] = [Text("")]
    if (current := state.current) is not None:
        reasons = "".join(f"; refused: {one_line(reason.detail)}" for reason in current.candidate.refused)
        below.append(_first_lines(current.candidate.expression.pretty() + reasons, width, FORMULA_LINES))
    return Group(*lines, *below, _footer(state, _HELP, width))


def _first_lines(text: str, width: int, count: int) -> Text:
    """What fits; the whole is on the candidate's page."""
    room = width * count - 2
    return Text(text if len(text) <= room else f"{text[:room]}…", overflow="fold")


def _title(state: Browsing, count: int, width: int) -> Text:
    what = "front and refused" if state.refused else "front"
    engine = "" if state.engine is None else f" by {state.engine}"
    return _cut(Text(f"{what}{engine}: {count} formulas by {state.sort}", style="bold"), width)


def _rows(entries: Sequence[Entry], first: int, last: int, cursor: int, width: int) -> list[Text]:
    """A head and a line per candidate; the formula gets what room is left."""
    signals = signals_of(entry.candidate for entry in entries)
    table = [(f"{'>' if e.selected else ''}{e.index}", *cells(e.candidate, signals)) for e in entries]
    wide = [max(len(name), *(len(line[i]) for line in table)) for i, name in enumerate(NAMES)] if table else []
    left = len(NAMES) - 1

    def line(parts: Sequence[str], formula: str) -> str:
        padded = [p.rjust(w) if i != left else p.ljust(w) for i, (p, w) in enumerate(zip(parts, wide, strict=False))]
        return " ".join([*padded, formula])

    rows = [_cut(Text(line(NAMES, "formula"), style="dim"), width)]
    for place in range(first, min(last, len(entries))):
        entry = entries[place]
        style = "reverse" if place == cursor else "bold green" if entry.selected else ""
        style += " dim" if entry.candidate.refused else ""
        text = line(table[place], entry.candidate.expression.pretty())
        rows.append(_cut(Text(text, style=style.strip()), width))
    return rows


def _page(state: Browsing, console: Console, width: int, height: int) -> RenderableType:
    lines, room = _page_lines(state, console, width), _room(height)
    shown = lines[state.offset : state.offset + room]
    more = f"{state.offset + 1} to {state.offset + len(shown)} of {len(lines)}   " if len(lines) > room else ""
    return Group(*shown, _footer(state, more + _PAGE_HELP, width))


def _page_lines(state: Browsing, console: Console, width: int) -> list[Text]:
    entry = state.current
    if entry is None:
        return []
    lines = console.render_lines(detail(entry), console.options.update(width=width, height=None), pad=False)
    return [Text.assemble(*((part.text, part.style or "") for part in line)) for line in lines]


def _listed(height: int) -> int:
    """Candidates that fit between head and formula."""
    return max(1, height - FORMULA_LINES - 5)


def _room(height: int) -> int:
    """Lines of a page that fit above the footer."""
    return max(1, height - 2)


def _footer(state: Browsing, helping: str, width: int) -> Text:
    text = state.said or (f"number {state.typed}" if state.typed else helping)
    return _cut(Text(text, style="bold yellow" if state.said else "dim"), width)


def _cut(text: Text, width: int) -> Text:
    """On one line: a screen would fold it."""
    text.truncate(width, overflow="ellipsis")
    return text
