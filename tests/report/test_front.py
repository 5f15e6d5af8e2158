"""The front of reward and length, against every pair compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolossgen.report import on_front

# Few values, so that there are ties of all kinds.
losses = st.lists(st.tuples(st.integers(1, 5), st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75])))


def beats(one, other):
    """At least as short and as good, and not the same in both."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(losses)
def test_the_front_is_what_no_other_beats(pairs):
    expected = [not any(beats(one, each) for one in pairs) for each in pairs]
    assert on_front([pair[0] for pair in pairs], [pair[1] for pair in pairs]) == expected


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(5, 0.7), (3, 0.7)], [False, True]),  # of equal reward the shorter
        ([(3, 0.6), (3, 0.7)], [False, True]),  # of equal length the better
        ([(3, 0.7), (3, 0.7)], [True, True]),
        ([(9, 0.6), (3, 0.7), (1, 0.5)], [False, True, True]),
    ],
)
def test_ties(pairs, expected):
    assert on_front(*zip(*pairs, strict=True)) == expected


def test_as_many_rewards_as_lengths():
    with pytest.raises(ValueError, match="shorter"):
        on_front([1, 2], [0.5])
