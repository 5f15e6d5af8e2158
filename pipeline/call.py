"""A run from Python: ``find_loss`` does what the command line does, with keywords for flags."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ml_collections import ConfigDict
from rich.console import Console

from autolossgen.configs.command_line import (
    UsageError,
    check_read,
    find_shipped_configs,
    read_command_line,
)
from autolossgen.configs.overrides import change_config, flatten_changes
from autolossgen.files import write_atomically
from autolossgen.search.checkpoints import CheckpointError
from autolossgen.suggest import did_you_mean

from .finished.run import Run, load_run
from .main import BadInput, carry_out, get_open_keys
from .terminal.interrupt import Interrupt, Stopped
from .terminal.log import LoggedConsole
from .workdir import OWN_DATA, check_workdir

INTERRUPTED = "stopping as soon as what is done can be kept; interrupt again to stop at once"
COLUMNS = {"user": "user", "item": "item", "rating": "label", "time": "time"}
"""Keyword of ``find_loss`` -> key of the data section."""


def find_loss(
    data: Any = None,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    threshold: float | None = None,
    config: str = "",
    preset: str = "",
    workdir: str | Path = "",
    quiet: bool = False,
    **changes: Any,
) -> Run:
    """Searches a loss for interactions, tests it and trains a recommender on all of them.

    The same call goes on with a run that was stopped, and returns a finished one at once.

    Args:
      data: a frame (polars, pandas or what polars reads, such as a dictionary of columns), or a
        path: of a CSV, TSV or Parquet file, or of a folder with train.tsv and test.tsv. None for
        the data of the config.
      user: name of the column of users' ids.
      item: name of the column of items' ids.
      rating: name of the column of ratings. None if each row is a like: losses of rankings are
        then compared, those of configs/topk.py.
      time: name of the column of times; None if the rows are in time order.
      threshold: a rating above it is a like (in rankings: from it on); None for ratings 0 and 1.
      config: name or file of a config; csv with ratings, and topk without, if left out.
      preset: of the config, such as "smoke".
      workdir: folder of the run's files; runs/NAME if left out.
      quiet: whether nothing is printed. What would be is in ``run.log`` of the folder.
      **changes: any key of the config: ``seed=1``, ``search={"generations": 5}`` or
        ``**{"search.generations": 5}``.

    Returns:
      The finished run.

    Raises:
      ValueError: for data, names or values that cannot be used, with what to do.
      KeyboardInterrupt: if it was interrupted; all that is finished is kept.

    Example:
      >>> find_loss({"u": [1, 2], "i": [3, 4]}, user="u", item="item")
      Traceback (most recent call last):
      ...
      ValueError: item='item': the frame has no such column; it has u, i
    """
    columns = {"user": user, "item": item, "rating": rating, "time": time}
    named = {key: name for key, name in columns.items() if name is not None}
    given = _choose_data(data, named, config)
    settings = _read_config(config or ("csv" if rating is not None else "topk"), preset, given)
    if threshold is not None:
        given["data.threshold"] = float(threshold)
    _change(settings, given | dict(flatten_changes(changes)))
    folder = Path(workdir or Path("runs") / settings.name).expanduser()
    console = LoggedConsole(highlight=False, quiet=quiet, **_choose_output())
    try:
        if data is not None and not isinstance(data, str | Path):
            settings.data.path = str(folder / OWN_DATA)
            _keep_frame(_read_frame(data, named), folder, settings)
        with Interrupt(lambda number: console.print(INTERRUPTED)) as interrupt:
            carry_out(settings, folder, console, interrupt)
    except (BadInput, CheckpointError) as error:
        _tidy_up(folder)
        raise ValueError(_without_flags(str(error))) from None
    except Stopped as stopped:
        raise KeyboardInterrupt(str(stopped).replace("command", "call")) from None
    return load_run(folder)


def _choose_data(data: Any, named: Mapping[str, str], config: str) -> dict[str, Any]:
    """Returns the keys of the data section that data and columns set.

    Raises:
      ValueError: for data that are not there, or columns that are not.
    """
    if data is None:
        if named or not config:
            raise ValueError(
                "find_loss takes a frame or the path of a file as its first argument, or "
                "config='ml100k' or another config that names its data"
            )
        return {}
    keys: dict[str, Any] = {f"data.{COLUMNS[key]}": name for key, name in named.items()}
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        if not path.exists():
            is_config = str(data) in find_shipped_configs()
            hint = f": for this data set give config={str(data)!r} alone" if is_config else ""
            raise ValueError(f"{str(data)!r} is no file and no folder{hint}")
        keys["data.path"] = str(data)
        if path.is_dir() and not named and not config:
            return keys  # split already, in files of topk's own
    if not config or config == "topk":
        keys |= {"data.name": "csv", "data.label": named.get("rating", "")}
    return keys


def _read_config(source: str, preset: str, given: Mapping[str, Any]) -> ConfigDict:
    """Reads a config, as the command line does.

    Raises:
      ValueError: if it cannot be read.
    """
    flag = f"--config={source}:{preset}" if preset else f"--config={source}"
    try:
        settings = read_command_line(["find_loss", flag]).config
    except UsageError as error:
        raise ValueError(_without_flags(str(error))) from None
    if unread := [key for key in given if key.partition(".")[2] not in settings.data]:
        raise ValueError(
            f"config {source!r} has data of its own, and no {unread[0]}: leave the data out, or "
            "give config='csv' or config='topk'"
        )
    return settings


def _change(settings: ConfigDict, changes: Mapping[str, Any]) -> None:
    """Changes keys of a config.

    Raises:
      ValueError: for a key that it does not have or would not read, or a value of another type.
    """
    keywords = {*COLUMNS, "threshold", "config", "preset", "workdir", "quiet"}
    change_config(settings, changes, others=keywords)
    try:
        check_read(settings, changes)
    except UsageError as error:
        raise ValueError(_without_flags(str(error))) from None


def _read_frame(data: Any, named: Mapping[str, str]) -> pl.DataFrame:
    """Returns a frame as polars has it.

    Raises:
      ValueError: for what is no frame, or has not the columns.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    try:
        if hasattr(data, "columns") and not isinstance(data, pl.DataFrame):
            data = {str(name): _read_pandas_column(data[name]) for name in data.columns}
        frame = pl.DataFrame(data)
    except Exception as error:  # whatever is given
        what = type(data).__name__
        raise ValueError(
            f"find_loss takes a frame or a path, got {what}, which polars cannot read: {error}"
        ) from None
    for key, name in named.items():
        if name not in frame.columns:
            hint = did_you_mean(name, frame.columns, otherwise="")
            has = ", ".join(frame.columns)
            raise ValueError(f"{key}={name!r}: the frame has no such column{hint}; it has {has}")
    return frame


def _read_pandas_column(column: Any) -> Any:
    """Returns the values of a column of pandas, for which polars alone would need PyArrow."""
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column.to_numpy()
    return [None if gone else value for value, gone in zip(column, column.isna(), strict=True)]


def _keep_frame(frame: pl.DataFrame, folder: Path, settings: ConfigDict) -> None:
    """Writes the frame into the folder of the run, unless that has the same one.

    Raises:
      BadInput: if the folder holds another run.
    """
    file = folder / OWN_DATA
    try:
        check_workdir(folder, settings.to_dict(), open_keys=get_open_keys(settings))
        if (folder / "config.json").exists():
            if not pl.read_parquet(file).equals(frame):
                raise ValueError(
                    f"{folder} holds the run of other interactions; choose another --workdir, or "
                    "remove that folder"
                )
            return
        raw = io.BytesIO()
        frame.write_parquet(raw)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, raw.getvalue())
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise BadInput(str(error)) from None


def _tidy_up(folder: Path) -> None:
    """Removes the frame from a folder in which no run has begun."""
    file = folder / OWN_DATA
    if file.exists() and not (folder / "config.json").exists():
        file.unlink()
        folder.rmdir()


def _choose_output() -> dict[str, Any]:
    """Returns options of a console: a notebook gets plain lines, which it can also keep."""
    in_notebook = Console().is_jupyter
    return {"force_jupyter": False, "force_terminal": False} if in_notebook else {}


def _without_flags(message: str) -> str:
    """Returns a message of the command line as it reads in Python.

    Example:
      >>> _without_flags("choose another --workdir, or give --config.data.label=...")
      'choose another workdir, or give rating=...'
    """
    message = re.sub(r"--(config\.)?(?=\w)", "", message)
    keywords = {key: keyword for keyword, key in COLUMNS.items()} | {"threshold": "threshold"}
    names = "|".join(keywords)
    return re.sub(rf"\bdata\.({names})\b", lambda match: keywords[match[1]], message)
