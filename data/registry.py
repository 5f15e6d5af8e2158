"""The named data sets: what their files are called, where they come from, what is known in them.

MovieLens may be used for research and may not be redistributed, nor used commercially without
permission (https://grouplens.org/datasets/movielens/, the README inside each archive);
ml-latest-small may be redistributed under the same terms. Amazon's reviews state no licence and ask
to cite McAuley et al. (SIGIR 2015, doi:10.1145/2766462.2767755). MovieTweetings is MIT.
"""

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from .download import (
    Download,
    make_grouplens_download,
    make_movietweetings_download,
    make_recbole_download,
)
from .features import Feature
from .readers import Roles, read_ratings, read_reviews
from .tables import Layout, TextTable

AGE_BANDS = (18, 25, 35, 45, 50, 56)  # as MovieLens-1M has them; the first is below 18
GENRES = (  # of u.item, in the order of its flags
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy "
    "Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"
).split()


class SideFile(NamedTuple):
    """A file about users or items."""

    name: str
    layout: Layout
    key: str  # the column with ids
    features: tuple[Feature, ...]


class NamedDataSet(NamedTuple):
    """How a named data set is recognised in a folder, fetched and read."""

    title: str
    files: tuple[str, ...]  # what its rating file is called, in order of preference
    sources: tuple[Download, ...]
    home: str  # where people find it
    read: Callable[[bytes, str], tuple[TextTable, Roles]]
    sides: tuple[SideFile, ...] = ()  # of those with the same features the first found is read


def _make_user_file(name: str, layout: Layout) -> SideFile:
    """Describes a file of users with columns id, age, gender, occupation and zip."""
    age = pl.col("age").cast(pl.Int64, strict=False)
    band = pl.lit(0).cast(pl.Int64)
    for youngest in AGE_BANDS:
        band = pl.when(age >= youngest).then(youngest).otherwise(band)
    # The first digit of a US zip code is a part of the country; other countries' have letters.
    first = pl.col("zip").str.slice(0, 1)
    region = pl.when(first.str.contains(r"\d")).then(first).otherwise(pl.lit("abroad"))
    category = [
        ("age", pl.when(age.is_not_null()).then(band).cast(pl.String).str.zfill(2)),
        ("gender", pl.col("gender")),
        ("occupation", pl.col("occupation")),
        ("zip", pl.when(pl.col("zip").is_not_null()).then(region)),
    ]
    features = (Feature(name, "user", "category", text) for name, text in category)
    return SideFile(name, layout, "id", tuple(features))


def _make_item_file(name: str, layout: Layout, genres: pl.Expr, year: pl.Expr) -> SideFile:
    """Describes a file of items with genres and year."""
    features = (Feature("genres", "item", "list", genres), Feature("year", "item", "number", year))
    return SideFile(name, layout, "id", features)


def _extract_year(column: str) -> pl.Expr:
    """Returns the year at the end of a title, in brackets."""
    return pl.col(column).str.extract(r"\((\d{4})\)\s*$")


_USER_COLUMNS = ("id", "age", "gender", "occupation", "zip")
_FILM_COLUMNS = ("id", "title", "genres")
_FLAGGED_GENRES = pl.concat_str(
    [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES],
    separator="|",
    ignore_nulls=True,
)
_LISTED_GENRES = pl.when(pl.col("genres") != "(no genres listed)").then(pl.col("genres"))
_RECBOLE_GENRES = pl.col("genres").str.replace_all(" ", "|")  # RecBole separates by blanks


def _make_bar_layout(*columns: str) -> Layout:
    """Returns the layout of a file without header and with bars between its columns."""
    return Layout("|", columns, header=False, encoding="latin-1")


DATA_SETS = {
    "ml100k": NamedDataSet(
        "MovieLens-100K",
        ("u.data", "ml-100k.inter"),
        (
            make_grouplens_download("ml-100k.zip", "md5:0e33842e24a9c977be4e0107933c0723"),
            make_recbole_download(),
        ),
        "https://grouplens.org/datasets/movielens/100k/",
        read_ratings,
        (
            _make_user_file("u.user", _make_bar_layout(*_USER_COLUMNS)),
            _make_user_file("ml-100k.user", Layout("\t", _USER_COLUMNS)),
            _make_item_file(
                "u.item",
                _make_bar_layout("id", "title", "released", "video", "url", *GENRES),
                _FLAGGED_GENRES,
                pl.col("released").str.extract(r"(\d{4})$"),
            ),
            _make_item_file(
                "ml-100k.item",
                Layout("\t", ("id", "title", "released", "genres")),
                _RECBOLE_GENRES,
                pl.col("released").str.extract(r"(\d{4})"),
            ),
        ),
    ),
    "ml1m": NamedDataSet(
        "MovieLens-1M",
        ("ratings.dat", "ml-1m.inter"),
        (make_grouplens_download("ml-1m.zip", "md5:c4d9eecfca2ab87c1945afe126590906"),),
        "https://grouplens.org/datasets/movielens/1m/",
        read_ratings,
        (
            _make_user_file(
                "users.dat",
                Layout(
                    "::",
                    ("id", "gender", "age", "occupation", "zip"),
                    header=False,
                    encoding="latin-1",
                ),
            ),
            _make_item_file(
                "movies.dat",
                Layout("::", _FILM_COLUMNS, header=False, encoding="latin-1"),
                _LISTED_GENRES,
                _extract_year("title"),
            ),
        ),
    ),
    "ml_latest_small": NamedDataSet(
        "MovieLens latest small",
        ("ratings.csv",),
        (
            make_grouplens_download("ml-latest-small.zip", ""),
        ),  # GroupLens replaces it from time to time
        "https://grouplens.org/datasets/movielens/latest/",
        read_ratings,
        (
            _make_item_file(
                "movies.csv",
                Layout(",", _FILM_COLUMNS, quoted=True),
                _LISTED_GENRES,
                _extract_year("title"),
            ),
        ),
    ),
    "movietweetings": NamedDataSet(
        "MovieTweetings",
        ("ratings.dat",),
        (make_movietweetings_download(),),
        "https://github.com/sidooms/MovieTweetings",
        read_ratings,
        (
            _make_item_file(
                "movies.dat",
                Layout("::", _FILM_COLUMNS, header=False),
                _LISTED_GENRES,
                _extract_year("title"),
            ),
        ),
    ),
    "electronics": NamedDataSet(
        "Amazon Electronics",
        (
            "reviews_Electronics_5.json.gz",
            "reviews_Electronics_5.json",
            "Electronics_5.json.gz",
            "Electronics_5.json",
            "ratings_Electronics.csv",
            "Electronics.csv",
        ),
        (),  # half a gigabyte, from a site that has moved more than once
        "https://jmcauley.ucsd.edu/data/amazon/ (Electronics, 5-core or ratings only)",
        read_reviews,
    ),
}
