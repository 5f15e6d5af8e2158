"""Results as CSV, and the Pareto front of length and reward against every pair compared."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolossgen.report import find_pareto_front, make_results_csv

# Few values, so that there are ties of all kinds.
losses = st.lists(st.tuples(st.integers(1, 5), st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75])))


def beats(one, other):
    """At least as short and as good, and not the same in both."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(losses)
def test_the_front_is_what_no_other_beats(pairs):
    expected = [not any(beats(one, each) for one in pairs) for each in pairs]
    assert find_pareto_front([pair[0] for pair in pairs], [pair[1] for pair in pairs]) == expected


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
    assert find_pareto_front(*zip(*pairs, strict=True)) == expected


def test_as_many_rewards_as_lengths():
    with pytest.raises(ValueError, match="shorter"):
        find_pareto_front([1, 2], [0.5])


def test_csv_has_a_row_a_loss_in_full_precision(results, formula):
    table = list(csv.DictReader(io.StringIO(make_results_csv(results))))
    assert [row["name"] for row in table[:3]] == ["found 1", "found 2", "bce"]
    assert table[0]["formula"] == formula
    assert table[0]["tokens"] == "pred log"
    assert float(table[0]["test_auc_low"]) == 0.8061 - 0.001
    assert float(table[0]["vs_best_baseline_difference"]) == 0.0031
    assert table[0]["verdict"] == "better"
    assert table[0]["seeds"] == "0 1 2"
    assert table[2]["vs_best_baseline_difference"] == table[2]["test_f1_mean"] == ""


def test_csv_without_losses_is_a_header():
    assert make_results_csv({"losses": []}) == "name\n"
