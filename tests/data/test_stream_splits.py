"""A data set that stays in its file: its splits, and what is said of bad ones."""

import numpy as np
import pytest

from autolossgen import data
from autolossgen.data.stream import write_stream

ROWS = 3_000


def write(path, label=lambda user: user % 2):
    """Writes interactions whose user is the number of the row."""
    user = np.arange(ROWS)
    ids = {"user": user, "item": user % 7, "hour": user % 24}
    return write_stream(path, [data.Interactions(ids, label(user))])


@pytest.fixture
def path(tmp_path):
    return str(write(tmp_path / "x.arrow"))


def build(path, **options):
    return data.build(**{"name": "stream", "path": path, "held_out": 301, "piece": 500} | options)


def test_each_row_is_in_one_split(path):
    dataset = build(path)
    assert dataset.train.rows == ROWS - 301
    trained = dataset.train.draw(0, dataset.train.rows).ids["user"].tolist()
    held = [x.ids["user"].tolist() for x in (dataset.reward, dataset.valid, dataset.test)]
    assert [len(users) for users in held] == [101, 100, 100]
    assert sorted(sum(held, trained)) == list(range(ROWS))
    for users in held:  # from all over the file
        assert users[0] < 300 < 2_700 < users[-1]
        assert users == sorted(users)
    assert data.merge_reward_rows(dataset) is dataset.train


def test_epochs_have_orders_of_their_own_and_the_seed_decides(path):
    rows, drawn = build(path).train.rows, {}
    for seed in (0, 1):
        train = build(path, seed=seed).train
        assert train == train._replace(chunk_rows=500)
        drawn[seed] = [train.draw(n * rows, rows).ids["user"].tolist() for n in range(2)]
        assert sorted(drawn[seed][0]) == sorted(drawn[seed][1])
        assert drawn[seed][0] != drawn[seed][1]
        part = train.draw(rows - 5, 10)
        assert part.ids["user"].tolist() == drawn[seed][0][-5:] + drawn[seed][1][:5]
        np.testing.assert_array_equal(part.label, part.ids["user"] % 2)
        assert part.label.dtype == np.float32
    assert drawn[0][0] != drawn[1][0]


def test_further_columns_are_read_if_they_are_named(path):
    assert build(path).sizes == {"user": ROWS, "item": 7}
    for named in (("hour",), ("all",)):
        dataset = build(path, features=named)
        assert dataset.sizes == {"user": ROWS, "item": 7, "hour": 24}
        assert (
            set(dataset.train.draw(0, 3).ids) == set(dataset.test.ids) == {"user", "item", "hour"}
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, r"data\.path is the Arrow file"),
        ({"held_out": 2}, r"data\.held_out is at least 3"),
        ({"piece": 0}, r"data\.piece at least 1"),
        ({"held_out": ROWS}, "held_out is at least 0 and below its 3,000 rows, got 3,000"),
        ({"features": ("our",)}, "'our' is not a feature .* .did you mean 'hour'"),
        ({"pieces": 3}, r"data\.pieces is not an option of 'stream'"),
    ],
)
def test_what_cannot_be_is_refused(path, options, message):
    with pytest.raises(data.DataError, match=message):
        build(**{"path": path} | options)


def test_a_split_with_one_class_is_refused(tmp_path):
    only = write(tmp_path / "x.arrow", label=np.ones_like)
    with pytest.raises(data.DataError, match="reward split must hold labels 0 and 1, got only lab"):
        build(str(only))


def test_pairwise_losses_are_refused(path):
    with pytest.raises(data.DataError, match="sampled negatives and rankings need data in memory"):
        data.make_rankings(build(path), candidates=0, seed=0)
