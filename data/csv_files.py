"""Interactions that people bring: CSV, TSV or Parquet, under names of their own."""

import math
from pathlib import Path

import polars as pl

from .encode import Encoded, encode, encode_parts
from .features import (
    CLOCK_FIELDS,
    KINDS,
    Feature,
    Features,
    add_fields,
    describe_features,
    make_clock_field,
    make_row_field,
    make_side,
)
from .locate import find_own_split, read_file
from .readers import Roles, sniff_layout
from .splitting import (
    SplitRule,
    check_keeps_parts,
    check_rule,
    make_dataset,
    split_at,
    split_rows,
)
from .tables import TextTable, decompress, read_parquet, read_text
from .types import DataError, Dataset

FEATURE_OWNERS = ("user", "item", "row")


def load_csv(
    *,
    path: str,
    separator: str = "",
    user: str = "user",
    item: str = "item",
    label: str = "rating",
    time: str = "",
    threshold: float | None = None,
    user_path: str = "",
    item_path: str = "",
    features: tuple[str, ...] = (),
    min_interactions: int = 5,
    split: str = "leave_one_out",
    shares: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    reward_split: str = "leave_one_out",
) -> Dataset:
    """Loads a data set from a text file with a header, or from Parquet; either may be gzipped.

    Args:
      path: the file of interactions; or a folder that is split already, with one file each of
        train, valid and test (train.csv, X.valid.tsv, X-test.parquet), whose rows all stay there.
      separator: of its columns; one character, or "::"; empty for the likeliest of tab, comma,
        semicolon, bar and "::".
      user: the column of user ids: whole numbers of any size, or words.
      item: the column of item ids; otherwise as ``user``.
      label: the column of labels; empty where every row is a positive.
      time: the column of times: numbers since 1970 (see ``data/columns.py``) or ISO dates; empty
        where the order of the file is that of time.
      threshold: a label above it is 1; None where the column holds 0 and 1.
      user_path: a file about users, with the ids in a column of the same name; empty where the
        columns of features are in the file of interactions.
      item_path: a file about items; otherwise as ``user_path``.
      features: "user.COLUMN", "item.COLUMN" or "row.COLUMN" for an interaction's own, each with
        ":list" behind it for several categories between bars and ":number" for a number; "hour"
        and "weekday" of the time. A field is named after its column.
      min_interactions, split, shares, seed, reward_split: see ``data/splitting.py``.

    Raises:
      DataError: for what cannot be read or used, with line or row, and column.
    """
    rule = check_rule(
        SplitRule(
            split=split,
            shares=shares,
            seed=seed,
            min_interactions=min_interactions,
            reward_split=reward_split,
        )
    )
    check_threshold(threshold, label)
    if not path:
        raise DataError("data.path is empty: give the file of interactions, --config.data.path=...")
    wanted = _parse_features(features, bool(time))
    check_distinct({"user": user, "item": item, "label": label, "time": time})
    file = Path(path).expanduser()
    roles = Roles(user=user, item=item, label=label, time=time, ids=None)
    table, encoded, sizes = _read_interactions(file, separator, roles, threshold, rule)
    side_tables = {
        "user": (read_table(user_path, "user_path", separator) if user_path else table, user),
        "item": (read_table(item_path, "item_path", separator) if item_path else table, item),
    }
    _check_side_paths({"user": user_path, "item": item_path}, wanted)
    extra = _make_features(wanted, table, encoded, side_tables)
    rows = add_fields(encoded.rows, extra.fields)
    train, valid, test = split_at(rows, sizes) if sizes else split_rows(rows, rule)
    return make_dataset(
        name=file.name.split(".")[0],
        source=path,
        train=train,
        valid=valid,
        test=test,
        rule=rule,
        notes=(*encoded.notes, *describe_features(extra)),
        sizes={field: index.size for field, index in encoded.indexes.items()} | extra.sizes,
        sides=extra.sides,
        indexes=encoded.indexes,
    )


def check_threshold(threshold: float | None, label: str) -> None:
    """Checks that a threshold is a number, and that there are labels to compare with it.

    Raises:
      DataError: otherwise.
    """
    if threshold is None:
        return
    if not math.isfinite(threshold):
        raise DataError(f"data.threshold must be a finite number or None, got {threshold}")
    if not label:
        raise DataError(
            f"data.threshold={threshold:g} needs a column of labels, data.label, and it is empty: "
            f"leave the threshold out where every row is a positive"
        )


def check_distinct(columns: dict[str, str]) -> None:
    """Checks that no two keys of the config name one column.

    Raises:
      DataError: if two do.
    """
    for key, name in columns.items():
        if first := next((k for k in columns if k != key and columns[k] == name != ""), None):
            raise DataError(
                f"data.{key} and data.{first} both name the column {name!r}: each has its own"
            )


def _check_side_paths(paths: dict[str, str], wanted: list[Feature | str]) -> None:
    """Checks that features are read from each file about users or items."""
    for key, path in paths.items():
        if path and not any(isinstance(f, Feature) and f.of == key for f in wanted):
            raise DataError(f"data.{key}_path is given, and no {key}.COLUMN is in data.features")


def _read_interactions(
    path: Path, separator: str, roles: Roles, threshold: float | None, rule: SplitRule
) -> tuple[TextTable, Encoded, list[int]]:
    """Returns the table of a file or a folder, its interactions, and the sizes of its parts."""
    if not path.is_dir():
        table = read_table(str(path), "path", separator)
        return table, encode(table, roles, threshold), []
    check_keeps_parts(rule, str(path))
    tables = [read_table(str(file), "path", separator) for file in find_own_split(path)]
    return encode_parts(tables, roles, threshold)


def read_table(path: str, key: str, separator: str) -> TextTable:
    """Reads a file that people name as data.``key``: text with a header, or Parquet.

    Raises:
      DataError: if it cannot be read.
    """
    raw = decompress(read_file(Path(path).expanduser(), key), path)
    if raw.startswith(b"PAR1"):
        return read_parquet(raw, path)
    return read_text(raw, path, sniff_layout(raw, separator))


def _parse_features(features: tuple[str, ...], timed: bool) -> list[Feature | str]:
    """Returns the features that words ask for; those of time as they are."""
    wanted: dict[str, Feature | str] = {}
    for word in features:
        if word in CLOCK_FIELDS and not timed:
            raise DataError(f"data.features: {word!r} needs times: name their column, data.time")
        feature = word if word in CLOCK_FIELDS else _parse_feature(word)
        name = feature if isinstance(feature, str) else feature.name
        if name in {"user", "item", *wanted}:
            raise DataError(f"data.features: two fields are called {name!r}. Rename a column.")
        wanted[name] = feature
    return list(wanted.values())


def _parse_feature(word: str) -> Feature:
    place, _, kind = str(word).partition(":")
    of, _, name = place.partition(".")
    if of not in FEATURE_OWNERS or not name or (kind or "category") not in KINDS:
        raise DataError(
            f"data.features: expected user.COLUMN, item.COLUMN or row.COLUMN, with :list or "
            f":number behind it if it is one, or {' or '.join(CLOCK_FIELDS)}; got {word!r}"
        )
    return Feature(name, of, kind or "category", pl.col(name))


def _make_features(
    wanted: list[Feature | str],
    table: TextTable,
    encoded: Encoded,
    side_tables: dict[str, tuple[TextTable, str]],
) -> Features:
    fields, sides, sizes = {}, {}, {}
    for feature in wanted:
        if isinstance(feature, str):
            fields[feature], sizes[feature] = make_clock_field(feature, encoded.time)
        elif feature.of == "row":
            fields[feature.name], sizes[feature.name] = make_row_field(feature, table, encoded.at)
        else:
            source, key = side_tables[feature.of]
            values, size = make_side(feature, source, key, encoded.indexes[feature.of])
            sides[feature.name] = values
            if size is not None:
                sizes[feature.name] = size
    return Features(fields, sides, sizes)
