"""Formulas cut to a width."""

import pytest

from autolossgen.report.formatting import shorten


@pytest.mark.parametrize(
    ("width", "expected"),
    [(30, "log(pred) + label"), (12, "log(pred) +…"), (8, "log(…"), (3, "lo…"), (1, "…"), (0, "")],
)
def test_shorten_cuts_between_words(width, expected):
    assert shorten("log(pred) + label", width) == expected
