"""From a name and an optional path to a Dataset."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path

from autolossgen.suggest import did_you_mean

from .columns import Index
from .csv_files import load_csv
from .encode import encode, encode_parts
from .features import (
    CLOCK_FIELDS,
    Features,
    add_fields,
    describe_features,
    make_clock_field,
    make_side,
    select_features,
)
from .generator import make_synthetic
from .locate import OpenSibling, find_rating_file, find_split, open_folder, read_file
from .readers import Roles, read_labelled
from .registry import DATA_SETS, SideFile
from .splitting import (
    SplitRule,
    check_keeps_parts,
    check_rule,
    make_dataset,
    split_at,
    split_rows,
)
from .stream import load_stream
from .tables import TextTable, read_text
from .types import DataError, Dataset

OTHER_BUILDERS: dict[str, Callable[..., Dataset]] = {
    "csv": load_csv,
    "stream": load_stream,
    "synthetic": make_synthetic,
}


def build(*, name: str, **options) -> Dataset:
    """Builds the data set called ``name`` from the keys of the config's data section.

    ``name`` is a key of ``DATA_SETS`` (options of ``load``), "csv" (options of ``load_csv``),
    "stream" (options of ``load_stream``) or "synthetic" (options of ``make_synthetic``).

    Raises:
      DataError: naming the known words if the name or an option is not among them.

    Example:
      >>> build(name="synthetic", num_users=50, num_items=40, num_interactions=1000, seed=1).sizes
      {'user': 51, 'item': 41}
    """
    names = [*DATA_SETS, *OTHER_BUILDERS]
    if name not in names:
        raise DataError(f"data.name={name!r} is not a data set{did_you_mean(str(name), names)}")
    builder: Callable[..., Dataset] = OTHER_BUILDERS.get(name, load)
    accepted = [word for word in inspect.signature(builder).parameters if word != "name"]
    for option in options:
        if option not in accepted:
            builders = (load, *OTHER_BUILDERS.values())
            of_another = any(option in inspect.signature(other).parameters for other in builders)
            hint = f". Its keys are those of --config=configs/{name}.py" if of_another else ""
            raise DataError(
                f"data.{option} is not an option of {name!r}{did_you_mean(option, accepted)}{hint}"
            )
    return builder(**options) if name in OTHER_BUILDERS else load(name=name, **options)


def load(
    *,
    name: str,
    path: str = "",
    threshold: float = 3.0,
    min_interactions: int = 5,
    split: str = "leave_one_out",
    shares: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    reward_split: str = "leave_one_out",
    features: tuple[str, ...] = (),
) -> Dataset:
    """Loads a data set of ``DATA_SETS`` and splits it.

    ``path`` is a rating file, the archive as it comes, a folder with either, or a folder that is
    already split into X.train.csv, X.validation.csv and X.test.csv (``uid iid label``, where rows
    are in time order and ``threshold`` does not apply). Without a path: the cache folder, then the
    network. A rating above ``threshold`` (in the file's scale) is label 1; of interactions of one
    user with one item the last is kept. ``features`` names those that are read from the files next
    to the ratings, or from the times; "all" for every one. See ``data/splitting.py`` for the
    splits.

    Raises:
      DataError: if the data cannot be found, read or split: file, line, column, what was expected.
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
    if not math.isfinite(threshold):
        raise DataError(f"data.threshold must be a finite rating, got {threshold}")
    if name not in DATA_SETS:
        raise DataError(f"{name!r} is not a data set to load{did_you_mean(str(name), DATA_SETS)}")
    origin, location = DATA_SETS[name], Path(path).expanduser() if path else None
    if location and (files := find_split(location)):
        return _load_parts(name, location, files, rule, features)
    wanted = select_features(features, [*_list_side_features(name), *CLOCK_FIELDS])
    located = find_rating_file(origin, location)
    table, roles = origin.read(located.raw, located.path)
    encoded = encode(table, roles, threshold)
    clocks = {f: make_clock_field(f, encoded.time) for f in wanted if f in CLOCK_FIELDS}
    extra = _read_sides(name, located.open_sibling, wanted, encoded.indexes)
    fields = {f: ids for f, (ids, _) in clocks.items()}
    sizes = extra.sizes | {f: size for f, (_, size) in clocks.items()}
    extra = Features(fields, extra.sides, sizes)
    train, valid, test = split_rows(add_fields(encoded.rows, fields), rule)
    return make_dataset(
        name=name,
        source=located.source,
        train=train,
        valid=valid,
        test=test,
        rule=rule,
        notes=(*encoded.notes, *describe_features(extra)),
        sizes=_get_table_sizes(encoded.indexes) | sizes,
        sides=extra.sides,
        indexes=encoded.indexes,
    )


def _load_parts(
    name: str, folder: Path, files: list[Path], rule: SplitRule, features: tuple[str, ...]
) -> Dataset:
    """Loads a folder that is already split."""
    check_keeps_parts(rule, str(folder))
    wanted = select_features(features, _list_side_features(name))
    tables = [read_labelled(read_file(file), str(file)) for file in files]
    _, encoded, sizes = encode_parts(tables, Roles(label="label", time=""), None)
    train, valid, test = split_at(encoded.rows, sizes)
    extra = _read_sides(name, open_folder(folder), wanted, encoded.indexes)
    return make_dataset(
        name=name,
        source=str(folder),
        train=train,
        valid=valid,
        test=test,
        rule=rule,
        notes=(*encoded.notes, *describe_features(extra)),
        sizes=_get_table_sizes(encoded.indexes) | extra.sizes,
        sides=extra.sides,
        indexes=encoded.indexes,
    )


def _get_table_sizes(indexes: dict[str, Index]) -> dict[str, int]:
    return {field: index.size for field, index in indexes.items()}


def _list_side_features(name: str) -> list[str]:
    """Returns the features of users and items that a set has."""
    sides = DATA_SETS[name].sides
    return list(dict.fromkeys(feature.name for file in sides for feature in file.features))


def _read_sides(
    name: str, open_sibling: OpenSibling, wanted: tuple[str, ...], index: dict[str, Index]
) -> Features:
    """Reads the features ``wanted`` from files next to the ratings."""
    tables: dict[str, tuple[SideFile, TextTable]] = {}
    sides, sizes = {}, {}
    for feature_name in wanted:
        if feature_name in CLOCK_FIELDS:
            continue
        files = [f for f in DATA_SETS[name].sides if feature_name in [x.name for x in f.features]]
        for file in files:
            if file.name not in tables and (sibling := open_sibling(file.name)):
                path, raw = sibling
                tables[file.name] = (file, read_text(raw, path, file.layout))
        located = next((tables[file.name] for file in files if file.name in tables), None)
        if located is None:
            raise DataError(
                f"data.features: {feature_name!r} is read from {' or '.join(f.name for f in files)}"
                f" next to the ratings, and there is none. Give a folder or archive that has it, "
                f"or leave the feature out."
            )
        file, table = located
        feature = next(f for f in file.features if f.name == feature_name)
        sides[feature_name], size = make_side(feature, table, file.key, index[feature.of])
        if size is not None:
            sizes[feature_name] = size
    return Features({}, sides, sizes)
