"""Streams: each row once an epoch, the same batches for the same seed, and no copy of the file."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolossgen import data
from autolossgen.data.generator import compute_preference_logits, make_preferences
from autolossgen.data.stream import draw_batches, open_stream, permute, read_held_out, write_stream
from tests.helpers.file_generator import write_synthetic_stream

ROWS = 1_000


def chunk(first, n):
    """Returns interactions whose user is the number of the row."""
    user = np.arange(first, first + n)
    return data.Interactions({"user": user, "item": user % 7, "hour": user % 24}, user % 2)


@pytest.fixture(params=["file", "folder"])
def path(request, tmp_path):
    if request.param == "file":
        return write_stream(tmp_path / "x.arrow", [chunk(0, 300), chunk(300, 1), chunk(301, 699)])
    write_stream(tmp_path / "a.arrow", [chunk(0, 500)])
    write_stream(tmp_path / "b.arrow", [chunk(500, 500)])
    return tmp_path


def users(batches):
    return batches.ids["user"].ravel().tolist()


@given(st.integers(1, 500), st.integers(0, 2**32))
def test_a_permutation_meets_each_number_once(n, key):
    assert sorted(permute(np.arange(n), n, (key,)).tolist()) == list(range(n))


def test_a_permutation_looks_random():
    n = 40_000
    place = np.arange(n)
    orders = [permute(place, n, (key,)) for key in range(3)]
    for order in orders:
        # The deviation of a correlation of n random pairs is 1 / sqrt(n), so these are 4 of them.
        for lag in (1, 2, 200, 201):
            assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 4 / np.sqrt(n)
        assert abs(np.corrcoef(place, order)[0, 1]) < 4 / np.sqrt(n)
        assert abs(np.mean(order[: n // 10]) / n - 0.5) < 4 / np.sqrt(12 * n / 10)
    assert abs(np.corrcoef(orders[0], orders[1])[0, 1]) < 4 / np.sqrt(n)
    # Fixed points of random permutations number one, as a Poisson variable.
    assert all(np.sum(place == order) < 8 for order in orders)


def test_an_epoch_has_each_row_once_whatever_the_batches(path):
    stream = open_stream(path)
    assert (stream.rows, stream.sizes) == (ROWS, {"user": ROWS, "item": 7, "hour": 24})
    for steps, batch_size in [(10, 100), (1, 1_000), (250, 4)]:
        batches = draw_batches(stream, seed=3, start=0, steps=steps, batch_size=batch_size)
        assert batches.label.shape == batches.ids["item"].shape == (steps, batch_size)
        assert (batches.label.dtype, batches.ids["item"].dtype) == (np.float32, np.int32)
        assert sorted(users(batches)) == list(range(ROWS))
        user = batches.ids["user"]
        np.testing.assert_array_equal(batches.ids["item"], user % 7)
        np.testing.assert_array_equal(batches.ids["hour"], user % 24)
        np.testing.assert_array_equal(batches.label, user % 2)


def test_batches_run_on_into_the_next_epoch_in_another_order(path):
    stream = open_stream(path)
    seen = users(draw_batches(stream, seed=0, start=0, steps=9, batch_size=300))
    first, second = seen[:ROWS], seen[ROWS : 2 * ROWS]
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
    assert len(set(seen[2 * ROWS :])) == 700


def test_a_step_is_the_same_however_it_is_reached(path):
    stream = open_stream(path)
    whole = users(draw_batches(stream, seed=5, start=0, steps=40, batch_size=64))
    pieces = [
        users(draw_batches(stream, seed=5, start=k, steps=8, batch_size=64)) for k in (0, 8, 16, 24)
    ]
    assert whole[: 32 * 64] == [user for piece in pieces for user in piece]
    assert users(draw_batches(open_stream(path), seed=5, start=0, steps=40, batch_size=64)) == whole
    assert users(draw_batches(stream, seed=6, start=0, steps=40, batch_size=64)) != whole


def test_rows_held_out_are_in_no_batch(path):
    stream = open_stream(path, held_out=90, seed=1)
    held = read_held_out(stream).ids["user"].tolist()
    assert held == sorted(set(held))
    assert (len(held), stream.rows) == (90, 910)
    batches = draw_batches(stream, seed=0, start=0, steps=910, batch_size=1)
    assert sorted(users(batches) + held) == list(range(ROWS))
    assert read_held_out(open_stream(path, held_out=90, seed=2)).ids["user"].tolist() != held
    assert read_held_out(open_stream(path)).label.shape == (0,)


def test_columns_are_where_the_file_is_and_not_copied(path):
    for chunks in open_stream(path).columns.values():
        assert all(not one.flags.owndata and not one.flags.writeable for one in chunks)


def test_a_file_of_another_writer_is_read(tmp_path):
    frame = pl.DataFrame({"label": [1, 0, 1], "item": [5, 6, 7], "user": [3, 2, 1]})
    frame.write_ipc(tmp_path / "x.arrow", compression="uncompressed")
    stream = open_stream(tmp_path / "x.arrow")
    assert sorted(users(draw_batches(stream, seed=0, start=0, steps=1, batch_size=3))) == [1, 2, 3]
    assert stream.sizes == {"item": 8, "user": 4}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [1], "item": [1]}, "no column 'label': expected user, item and label, got user"),
        ({"user": [-1], "item": [1], "label": [0]}, "'user': expected whole numbers .* got -1"),
        ({"user": [1], "item": [2**31], "label": [0]}, "'item': .* to 2147483646, got 2147483648"),
        ({"user": [1], "item": [1], "label": [2]}, "'label': .* from 0 to 1, got 2"),
        ({"user": ["a"], "item": [1], "label": [0]}, "'user': expected integers, got .*string"),
        ({"user": [1, None], "item": [1, 2], "label": [0, 1]}, "got int64 with 1 nulls"),
        ({"user": [1.0], "item": [1], "label": [0]}, "'user': expected integers, got double"),
    ],
)
def test_what_cannot_be_streamed_is_named(tmp_path, columns, message):
    pl.DataFrame(columns).write_ipc(tmp_path / "x.arrow", compression="uncompressed")
    with pytest.raises(data.DataError, match=message):
        open_stream(tmp_path / "x.arrow")


def test_what_cannot_be_opened_or_written_is_said(tmp_path):
    with pytest.raises(data.DataError, match=r"holds no X\.arrow files"):
        open_stream(tmp_path)
    (tmp_path / "x.arrow").write_text("user,item,label")
    with pytest.raises(data.DataError, match="cannot be opened as an Arrow IPC file"):
        open_stream(tmp_path / "x.arrow")
    with pytest.raises(data.DataError, match="there were no chunks"):
        write_stream(tmp_path / "x.arrow", [])
    with pytest.raises(data.DataError, match=r"chunk 0, column 'label': .* got 2"):
        write_stream(tmp_path / "x.arrow", [chunk(0, 3)._replace(label=np.array([0, 1, 2]))])
    other = data.Interactions({"user": np.arange(3), "item": np.arange(3)}, np.zeros(3))
    with pytest.raises(data.DataError, match="chunk 1 has user, item, label, expected the col"):
        write_stream(tmp_path / "x.arrow", [chunk(0, 3), other])
    good = write_stream(tmp_path / "x.arrow", [chunk(0, 3)])
    with pytest.raises(data.DataError, match="held_out is at least 0 and below its 3 rows, got 3"):
        open_stream(good, held_out=3)
    write_stream(tmp_path / "y.arrow", [other])
    with pytest.raises(data.DataError, match=r"y\.arrow: expected columns user, item, hour, lab"):
        open_stream(tmp_path)


def test_a_generated_stream_has_preferences_and_its_seed_decides(tmp_path):
    sizes = {"num_users": 50, "num_items": 20, "num_rows": 5_000}
    made = [
        write_synthetic_stream(tmp_path / f"{k}.arrow", **sizes, chunk=1_500, seed=seed)
        for k, seed in enumerate([0, 0, 1])
    ]
    one, again, other = (path.read_bytes() for path in made)
    assert one == again != other
    stream = open_stream(made[0])
    rows = draw_batches(stream, seed=0, start=0, steps=1, batch_size=5_000)
    truth = make_preferences(num_users=50, num_items=20, seed=0)
    ids = {field: values[0] for field, values in rows.ids.items()}
    likely = compute_preference_logits(truth, ids) > 0
    assert rows.label[0][likely].mean() > 0.6 > 0.4 > rows.label[0][~likely].mean()
