"""The recommender that stays after a run: kept in plain files, and what it recommends.

Its folder has ``recommender.json`` (what it is), ``weights.npz`` (arrays, without pickle),
``users.parquet`` and ``items.parquet`` (people's own ids, and the row of the tables that each has),
and ``seen.parquet`` (rows of user and item that are in the data).
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from autolossgen.files import read_arrays, write_arrays, write_atomically
from autolossgen.interfaces import ItemSets, ScoreFn
from autolossgen.models.closed_form import CLOSED_FORMS
from autolossgen.suggest import did_you_mean

from .network import score_by_network

FOLDER = "recommender"
ABOUT, WEIGHTS, SEEN = "recommender.json", "weights.npz", "seen.parquet"
FIELDS = ("user", "item")
BLOCK = 1024  # users that are scored together

_DAMAGES = (  # what reading files raises that are not as they were written
    OSError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    RecursionError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)


class Recommender(NamedTuple):
    """A recommender, with people's own ids."""

    about: Mapping[str, Any]  # kind, loss, settings; plain values
    weights: Mapping[str, np.ndarray]
    ids: Mapping[str, pl.DataFrame]  # "user" and "item" -> columns id and row
    seen: ItemSets  # rows of items of each row of the users' table


class RecommendError(ValueError):
    """A recommender that is not there, or a user that it does not know; says how to go on."""


def save_recommender(recommender: Recommender, run: Path) -> None:
    """Writes a recommender into the folder of its run; what it is, at last."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    write_arrays(folder / WEIGHTS, recommender.weights, {})
    seen = recommender.seen
    pairs = pl.DataFrame({"user_row": seen.users, "item_row": seen.items})
    for name, frame in {**recommender.ids, "seen": pairs}.items():
        file = io.BytesIO()
        frame.write_parquet(file)
        write_atomically(folder / _file_of(name), file.getvalue())
    write_atomically(folder / ABOUT, json.dumps(recommender.about, indent=2))


def load_recommender(run: Path) -> Recommender:
    """Reads the recommender of a run.

    Raises:
      RecommendError: if there is none, or a damaged one, with what to do.
    """
    folder = run / FOLDER
    try:
        recommender = _read(folder)
        _check(recommender)
    except FileNotFoundError:
        raise RecommendError(
            f"{run} holds no recommender: give the folder of a finished run of this version that "
            "trained one (a transfer and data that stay in their file leave none)"
        ) from None
    except _DAMAGES as error:
        raise _damaged(folder, error) from None
    return recommender


def _read(folder: Path) -> Recommender:
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    weights, _ = read_arrays(folder / WEIGHTS)
    ids = {name: pl.read_parquet(folder / _file_of(name)) for name in FIELDS}
    pairs = pl.read_parquet(folder / SEEN)
    num_users = int(ids["user"]["row"].max()) + 1  # type: ignore[arg-type]
    users, items = (pairs[name].cast(pl.Int64).to_numpy() for name in ("user_row", "item_row"))
    if len(users) and not 0 <= users.min() <= users.max() < num_users:
        raise ValueError(f"{SEEN} has users that {_file_of('user')} has not")
    seen = ItemSets.of_pairs(users, items, num_users)
    return Recommender(about=about, weights=weights, ids=ids, seen=seen)


def _check(recommender: Recommender) -> None:
    """Checks that the parts of a recommender fit each other.

    Raises:
      ValueError: if they do not.
    """
    about, ids = recommender.about, recommender.ids
    if not isinstance(about, dict) or about.get("kind") not in ("network", "closed_form", "tables"):
        raise ValueError(f"{ABOUT} does not say which kind it is of")
    for name, frame in ids.items():
        rows = frame["row"]
        if not rows.dtype.is_integer() or rows.null_count() or not frame["id"].is_unique().all():
            raise ValueError(f"{_file_of(name)} is no list of ids and their rows")
        if not len(rows) or not 0 <= rows.min() <= rows.max() < 2**31 or not rows.is_sorted():  # type: ignore[operator]
            raise ValueError(f"{_file_of(name)} has rows out of range")
        table = recommender.weights.get(name) if about["kind"] == "tables" else None
        if about["kind"] == "tables" and (
            table is None or table.ndim != 2 or rows.max() >= len(table)  # type: ignore[operator]
        ):
            raise ValueError(f"{WEIGHTS} has no table with the rows of {_file_of(name)}")
    if not np.isin(recommender.seen.items, ids["item"]["row"].to_numpy()).all():
        raise ValueError(f"{SEEN} has items that {_file_of('item')} has not")


def _damaged(folder: Path, why: BaseException) -> RecommendError:
    reason = " ".join(str(why).split()) or type(why).__name__
    return RecommendError(
        f"the recommender in {folder} is damaged ({reason}): remove results.json next to it, and "
        "the run's command trains it again"
    )


def _file_of(name: str) -> str:
    return SEEN if name == "seen" else f"{name}s.parquet"


def recommend(
    recommender: Recommender, users: Any, *, k: int = 10, exclude_seen: bool = True
) -> pl.DataFrame:
    """Returns the best items of users.

    Args:
      recommender: of a run.
      users: an id, or several: as they are in the data.
      k: items of each user, at most.
      exclude_seen: whether items that the data have with the user are left out.

    Returns:
      Columns user, item, rank (from 1) and score, of which more is better. Users are in the order
      in which they were given.

    Raises:
      RecommendError: for a user who is not in the data, or a number of items that is none.
    """
    if k < 1:
        raise RecommendError(f"k is the number of items of each user, at least 1, got {k}")
    rows = _find_rows(recommender.ids["user"], users)
    items = recommender.ids["item"]
    item_rows = items["row"].to_numpy()
    try:
        score = make_score(recommender)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(Path(FOLDER), error) from None
    parts = []
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        scores = np.array(score(block["row"].to_numpy()), np.float32)[:, item_rows]
        if exclude_seen:
            _mask(scores, recommender.seen, block["row"].to_numpy(), item_rows)
        parts.append(_take_best(scores, block["id"], items["id"], k))
    return pl.concat(parts)


def make_score(recommender: Recommender) -> ScoreFn:
    """Returns the scores of a recommender, by its kind."""
    about, weights = recommender.about, recommender.weights
    if about["kind"] == "network":
        return score_by_network(about["network"], weights)
    if about["kind"] == "closed_form":
        form = CLOSED_FORMS[about["loss"]["name"]]
        return form.fit(recommender.seen, about["num_items"], **about["settings"])
    users, items = weights["user"], weights["item"]
    if users.shape[1] != items.shape[1]:
        raise ValueError(f"{WEIGHTS} has tables of width {users.shape[1]} and {items.shape[1]}")
    return lambda rows: users[rows] @ items.T


def _find_rows(known: pl.DataFrame, users: Any) -> pl.DataFrame:
    """Returns ids and rows of users, in the order given."""
    wanted = [users] if isinstance(users, str) or not isinstance(users, Iterable) else list(users)
    if not wanted:
        raise RecommendError("recommend takes an id of a user, or several, got none")
    try:
        given = pl.DataFrame({"id": pl.Series(wanted).cast(known["id"].dtype)})
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        raise _unknown(wanted[0], known["id"]) from None
    rows = given.join(known, on="id", how="left", maintain_order="left")
    if rows["row"].null_count():
        raise _unknown(rows.filter(pl.col("row").is_null())["id"][0], known["id"])
    return rows


def _unknown(user: Any, known: pl.Series) -> RecommendError:
    examples = ", ".join(repr(one) for one in known[:3])
    is_words = known.dtype == pl.String
    kind = "words" if is_words else "whole numbers"
    hint = did_you_mean(str(user), known, otherwise="") if is_words else ""
    return RecommendError(
        f"the user {user!r} is not in the data{hint}: the ids of its {len(known):,} users are "
        f"{kind} such as {examples}"
    )


def _mask(scores: np.ndarray, seen: ItemSets, users: np.ndarray, item_rows: np.ndarray) -> None:
    """Sets the scores of what users have seen to -inf; ``item_rows`` are ascending."""
    for scores_of_user, user in zip(scores, users, strict=True):
        items = seen.items[seen.start[user] : seen.start[user + 1]]
        scores_of_user[np.searchsorted(item_rows, items)] = -np.inf


def _take_best(
    scores: np.ndarray, users: Sequence[Any] | pl.Series, items: pl.Series, k: int
) -> pl.DataFrame:
    """Returns the best items of each user; of equal ones, the one of the lower row first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    user, place = np.nonzero(best > -np.inf)
    return pl.DataFrame(
        {
            "user": pl.Series(users)[user],
            "item": items[order[user, place]],
            "rank": place + 1,
            "score": best[user, place],
        }
    )
