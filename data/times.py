"""When interactions happened: seconds since 1970, of numbers and dates. Letters: ``n`` rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from .columns import NUMBER, describe_value, find_first_bad, locate_row, require_columns
from .tables import TextTable
from .types import DataError

# Times up to the first are seconds, up to the next milliseconds, and so on to nanoseconds: each is
# the year 5138 in its unit, and no unit's times after 1973 are below the one before.
UNIT_LIMITS = (1e11, 1e14, 1e17)
UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
# Seconds since 1970 in 1973 and in 2100. Smaller ones are numbers in some order, such as 1, 2, 3.
FIRST_DATE, LAST_DATE = 1e8, 4.1e9
# Dates as numbers, such as 20240105 or 2024010518: how many digits the time of the day has.
COMPACT_DIGITS = (0, 2, 4, 6)
YEARS = (1900, 2100)
# A date; then perhaps a time of the day, with AM or PM; then perhaps how far it is from UTC.
MOMENT = (
    r"^(?<date>\S.*?)"
    r"(?:(?:[T ]|, ?)(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2}(?:[.,]\d+)?))?"
    r" ?(?<half>[AaPp][Mm])?"
    r" ?(?<offset>Z|z|UTC|GMT|[-+]\d{2}(?::?\d{2})?)?)?$"
)
BASIC_MOMENT = r"^(\d{8})T(\d{2})(\d{2})(\d{2})"  # ISO without signs between numbers
DATE_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%B %d %Y"),
)
EXPECTED = "a date such as 2024-05-31 or 2024-05-31 18:00:00+02:00"


class Times(NamedTuple):
    """When rows were written, and how that was read."""

    seconds: np.ndarray  # float64 [n], since 1970, or other numbers that are in order
    note: str


def read_times(tables: Sequence[TextTable], name: str) -> Times:
    """Returns the times of the rows of some tables, one after the other, for all in one way.

    Numbers are seconds since 1970, but if the largest is over 1e11 milliseconds, over 1e14
    microseconds, over 1e17 nanoseconds. If all are dates as in 20240105, with or without hours,
    minutes and seconds behind it, that is what they are. Small numbers are just in order.

    Raises:
      DataError: naming the first place that is no time; where days and months cannot be told apart;
        for numbers of two units; and for times after the year 2100.

    Example:
      >>> table = TextTable("f", pl.DataFrame({"t": ["1970-01-02", "1970-01-01 00:00:09"]}))
      >>> read_times([table], "t").seconds.tolist()
      [86400.0, 9.0]
    """
    for table in tables:
        require_columns(table, (name,))
    text = pl.concat([table.frame[name].str.strip_chars() for table in tables])
    numbers = text.cast(pl.Float64, strict=False)
    # A file of dates has not one number.
    if numbers.null_count() == len(numbers) > text.null_count():
        return _read_dates(tables, name, text)
    _check_all(tables, name, numbers.is_finite().fill_null(False), NUMBER.expected)
    values = numbers.to_numpy()
    compact = _read_compact(values)
    if compact is not None:
        return Times(compact, f"{describe_range(compact)}; read as dates such as {text[0]}")
    unit = int(np.searchsorted(UNIT_LIMITS, np.abs(values).max(initial=0)))
    seconds = values / 1000.0**unit
    late = seconds.max(initial=0)
    if late < FIRST_DATE:
        note = f"times: numbers from {values.min():.15g} to {values.max():.15g}, and no dates"
        return Times(seconds, f"{note}; their order alone counts")
    _check_units(tables, name, values, unit)
    expected = f"a time in {UNITS[unit]} since 1970, before the year 2100"
    _check_all(tables, name, pl.Series(np.abs(seconds) <= LAST_DATE), expected)
    early = int((seconds < FIRST_DATE).sum())
    warning = f"; WARNING: {early:,} of them before 1973, where most are later" if early else ""
    return Times(seconds, f"{describe_range(seconds)}; read as {UNITS[unit]} since 1970{warning}")


def describe_range(seconds: np.ndarray) -> str:
    """Returns the first and the last of some times since 1970.

    Example:
      >>> describe_range(np.array([1.6e9, 1.7e9]))
      'times: 2020-09-13 12:26:40 to 2023-11-14 22:13:20, UTC'
    """
    first, last = (
        datetime.fromtimestamp(float(time), UTC).strftime("%Y-%m-%d %H:%M:%S")
        for time in (seconds.min(), seconds.max())
    )
    return f"times: {first} to {last}, UTC"


def _check_all(tables: Sequence[TextTable], name: str, good: pl.Series, expected: str) -> None:
    """Checks bool [n]; a DataError names the first row that is not good."""
    if not good.all():
        table, row = locate_row(tables, find_first_bad(good))
        raise describe_value(table, name, row, expected)


def _check_units(tables: Sequence[TextTable], name: str, values: np.ndarray, unit: int) -> None:
    """Checks that no number is a date of our time in a smaller unit than that of the largest."""
    own = np.searchsorted(UNIT_LIMITS, np.abs(values))
    as_own = values / 1000.0**own
    is_other = (own < unit) & (as_own >= FIRST_DATE) & (as_own <= LAST_DATE)
    if is_other.any():
        other = UNITS[int(own[np.flatnonzero(is_other)[0]])]
        expected = f"a time in {UNITS[unit]} since 1970 as in other rows, and not in {other}"
        _check_all(tables, name, pl.Series(~is_other), expected)


def _read_compact(values: np.ndarray) -> np.ndarray | None:
    """Returns seconds of numbers that all are dates, such as 20240105; None for others."""
    if not values.size or values.min() < 1e7 or (values != np.floor(values)).any():
        return None
    for digits in COMPACT_DIGITS:
        day, clock = np.divmod(values, 10.0**digits)
        if not ((day >= YEARS[0] * 1e4) & (day < YEARS[1] * 1e4)).all():
            continue
        dates = pl.Series(day.astype(np.int64)).cast(pl.String).str.to_date("%Y%m%d", strict=False)
        padded = clock * 10.0 ** (6 - digits)
        hour, minute, second = padded // 10_000, padded // 100 % 100, padded % 100
        if dates.null_count() or hour.max() > 23 or minute.max() > 59 or second.max() > 59:
            continue
        return dates.dt.epoch("s").to_numpy() + hour * 3600.0 + minute * 60.0 + second
    return None


def _read_dates(tables: Sequence[TextTable], name: str, text: pl.Series) -> Times:
    """Returns the times of dates in words."""
    text = text.str.replace(BASIC_MOMENT, "$1 $2:$3:$4")
    part = text.str.extract_groups(MOMENT).struct.unnest()
    date = part["date"].fill_null("")
    form, days = _find_format(tables, name, date)
    good = days.dt.year().is_between(*YEARS).fill_null(False)
    _check_all(tables, name, good, EXPECTED)
    hour, minute, second = (
        part[key].str.replace(",", ".").cast(pl.Float64).fill_null(0.0).to_numpy()
        for key in ("hour", "minute", "second")
    )
    half = part["half"].str.to_lowercase()
    is_half = half.is_not_null().to_numpy()
    in_range = np.where(is_half, (hour >= 1) & (hour <= 12), hour < 24)
    _check_all(tables, name, pl.Series(in_range & (minute < 60) & (second < 61)), EXPECTED)
    hour = np.where(is_half, hour % 12 + 12 * (half == "pm").fill_null(False).to_numpy(), hour)
    clock = hour * 3600 + minute * 60 + second
    seconds = days.dt.epoch("s").to_numpy() + clock - _read_offsets(part["offset"])
    given = part["offset"].is_not_null()
    zone = "their offsets from UTC are heeded" if given.all() else "taken for UTC"
    if given.any() and not given.all():
        zone = "WARNING: some have an offset from UTC, the others are taken for UTC"
    return Times(seconds, f"{describe_range(seconds)}; read as {form}; {zone}")


def _find_format(tables: Sequence[TextTable], name: str, date: pl.Series) -> tuple[str, pl.Series]:
    """Returns the format that fits all dates, or most of those that fit the first, and days [n]."""
    first = pl.Series([date[0]])
    likely = [
        form for form in DATE_FORMATS if not first.str.to_date(form, strict=False).null_count()
    ]
    if not likely:
        _check_all(tables, name, pl.Series([False] * len(date)), EXPECTED)
    days = {form: date.str.to_date(form, strict=False) for form in likely}
    fitting = {form: values for form, values in days.items() if not values.null_count()}
    others = list(fitting.values())[1:]
    if not all(values.equals(next(iter(fitting.values()))) for values in others):
        shown = " or ".join(_in_words(form) for form in fitting)
        raise DataError(
            f"{tables[0].path}, column {name!r}: {date[0]!r} and all others can be read as "
            f"{shown}. Write dates as 2024-05-31."
        )
    best = next(iter(fitting), min(likely, key=lambda form: days[form].null_count()))
    return _in_words(best), days[best]


def _in_words(form: str) -> str:
    """Returns a format as people write it.

    Example:
      >>> _in_words("%d/%m/%Y")
      'day/month/year'
    """
    words = {"%Y": "year", "%m": "month", "%d": "day", "%b": "month", "%B": "month"}
    for sign, word in words.items():
        form = form.replace(sign, word)
    return form


def _read_offsets(offset: pl.Series) -> np.ndarray:
    """Returns the seconds [n] that clocks are ahead of UTC."""
    parts = offset.str.extract_groups(r"^(?<sign>[-+])(?<hour>\d{2}):?(?<minute>\d{2})?$")
    part = parts.struct.unnest()
    hour, minute = (part[k].cast(pl.Float64).fill_null(0.0).to_numpy() for k in ("hour", "minute"))
    sign = np.where((part["sign"] == "-").fill_null(False).to_numpy(), -1.0, 1.0)
    return sign * (hour * 3600 + minute * 60)
