"""The terminal's table: order, numbers, and labels that are no markup."""

from __future__ import annotations

from rich.console import Console

from rayl2o.evaluate.comparison import compare
from rayl2o.evaluate.table import result_table
from tests.evaluate.examples import runs_of


def _text(label: str = "rnnprop", width: int = 140) -> str:
    console = Console(width=width, record=True, force_terminal=False, quiet=False, file=None, color_system=None)
    with console.capture() as capture:
        console.print(result_table(compare(runs_of(label), label, ["mlp-orig"])))
    return capture.get()


def test_best_first_within_each_task() -> None:
    text = _text()
    first, second = text.index("mlp-orig"), text.index("mlp-relu")
    names = ["rnnprop", "formula", "adam", "momentum"]
    for begin, end in ((first, second), (second, len(text))):
        places = [text[begin:end].index(f"│ {name}") for name in names]
        assert places == sorted(places)


def test_numbers_verdicts_and_divergence() -> None:
    rows = compare(runs_of(), "rnnprop", ["mlp-orig"])
    text = _text()
    for row in rows:
        assert f"{row.mean_loss:.4f}" in text
        if row.difference is not None:
            assert f"{row.difference.mean:+.4f}" in text
            assert f"{row.difference.low:+.4f} to {row.difference.high:+.4f}" in text
    assert text.count("reference") == 2
    assert "1 of 6 diverged" in text
    assert "(not trained on)" in text
    assert "minus rnnprop" in text


def test_labels_are_not_markup() -> None:
    assert "[bold]odd[/bold]" in _text("[bold]odd[/bold]")


def test_fits_a_narrow_terminal() -> None:
    assert max(len(line) for line in _text(width=80).splitlines()) <= 80
