"""Features of users, items and interactions. Letters: ``n`` interactions, ``m`` categories of one.

All are off until a config names them: a recommender must not carry fields that it does not read.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from autolossgen.interfaces import Side
from autolossgen.suggest import did_you_mean

from .columns import Index, find_first_bad, require_columns
from .tables import TextTable
from .times import FIRST_DATE
from .types import DataError, Interactions

KINDS = ("category", "list", "number")
HOUR, DAY = 3_600, 86_400  # seconds
# Of the time of an interaction, UTC: how many there are, and which one.
CLOCK_FIELDS = {
    "hour": (24, lambda seconds: seconds // HOUR % 24),
    "weekday": (7, lambda seconds: (seconds // DAY + 3) % 7),  # 0 is Monday; 1970 began a Thursday
}


class Feature(NamedTuple):
    """One known property of users, items or interactions."""

    name: str
    of: str  # "user", "item", or "row" for an interaction
    kind: str  # "category"; "list" for several of them between "|"; "number"
    text: pl.Expr  # of the columns of a table; null where it is not known


def select_features(wanted: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Returns the names ``wanted`` out of ``known``; "all" selects every one.

    Raises:
      DataError: for any other.

    Example:
      >>> select_features(("all",), ["age", "genres"])
      ('age', 'genres')
    """
    known = tuple(known)
    for name in wanted:
        if name != "all" and name not in known:
            raise DataError(
                f"data.features: {name!r} is not a feature of this data"
                + (did_you_mean(str(name), ["all", *known]) if known else ", which has none")
            )
    return known if "all" in wanted else tuple(dict.fromkeys(wanted))


def make_side(
    feature: Feature, table: TextTable, key: str, index: Index
) -> tuple[Side, int | None]:
    """Builds a feature of users or items, and the number of its categories (None for numbers).

    ``key`` is the column of ``table`` with their ids; of one id the last row with a value counts.

    Raises:
      DataError: if a column is missing, no id is known, a number is none, or no user or item has a
        value.

    Example:
      >>> table = TextTable("f", pl.DataFrame({"id": ["1", "2"], "genres": ["War|Drama", "War"]}))
      >>> genres = Feature("genres", "item", "list", pl.col("genres"))
      >>> make_side(genres, table, "id", Index(None, 3))[0].values
      array([[-1, -1],
             [ 0,  1],
             [ 1, -1]], dtype=int32)
    """
    text = _read_text(feature, table, key)
    row = index.read(table, key)
    if (row < 0).all():
        given = table.frame[key].head(3).to_list()
        raise DataError(
            f"{table.path}: none of its {len(row):,} ids in the column {key!r} is {_a(feature.of)} "
            f"of the interactions: they are such as {', '.join(repr(one) for one in given)}, and "
            f"those of the interactions {index.show()}. Write ids in one way in both."
        )
    frame = pl.DataFrame({"row": row, "text": text, "place": np.arange(len(row))})
    frame = frame.filter((pl.col("row") >= 0) & pl.col("text").is_not_null())
    frame = frame.unique("row", keep="last", maintain_order=True)
    if frame.is_empty():
        raise DataError(
            f"{table.path}: no {feature.of} of the interactions has the feature {feature.name!r}. "
            f"Leave it out of data.features."
        )
    if feature.kind == "number":
        return Side(feature.of, _standardise(feature, table, frame, index.size)), None
    words = pl.col("text").str.split("|") if feature.kind == "list" else pl.col("text")
    long = frame.select("row", word=words)
    if feature.kind == "list":
        long = long.explode("word").filter(pl.col("word") != "").unique(["row", "word"])
    code, size = _encode_words(long["word"])
    long = long.with_columns(code=code).sort("row", "code")
    place = long.select(pl.int_range(pl.len()).over("row")).to_series().to_numpy()
    ids = np.full((index.size, int(place.max(initial=0)) + 1), -1, np.int32)
    ids[long["row"].to_numpy(), place] = long["code"].to_numpy()
    return Side(feature.of, ids), size


def _a(owner: str) -> str:
    return f"{'an' if owner == 'item' else 'a'} {owner}"


def _read_text(feature: Feature, table: TextTable, *others: str) -> pl.Series:
    require_columns(table, (*others, *feature.text.meta.root_names()))
    text = table.frame.select(feature.text.str.strip_chars()).to_series()
    return text.set(text == "", None)


def _encode_words(words: pl.Series) -> tuple[np.ndarray, int]:
    """Returns the number of each word in ascending order, and how many words there are."""
    categories = words.unique().sort()
    codes = np.arange(len(categories), dtype=np.int32)
    table = pl.DataFrame({"word": categories, "code": codes})
    joined = pl.DataFrame({"word": words}).join(table, on="word", how="left", maintain_order="left")
    return joined["code"].to_numpy(), len(categories)


def _standardise(feature: Feature, table: TextTable, frame: pl.DataFrame, size: int) -> np.ndarray:
    """Returns the numbers float32[size], standardised over the known ones."""
    number = frame["text"].cast(pl.Float64, strict=False)
    good = number.is_finite().fill_null(False)
    if not good.all():
        row = find_first_bad(good)
        raise DataError(
            f"{table.path}, {table.place(frame['place'][row])}, {feature.name}: expected a finite "
            f"number, got {frame['text'][row][:40]!r}. Correct it, or name it in data.features as "
            f"a category."
        )
    values, numbers = np.zeros(size, np.float32), number.to_numpy()
    values[frame["row"].to_numpy()] = (numbers - numbers.mean()) / (numbers.std() or 1.0)
    return values


def make_row_field(feature: Feature, table: TextTable, at: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns a category int32[n] of each interaction, and how many there are.

    ``at`` is the row [n] of each in ``table``. The last category means that none is known.

    Raises:
      DataError: for a kind that an interaction cannot have.
    """
    if feature.kind != "category":
        raise DataError(
            f"data.features: an interaction has one category, and no {feature.kind} as "
            f"{feature.name!r} would be. Give a number in bands, as words."
        )
    text = _read_text(feature, table).gather(at)
    code, size = _encode_words(text.drop_nulls())
    ids = np.full(at.size, size, np.int32)
    ids[text.is_not_null().to_numpy()] = code
    return ids, size + int(text.null_count() > 0)


def make_clock_field(name: str, time: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Returns hours or weekdays int32[n] of times [n] in seconds since 1970, and their number.

    Raises:
      DataError: without times, or if these are no dates.

    Example:
      >>> make_clock_field("weekday", 1.6e9 + np.array([0.0, DAY]))[0].tolist()
      [6, 0]
    """
    if time is None:
        raise DataError(f"data.features: {name!r} needs times, and the file has none")
    if time.max(initial=0) < FIRST_DATE:
        raise DataError(
            f"data.features: {name!r} needs dates, and the times of the file are numbers up to "
            f"{time.max(initial=0):.15g}. Leave it out, or give a column of dates as data.time."
        )
    size, compute_field = CLOCK_FIELDS[name]
    return compute_field(time.astype(np.int64)).astype(np.int32), size


class Features(NamedTuple):
    """The features of interactions, users and items."""

    fields: dict[str, np.ndarray]  # of interactions: name -> int32[n]
    sides: Mapping[str, Side]  # of users and items
    sizes: dict[str, int]  # categories of each field and side
    notes: tuple[str, ...] = ()


def add_fields(rows: Interactions, fields: dict[str, np.ndarray]) -> Interactions:
    """Returns interactions [n] with further fields of their own."""
    return Interactions(rows.ids | fields, rows.label)


def describe_features(features: Features) -> tuple[str, ...]:
    """Returns notes for people: each feature, and what it is known of."""
    lines = [
        f"{name}: {features.sizes[name]} categories, of an interaction" for name in features.fields
    ]
    for name, side in features.sides.items():
        if name not in features.sizes:
            lines.append(f"{name}: a number of {side.field}s, standardised")
            continue
        num_known = int(np.any(side.values >= 0, axis=1).sum())
        lines.append(
            f"{name}: {features.sizes[name]} categories, known of {num_known:,} {side.field}s"
        )
    return tuple(f"feature {line}" for line in lines)
