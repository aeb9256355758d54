"""The page's colours against WCAG 2.1, in both schemes."""

import re
from importlib.resources import files

import pytest

STYLE = (files("kvmprobe.reports.html_report") / "page" / "style.css").read_text(encoding="utf-8")
# WCAG 2.1, success criterion 1.4.3: 4.5 for text; 1.4.11: 3 for graphics and focus.
TEXT, GRAPHICS = 4.5, 3.0
ON_GROUNDS = [
    *[(ink, ground, TEXT) for ink in ("ink", "quiet", "link") for ground in ("ground", "panel")],
    *[(ink, "soft", TEXT) for ink in ("ink", "quiet")],
    *[("alarm", ground, TEXT) for ground in ("ground", "panel", "alarm-soft")],
    *[("ink", ground, TEXT) for ground in ("alarm-soft", "mark")],
    ("quiet", "alarm-soft", TEXT),
    *[(v, f"{v}-ground", TEXT) for v in ("pass", "fail", "crash", "xfail", "xpass", "time")],
    ("broken", "broken-ground", TEXT),
    ("skip", "ground", TEXT),
    ("skip", "panel", TEXT),
    *[(ink, "panel", GRAPHICS) for ink in ("kernel", "alarm", "open", "focus")],
    ("focus", "ground", GRAPHICS),
    *[(f"curve-{letter}", "ground", GRAPHICS) for letter in "abcdef"],
]


def _colours(text):
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", text))


LIGHT = _colours(STYLE[: STYLE.index("@media (prefers-color-scheme: dark)")])
DARK = LIGHT | _colours(STYLE[STYLE.index("@media (prefers-color-scheme: dark)") :])


def luminance(colour):
    """WCAG 2.1, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_black_on_white_is_21_to_1():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), ON_GROUNDS)
def test_colours_have_contrast(scheme, ink, ground, least):
    assert contrast(scheme[ink], scheme[ground]) >= least
