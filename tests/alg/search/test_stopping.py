"""The limits of a search, read off its last log record and its hall of fame."""

import numpy as np
import pytest

from autolossgen.search.hall_of_fame import init_hall
from autolossgen.search.stopping import Limits, find_stop_reason

RECORD = {"trained_total": 40, "seconds": 12.3}
HALL = init_hall(rows=3, length=7, num_probes=4)._replace(
    gain=np.float32([0.2, 0.1, -np.inf]), reward=np.float32([0.6, 0.7, 0.9])
)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({}, None),
        ({"candidates": 41}, None),
        ({"candidates": 40}, "40 candidates are trained"),
        ({"seconds": 12.4}, None),
        ({"seconds": 12.3}, "12.3 seconds"),
        # A reward counts in any row that is filled.
        ({"target": 0.71}, None),
        ({"target": 0.7}, "reward 0.7000"),
    ],
)
def test_a_limit_ends_the_search_when_it_is_reached(limits, reason):
    found = find_stop_reason(Limits(**limits), RECORD, HALL)
    assert found is None if reason is None else reason in found


def test_an_empty_hall_of_fame_reaches_no_target():
    assert find_stop_reason(Limits(target=0.0), RECORD, init_hall(3, 7, 4)) is None
