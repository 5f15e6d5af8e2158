"""Files in the formats of real data sets, at any size, with the generator's preferences in them.

For tests and benchmarks, and to try a config without the data. Letters: `n` ratings.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from autolossgen.data.generator import compute_preference_logits, make_preferences
from autolossgen.data.stream import write_stream
from autolossgen.data.types import DataError, Interactions

FIRST_SECOND = 956_703_932  # of MovieLens-1M
OCCUPATIONS = ("artist", "doctor", "engineer", "other", "student", "writer")
GENRES = ("Action", "Children's", "Comedy", "Drama", "Film-Noir", "Sci-Fi", "War")
TITLE_YEARS = (1930, 2000)


class Ratings(NamedTuple):
    """Who gave which rating when; ids from 1, in no order."""

    user: np.ndarray  # int64[n]
    item: np.ndarray  # int64[n]
    rating: np.ndarray  # int64[n], 1 to 5
    time: np.ndarray  # int64[n], seconds since 1970, all different


def make_ratings(*, num_users: int, num_items: int, num_ratings: int, seed: int = 0) -> Ratings:
    """Seeded ratings: every user rates, about equally often; a few items are met by most.

    A pair can come twice. DataError for less than one user, item or rating a user.

    >>> make_ratings(num_users=3, num_items=5, num_ratings=6).user.tolist()
    [1, 2, 3, 1, 2, 3]
    """
    if min(num_users, num_items) < 1 or num_ratings < num_users:
        raise DataError(
            f"ratings need num_users >= 1, num_items >= 1 and num_ratings >= num_users, got "
            f"{num_users=}, {num_items=}, {num_ratings=}"
        )
    rng = np.random.default_rng([seed, 2])
    truth = make_preferences(num_users=num_users, num_items=num_items, seed=seed)
    user = np.arange(num_ratings) % num_users + 1
    item = (num_items * rng.power(0.5, num_ratings)).astype(np.int64) + 1
    liking = compute_preference_logits(truth, {"user": user, "item": item})
    rating = np.clip(np.round(3.5 + 0.5 * liking + rng.standard_normal(num_ratings)), 1, 5)
    time = FIRST_SECOND + rng.permutation(num_ratings)
    return Ratings(user, item, rating.astype(np.int64), time)


def _write_lines(path: Path, separator: str, *columns, encoding: str = "utf-8") -> None:
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    text = "".join(separator.join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(text.encode(encoding))


def write_movielens_100k(folder: Path, made: Ratings, seed: int = 0) -> None:
    """Writes u.data, u.user and u.item as MovieLens-100K has them."""
    rng = np.random.default_rng([seed, 3])
    _write_lines(folder / "u.data", "\t", *made)
    age, gender, job, zip_code = _draw_people(int(made.user.max()), rng)
    _write_lines(folder / "u.user", "|", np.arange(1, age.size + 1), age, gender, job, zip_code)
    title, year, _ = _draw_films(int(made.item.max()), rng)
    flags = (rng.random((19, year.size)) < 0.15).astype(int)
    date, empty = [f"01-Jan-{one}" for one in year], [""] * year.size
    first = (np.arange(1, year.size + 1), title, date, empty, empty)
    _write_lines(folder / "u.item", "|", *first, *flags, encoding="latin-1")


def write_movielens_1m(folder: Path, made: Ratings, seed: int = 0) -> None:
    """Writes ratings.dat, users.dat and movies.dat as MovieLens-1M has them."""
    rng = np.random.default_rng([seed, 3])
    _write_lines(folder / "ratings.dat", "::", *made)
    age, gender, _, zip_code = _draw_people(int(made.user.max()), rng)
    bands = np.array([1, 18, 25, 35, 45, 50, 56])
    band, job = bands[np.searchsorted(bands, age, side="right") - 1], rng.integers(0, 21, age.size)
    _write_lines(
        folder / "users.dat", "::", np.arange(1, age.size + 1), gender, band, job, zip_code
    )
    title, year, genres = _draw_films(int(made.item.max()), rng)
    number = np.arange(1, year.size + 1)
    _write_lines(folder / "movies.dat", "::", number, title, genres, encoding="latin-1")


def _draw_people(users: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Age, gender, occupation and zip code of each user."""
    zip_code = [f"{code:05}" for code in rng.integers(0, 100_000, users)]
    zip_code[0] = "V5A2B"
    age, job = rng.integers(7, 74, users), rng.integers(0, len(OCCUPATIONS), users)
    return age, rng.choice(["F", "M"], users), np.array(OCCUPATIONS)[job], np.array(zip_code)


def _draw_films(items: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray, list[str]]:
    """Title with its year, the year, and genres of each item; a title can have colons."""
    year = rng.integers(*TITLE_YEARS, items)
    title = [f"Amélie: Part {k} ({one})" for k, one in enumerate(year, 1)]
    kinds = [rng.choice(GENRES, 1 + k % 3, replace=False) for k in range(items)]
    return title, year, ["|".join(sorted(some)) for some in kinds]


def write_electronics(path: Path, made: Ratings) -> None:
    """Writes reviews as Amazon's JSON lines have them."""
    head = {"reviewerName": 'A. "Nonymous"', "helpful": [0, 1]}
    tail = {"summary": "Works", "reviewTime": "01 20, 2014"}
    with path.open("w") as file:
        for user, item, rating, time in zip(*(part.tolist() for part in made), strict=True):
            one = {"reviewerID": f"A{user:013}", "asin": f"B{item:09}", **head}
            one |= {"reviewText": "It does what it says.", "overall": float(rating)}
            file.write(json.dumps({**one, **tail, "unixReviewTime": time}) + "\n")


def write_ratings_only(path: Path, made: Ratings) -> None:
    """Writes `item,user,rating,timestamp` as Amazon's ratings-only files have them."""
    _write_lines(
        path,
        ",",
        [f"B{item:09}" for item in made.item],
        [f"A{user:013}" for user in made.user],
        made.rating.astype(float),
        made.time,
    )


def write_table(path: Path, made: Ratings) -> None:
    """Writes CSV, TSV or Parquet, by the ending of `path`, with words for ids and ISO dates."""
    frame = pl.DataFrame(
        {
            "customer": [f"u-{user}" for user in made.user],
            "product": [f"p-{item}" for item in made.item],
            "stars": made.rating,
            "at": pl.from_epoch(pl.Series(made.time)),
        }
    )
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")


def write_synthetic_stream(
    path: Path, *, num_users: int, num_items: int, num_rows: int, chunk: int, seed: int = 0
) -> Path:
    """Writes an Arrow file of `num_rows` interactions with known preferences, `chunk` at a time.

    Ids are from 1, and a pair can come twice. Gives the path.
    """
    truth = make_preferences(num_users=num_users, num_items=num_items, seed=seed)

    def chunks():
        for number, first in enumerate(range(0, num_rows, chunk)):
            rng = np.random.default_rng([seed, 4, number])
            n = min(chunk, num_rows - first)
            item = (num_items * rng.power(0.5, n)).astype(np.int64) + 1
            ids = {"user": rng.integers(1, num_users + 1, n), "item": item}
            liked = rng.random(n) < 1 / (1 + np.exp(-compute_preference_logits(truth, ids)))
            yield Interactions(ids, liked)

    return write_stream(path, chunks())
