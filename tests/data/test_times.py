"""Times: numbers of every unit, dates in every form, and what is said of others."""

from datetime import UTC, datetime

import polars as pl
import pytest

from autolossgen import data
from autolossgen.data.tables import TextTable
from autolossgen.data.times import read_times


def table(**columns):
    return TextTable("f", pl.DataFrame(columns))


@pytest.mark.parametrize(
    "given",
    [
        ["86400", "90061.5"],
        ["86400000", "90061500"],
        ["86400000000", "90061500000"],
        ["86400000000000", "90061500000000"],
        ["1970-01-02", "1970-01-02 01:01:01.5"],
        ["1970-01-02T00:00:00Z", "1970-01-02T01:01:01.500+00:00"],
    ],
)
def test_times_are_seconds_in_every_form(given):
    zeros = len(given[0]) - 5 if given[0].isdigit() else 0
    late = 1_700_000_000 * 10**zeros if zeros else None  # tells the unit
    found = read_times([table(t=given + ([str(late)] if late else []))], "t").seconds
    assert found[:2].tolist() == [86_400, 90_061.5]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["1", "soon"], "a finite number, got 'soon'"), (["2020-01-01", "2020-13-01"], "a date such")],
)
def test_a_time_that_is_none_is_named(given, expected):
    with pytest.raises(data.DataError, match=rf"row 2, column 1 \(t\): expected {expected}"):
        read_times([table(t=given)], "t")


def seconds(*parts):
    """Returns the seconds of a moment of 2024 in UTC."""
    return datetime(2024, *parts, tzinfo=UTC).timestamp()


NIGHT, EVENING = (1, 5), (1, 25, 18, 30, 15)
FORMS = [
    ("20240105", "20240125", "dates such as 20240105"),
    ("20240105.0", "20240125.0", "dates such as 20240105"),
    ("2024010500", "2024012518", "dates such as 2024010500"),
    ("202401050000", "202401251830", "dates such as"),
    ("20240105000000", "20240125183015", "dates such as"),
    ("2024-01-05", "2024-01-25 18:30:15", "year-month-day"),
    ("2024-01-05T00:00", "2024-01-25T18:30:15Z", "year-month-day"),
    ("2024-01-05 02:00:00+02:00", "2024-01-25 20:30:15+02:00", "offsets from UTC are heeded"),
    ("2024-01-04T19:00:00-0500", "2024-01-25T13:30:15.000-0500", "offsets from UTC are heeded"),
    ("2024-01-05 00:00:00 UTC", "2024-01-25 18:30:15 UTC", "offsets from UTC are heeded"),
    ("2024-01-05 05:30 +0530", "2024-01-26 00:00:15 +05:30", "offsets from UTC are heeded"),
    ("20240105T000000Z", "20240125T183015Z", "offsets"),
    ("2024/01/05", "2024/01/25 18:30:15", "year/month/day"),
    ("05.01.2024", "25.01.2024 18:30:15", "day.month.year"),
    ("05/01/2024", "25/01/2024 18:30:15", "day/month/year"),
    ("1/5/2024 12:00 AM", "1/25/2024 6:30:15 PM", "month/day/year"),
    ("5 Jan 2024", "25 Jan 2024, 18:30:15", "day month year"),
    ("Jan 5, 2024", "Jan 25, 2024 18:30:15", "month day, year"),
    ("January 5, 2024", "January 25, 2024 06:30:15 pm", "month day, year"),
    ("05-Jan-2024", "25-Jan-2024 18:30:15", "day-month-year"),
]


@pytest.mark.parametrize(("first", "last", "note"), FORMS)
def test_dates_are_read_as_what_they_are_and_that_is_said(first, last, note):
    if note.startswith("dates such as 2024010500"):
        evening = seconds(1, 25, 18)
    elif first.startswith("20240105") and "T" not in first:
        evening = {8: seconds(1, 25), 12: seconds(1, 25, 18, 30)}.get(
            len(first.split(".")[0]), seconds(*EVENING)
        )
    else:
        evening = seconds(*EVENING)
    times = read_times([table(t=[first, last])], "t")
    assert times.seconds.tolist() == [seconds(*NIGHT), evening]
    assert note in times.note
    assert "2024-01-05 00:00:00 to 2024-01-25" in times.note


def test_numbers_in_order_are_no_dates_and_that_is_said():
    for given in (["1", "2", "300"], ["2023", "2024", "2025"], ["45296.5", "45297"]):
        times = read_times([table(t=given)], "t")
        assert times.seconds.tolist() == [float(one) for one in given]
        assert times.note.startswith(f"times: numbers from {given[0]} to {given[-1]}, and no dates")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["01/02/2024", "03/04/2024"], r"'01/02/2024' .* day/month/year or month/day/year\. Write"),
        (["1704448800000", "1704448800"], r"row 2.*milliseconds .* and not in seconds, got '17044"),
        (["1704448800", "99990105"], None),
        (["5000000000", "1"], r"row 1, .*a time in seconds since 1970, before the year 2100, got"),
        (["2024-01-05", "20240106"], "row 2, .*expected a date|row 1, .*finite number"),
        (["2024-01-05", "2024-01-05 25:00"], "row 2, .*a date such as .* got '2024-01-05 25:00'"),
        (["2024-01-05", "2024-02-30"], "row 2, .*a date such as .* got '2024-02-30'"),
        (["05/01/24", "06/01/24"], "'05/01/24' .* year/month/day or day/month/year or"),
        (["2024-01-05", ""], "row 2, .*a date such as .* got ''"),
        (["2024-01-05 10:00 CET"], "row 1, .*a date such as"),
    ],
)
def test_times_that_could_be_mistaken_are_refused(given, told):
    if told is None:
        assert "WARNING: 1 of them before 1973" in read_times([table(t=given)], "t").note
        return
    with pytest.raises(data.DataError, match=told):
        read_times([table(t=given)], "t")


def test_what_is_taken_for_utc_is_said():
    plain, both = ["2024-01-05 10:00"], ["2024-01-05 10:00+02:00", "2024-01-05 10:00"]
    assert read_times([table(t=plain)], "t").note.endswith("taken for UTC")
    times = read_times([table(t=both)], "t")
    assert times.seconds.tolist() == [seconds(1, 5, 8), seconds(1, 5, 10)]
    assert "WARNING: some have an offset from UTC, the others are taken for UTC" in times.note


def test_files_of_one_split_are_read_in_one_way():
    """01/02 alone could be either; 13/02 in the other file says which."""
    times = read_times([table(t=["01/02/2024"]), table(t=["13/02/2024"])], "t")
    assert times.seconds.tolist() == [seconds(2, 1), seconds(2, 13)]
    with pytest.raises(data.DataError, match="f, row 1, column 1"):
        read_times([table(t=["1704448800000"]), table(t=["1704448800"])], "t")
