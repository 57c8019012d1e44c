from __future__ import annotations

from rayl2o.presets import preset_text, presets


def test_every_preset_has_a_name_and_a_line_about_it() -> None:
    found = presets()
    assert "quickstart" in found
    assert all(summary and not summary.startswith("#") for summary in found.values())
    assert all(preset_text(name).startswith("#") for name in found)
