"""Features of users, items and interactions: values by hand."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from autolossgen import data
from autolossgen.data.columns import Index
from autolossgen.data.features import (
    Feature,
    make_clock_field,
    make_row_field,
    make_side,
    select_features,
)
from autolossgen.data.tables import TextTable

ITEMS = TextTable(
    "items.csv",
    pl.DataFrame(
        {
            "id": ["3", "1", "9", "2"],
            "genre": ["War", "", "Opera", "Drama"],
            "genres": ["War|Drama|War", None, "Opera", "|Drama"],
            "year": ["1990", "1994", "2050", None],
        }
    ),
)


def item(name, kind):
    return make_side(Feature(name, "item", kind, pl.col(name)), ITEMS, "id", Index(None, 4))


def test_a_category_has_a_number_and_none_is_minus_one():
    found, size = item("genre", "category")
    assert found.field == "item"
    assert found.values.tolist() == [[-1], [-1], [0], [1]]  # Opera is of no item of the data
    assert (found.values.dtype, size) == (np.int32, 2)


def test_several_categories_stand_in_one_row_each_once():
    found, size = item("genres", "list")
    assert found.values.tolist() == [[-1, -1], [-1, -1], [0, -1], [0, 1]]
    assert size == 2


def test_a_number_is_standardised_over_the_known():
    found, size = item("year", "number")
    assert found.values.tolist() == [0, 1, 0, -1]
    assert (found.values.dtype, size) == (np.float32, None)


def test_of_one_id_the_last_row_with_a_value_counts():
    table = TextTable("f", pl.DataFrame({"u": ["1", "1", "1", "0"], "x": ["a", "b", "", "a"]}))
    found, _ = make_side(Feature("x", "user", "category", pl.col("x")), table, "u", Index(None, 2))
    assert found.values.tolist() == [[0], [1]]


def test_what_cannot_be_a_feature_is_named():
    with pytest.raises(data.DataError, match=r"items.csv, row 1, genre: .* number, got 'War'"):
        item("genre", "number")
    with pytest.raises(data.DataError, match=r"column 'gener' \(did you mean 'genre'\?\)"):
        item("gener", "category")
    genre = Feature("genre", "item", "category", pl.col("genre"))
    nobody = Index(pl.Series([100, 2_000]), 2)
    other_ids = (
        r"none of its 4 ids .* is an item .* such as '3', '1', '9', .* interactions 100, 2000"
    )
    with pytest.raises(data.DataError, match=other_ids):
        make_side(genre, ITEMS, "id", nobody)
    empty = TextTable("f", pl.DataFrame({"id": ["100", "7"], "genre": ["", "War"]}))
    with pytest.raises(data.DataError, match="no item of the interactions has the feature 'genre'"):
        make_side(genre, empty, "id", nobody)


def test_hours_are_of_dates_alone():
    with pytest.raises(data.DataError, match=r"'hour' needs dates, .* numbers up to 300\."):
        make_clock_field("hour", np.array([5.0, 300.0]))


def test_an_interaction_without_a_category_has_one_for_that():
    table = TextTable("f", pl.DataFrame({"device": ["phone", None, "desk", "phone"]}))
    feature = Feature("device", "row", "category", pl.col("device"))
    ids, size = make_row_field(feature, table, np.array([3, 2, 1]))
    assert (ids.tolist(), ids.dtype, size) == ([1, 0, 2], np.int32, 3)
    assert make_row_field(feature, table, np.array([0]))[1] == 1
    with pytest.raises(data.DataError, match="an interaction has one category, and no number"):
        make_row_field(feature._replace(kind="number"), table, np.array([0]))


def test_the_clock_is_that_of_utc():
    moments = np.random.default_rng(0).integers(0, 2_000_000_000, 500)
    theirs = [datetime.fromtimestamp(int(second), UTC) for second in moments]
    for name, size, expected in [
        ("hour", 24, [moment.hour for moment in theirs]),
        ("weekday", 7, [moment.weekday() for moment in theirs]),
    ]:
        ids, found = make_clock_field(name, moments.astype(float))
        assert (ids.tolist(), ids.dtype, found) == (expected, np.int32, size)


def test_features_are_chosen_by_name():
    assert select_features(("year", "age", "year"), ["age", "year"]) == ("year", "age")
    assert select_features((), ["age"]) == ()
    with pytest.raises(data.DataError, match=r"'aeg' is not a feature .*did you mean 'age'\?"):
        select_features(("aeg",), ["age", "year"])
    with pytest.raises(data.DataError, match="which has none"):
        select_features(("age",), [])
