"""Columns of people's own files are recognised by common names, or not at all."""

import polars as pl
import pytest

from autolossgen.data.csv_files import load_csv
from autolossgen.data.tables import TextTable, guess_columns
from autolossgen.data.types import DataError

DEFAULT = {"user": "user", "item": "item", "label": "rating"}


def guess(*names, **columns):
    table = TextTable("f.csv", pl.DataFrame({name: ["1"] for name in names}))
    return guess_columns([table], DEFAULT | columns)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("user", "item", "rating"), ("user", "item", "rating")),
        (("Order No", "Customer ID", "Product", "Stars given"), (1, 2, 3)),
        (("userId", "movieId", "rating", "timestamp"), (0, 1, "rating")),
        (("reviewerID", "asin", "overall", "unixReviewTime"), (0, 1, 2)),
        (("CUSTOMERS", "books", "Ratings"), (0, 1, 2)),
        (("user_name", "user_id", "item_title", "item_id", "rating"), (1, 3, "rating")),
        (("buyer", "client", "item", "rating"), ("user", "item", "rating")),  # which one?
        (("a", "b", "c"), ("user", "item", "rating")),
        (("reuse", "itemised", "rated"), ("user", "item", "rating")),  # other words
    ],
)
def test_names_say_what_a_column_holds(names, found):
    columns, notes = guess(*names)
    expected = [names[one] if isinstance(one, int) else one for one in found]
    assert list(columns.values()) == expected
    assert bool(notes) == (expected != list(DEFAULT.values()))


def test_nothing_is_guessed_of_what_is_named():
    columns, notes = guess("customer", "product", "stars", user="shopper", label="")
    assert columns == {"user": "shopper", "item": "product", "label": ""}
    assert notes == ["columns by their names: item = product; data.item would name others"]


def test_a_column_of_a_folder_is_in_all_its_files():
    tables = [
        TextTable("f", pl.DataFrame({"client": ["1"], "item": ["1"], other: ["1"]}))
        for other in ("score", "grade")
    ]
    columns, _ = guess_columns(tables, DEFAULT)
    assert columns == {"user": "client", "item": "item", "label": "rating"}


def test_a_file_is_read_by_guesses_and_says_so(tmp_path):
    path = tmp_path / "orders.csv"
    rows = [f'{u};"C {u}";{i};{1 + (u * i) % 5}' for u in range(9) for i in range(8)]
    path.write_text("No;Customer ID;Product;Stars given\n" + "\n".join(rows))
    data = load_csv(path=str(path), threshold=3.0)
    assert "columns by their names: user = Customer ID, item = Product, rating = Stars given" in (
        " ".join(data.notes)
    )
    assert data.sizes == {"user": 9, "item": 8}
    path.write_text("No;Who;Product;Stars given\n" + "\n".join(rows))
    with pytest.raises(DataError, match="expected a column 'user', got No"):
        load_csv(path=str(path), threshold=3.0)
