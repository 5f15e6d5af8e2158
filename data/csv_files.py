"""Interactions that people bring: CSV, TSV or Parquet, under names of their own."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from .encode import Encoded, encode_all
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
from .tables import TextTable, guess_columns, read_columnar, read_text, read_whole
from .types import DataError, Dataset

MAX_COLUMNS = 12  # in a note
FEATURE_OWNERS = ("user", "item", "row")


def load_csv(
    *,
    path: str,
    separator: str = "",
    quoted: bool = True,
    columns: tuple[str, ...] = (),
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
    """Loads a data set from a text file, Parquet, Arrow, Avro or JSON lines, compressed or not.

    Args:
      path: the file of interactions; or a folder that is split already, with one file each of
        train, valid and test (train.csv, X.valid.tsv, X-test.parquet), whose rows all stay there.
      separator: of its columns; one character, or "::"; empty for the one by which the first line
        has the columns that are named here, or else for the likeliest.
      quoted: whether a field in double quotes may hold separators and line ends; if not, quotes are
        letters like others.
      columns: the names of all columns in their order, if the first line has not got them.
      user: the column of user ids: whole numbers of any size and sign, or words.
      item: the column of item ids; otherwise as ``user``.
      label: the column of labels; empty where every row is a positive.
      time: the column of times: numbers since 1970, or dates (see ``data/times.py``); empty
        where the order of the file is that of time.
      threshold: a label above it is 1; None where the column holds 0 and 1, or another two values
        that ``columns.read_labels`` knows.
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
    side_paths = {"user": user_path, "item": item_path}
    _check_side_paths(side_paths, wanted)
    file = Path(path).expanduser()
    if file.is_dir():
        check_keeps_parts(rule, path)
    roles = Roles(user=user, item=item, label=label, time=time, ids=None)
    form = TextForm(separator=separator, quoted=quoted, columns=tuple(columns))
    tables, roles, guesses = read_own_tables(file, form, roles)
    table, encoded, sizes = encode_all(tables, roles, threshold)
    extra = _make_features(
        wanted, table, encoded, _read_sides(side_paths, table, form._replace(columns=()), roles)
    )
    rows = add_fields(encoded.rows, extra.fields)
    train, valid, test = split_at(rows, sizes) if sizes else split_rows(rows, rule)
    return make_dataset(
        name=file.name.split(".")[0],
        source=path,
        train=train,
        valid=valid,
        test=test,
        rule=rule,
        notes=(*map(describe_table, tables), *guesses, *encoded.notes, *describe_features(extra)),
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


class TextForm(NamedTuple):
    """What people say about how their text files are written."""

    separator: str = ""
    quoted: bool = True
    columns: tuple[str, ...] = ()


def read_own_tables(
    path: Path, form: TextForm, roles: Roles
) -> tuple[list[TextTable], Roles, list[str]]:
    """Reads the table of a file, or those of a folder's train, valid and test.

    Returns:
      The tables, which columns hold what, and a note where that was guessed.

    Raises:
      DataError: if one cannot be read, or lacks a column.
    """
    names = [name for name in roles[:4] if name]
    files = find_own_split(path) if path.is_dir() else [path]
    tables = [read_table(str(file), "path", form, names) for file in files]
    columns = {"user": roles.user, "item": roles.item, "label": roles.label}
    guessed, notes = guess_columns(tables, columns)
    user, item, label = guessed.values()
    return tables, roles._replace(user=user, item=item, label=label), notes


def read_table(path: str, key: str, form: TextForm, wanted: Sequence[str]) -> TextTable:
    """Reads a file that people name as data.``key``.

    Args:
      path: of text, Parquet, Arrow, Avro or JSON lines, compressed or not.
      key: of the config.
      form: of text.
      wanted: names of columns that it has, if it is what is meant.

    Raises:
      DataError: if it cannot be read.
    """
    raw = read_whole(read_file(Path(path).expanduser(), key), path)
    separator, quoted, columns = form
    if len({*columns}) < len(columns):
        raise DataError(f"data.columns names one column twice: {', '.join(columns)}")
    if table := read_columnar(raw, path):
        if columns:
            raise DataError(
                f"{path} is no text and has names of columns: leave data.columns out, and give "
                f"those that are meant as data.user, data.item, data.label and data.time"
            )
        return table
    layout = sniff_layout(raw, separator, wanted=wanted, columns=columns, quoted=quoted)
    table = read_text(raw, path, layout)
    if columns and any(table.frame[name][0] == name for name in table.frame.columns):
        raise DataError(
            f"{path}, line 1: the names of columns are there: leave data.columns out, or the line "
            f"would be taken for an interaction."
        )
    return table


def _read_sides(
    paths: dict[str, str], table: TextTable, form: TextForm, roles: Roles
) -> dict[str, tuple[TextTable, str]]:
    """Returns the table with the features of users and of items, and its column of ids.

    ``table`` is that of the interactions, which has them where there is no path.
    """
    keys = {"user": roles.user, "item": roles.item}
    return {
        owner: (
            read_table(path, f"{owner}_path", form, (keys[owner],)) if path else table,
            keys[owner],
        )
        for owner, path in paths.items()
    }


def describe_table(table: TextTable) -> str:
    """Returns what was read of a file, and how.

    Example:
      >>> describe_table(TextTable("x.parquet", pl.DataFrame({"user": ["1"], "item": ["2"]})))
      'x.parquet: 1 rows, columns: user, item'
    """
    how = ""
    if table.layout:
        quoted = table.layout.quoted and b'"' in table.raw
        how = f" separated by {table.layout.separator!r}{', in quotes' if quoted else ''}"
    columns = table.frame.columns
    shown = ", ".join(columns[:MAX_COLUMNS]) + (", ..." if len(columns) > MAX_COLUMNS else "")
    return f"{Path(table.path).name}: {len(table.frame):,} rows, columns{how}: {shown}"


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
