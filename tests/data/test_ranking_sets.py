"""Implicit interactions as sets of items: folders, one's own arrays, and data sets of ratings."""

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from autolossgen import data
from autolossgen.data.ranking import RankingKeys
from autolossgen.ranking.trainer import make_eval_split
from tests.helpers import file_generator as files

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
MADE = files.make_ratings(num_users=40, num_items=30, num_ratings=900, seed=2)
PARTS = ("train", "valid", "test")


def sets_of(part):
    """Returns user -> items of those that have any."""
    return {
        u: part.items[part.start[u] : part.start[u + 1]].tolist()
        for u in range(part.start.size - 1)
        if part.counts[u]
    }


def pairs_of(part):
    return {*zip(part.users.tolist(), part.items.tolist(), strict=True)}


def all_pairs(d):
    return sorted(pair for part in PARTS for pair in pairs_of(getattr(d, part)))


def sizes_of(d):
    return tuple(getattr(d, part).items.size for part in PARTS)


def draw_as_published(train, share=0.1, seed=2024):
    """The published rule, line by line."""
    random.seed(seed)
    return {
        user: sorted(random.sample(sorted(items), max(int(share * len(items)), 1)))
        for user, items in sorted(train.items())
    }


def make_train(num_users=30, num_items=60, seed=0):
    """Returns user -> set of items, from 2 to 40 of them."""
    rng = np.random.default_rng(seed)
    return {
        u: {*rng.choice(num_items, rng.integers(2, 41), replace=False).tolist()}
        for u in range(num_users)
    }


def as_lines(pairs, separator="\t"):
    return "".join(f"{user}{separator}{item}\n" for user, item in pairs)


@pytest.fixture
def write(tmp_path):
    """Returns a function that writes files and loads their folder."""

    def write_and_load(train, test, valid=None, **options):
        for part, text in {"train": train, "test": test, "valid": valid}.items():
            if text is not None:
                (tmp_path / f"{part}.tsv").write_text(text)
        return data.load_folder(tmp_path, **options)

    return write_and_load


# Folders.


@pytest.mark.parametrize("header", ["", "user_procid\titem_procid\n"])
def test_validation_is_drawn_by_the_published_rule(write, header):
    train = make_train()
    pairs = [(u, i) for u, items in train.items() for i in items]
    # Item 60 and up are in test alone, so that ids are without gaps where train's have some.
    test = [(u, i) for u in train for i in range(66) if i not in train[u] and (u + i) % 5 == 0]
    random.Random(1).shuffle(pairs)
    d = write(header + as_lines(pairs), header + as_lines(test))
    assert (d.num_users, d.num_items) == (30, 66)
    held_out = draw_as_published(train)
    assert sets_of(d.valid) == held_out
    assert sets_of(d.train) == {u: sorted(train[u] - {*held_out[u]}) for u in train}
    assert pairs_of(d.test) == {*test}
    again = write(header + as_lines(pairs), header + as_lines(test), valid_share=0.3, split_seed=7)
    assert sets_of(again.valid) == draw_as_published(train, 0.3, 7)


@real
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("amazon2014-health", (1_974, 1_200, 34_476, 3_308, 10_405)),
        ("amazon2014-beauty", (1_237, 719, 18_338, 1_763, 5_635)),
        ("movielens-100k", (939, 1_016, 57_947, 5_997, 16_449)),
    ],
)
def test_real_folders_have_the_published_sizes(name, sizes):
    """Twin: ``test_validation_is_drawn_by_the_published_rule``."""
    d = data.load_folder(SHARED / "ranking" / name)
    assert (d.num_users, d.num_items, *sizes_of(d)) == sizes
    train = {}
    for line in (SHARED / "ranking" / name / "train.tsv").read_text().splitlines()[1:]:
        user, item = map(int, line.split())
        train.setdefault(user, set()).add(item)
    assert sets_of(d.valid) == draw_as_published(train)
    assert d.name == name


def test_the_only_item_of_a_user_stays_in_train_and_others_are_drawn_as_published(write):
    train = make_train() | {3: {5}, 9: {0}}
    d = write(
        as_lines((u, i) for u in train for i in train[u]), as_lines((u, 60) for u in range(30))
    )
    published = draw_as_published(train)
    assert sets_of(d.valid) == {u: items for u, items in published.items() if u not in (3, 9)}
    assert (sets_of(d.train)[3], sets_of(d.train)[9]) == ([5], [0])
    assert "2 users with a single item: it stays in train, none is held out" in d.notes


def test_a_file_of_validation_is_used_as_it_is(write):
    d = write(as_lines([(0, 0), (0, 1), (1, 0)]), as_lines([(0, 3)]), as_lines([(1, 2)]))
    assert [sets_of(getattr(d, p)) for p in PARTS] == [{0: [0, 1], 1: [0]}, {1: [2]}, {0: [3]}]
    assert "validation: as in the folder, none is drawn" in d.notes


TRAIN = [("ann", "tea"), ("ann", "jam"), ("bob", "jam"), ("bob", "ham"), ("ann", "ham")]
TEST = [("bob", "tea"), ("ann", "egg")]


@pytest.mark.parametrize("head", ["", "kunde\tware\n", "user_id:token\titem_id:token\n"])
def test_words_are_numbered_in_ascending_order_with_a_header_and_without(write, head):
    d = write(head + as_lines(TRAIN), head + as_lines(TEST))
    assert (d.num_users, d.num_items) == (2, 4)  # ann, bob; egg, ham, jam, tea
    assert all_pairs(d) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    assert sets_of(d.test) == {0: [0], 1: [3]}
    named = [note for note in d.notes if note.startswith("line 1 of")]
    columns = head.strip().replace("\t", ", ")
    assert named == ([f"line 1 of train.tsv, test.tsv: names of columns, {columns}"] * bool(head))
    assert "user ids numbered from 0 to 1 in ascending order" in d.notes


def test_gaps_in_numbers_close_in_the_order_of_numbers(write):
    d = write(as_lines([(10, 7), (10, 100), (9, 7), (9, 3)]), as_lines([(9, 100)]))
    assert all_pairs(d) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]
    assert "item ids numbered from 0 to 2 in ascending order" in d.notes


def test_words_in_one_file_make_words_in_all_and_are_named(write):
    d = write(as_lines([(10, 1), (10, 2), (9, 1), (9, 2)]), as_lines([(9, 3), ("x9", 3)]))
    # As words, 10 comes before 9.
    assert sets_of(d.test) == {1: [2], 2: [2]}
    assert "all user ids are words, since 'x9' is no number (test.tsv, line 2)" in d.notes


def test_columns_are_found_by_their_names_and_others_counted(write):
    lines = "\titem\tuser\trating\n" + "".join(f"{k}\t{k}\t{k % 2}\t5\n" for k in range(6))
    d = write(lines, "user\titem\n0\t6\n1\t7\n")
    assert (d.num_users, d.num_items) == (2, 8)
    assert sets_of(d.test) == {0: [6], 1: [7]}
    assert "train.tsv: 2 further columns not read, each line is a positive" in d.notes


@pytest.mark.parametrize("form", ["x.{}.csv", "my-{}.txt.gz", "{}.tsv.gz"])
def test_other_forms_give_the_same(write, tmp_path, form):
    one = write(as_lines(TRAIN), as_lines(TEST))
    other = tmp_path / "other"
    other.mkdir()
    for part, pairs in {"train": TRAIN, "test": TEST}.items():
        raw = as_lines(pairs, "," if "csv" in form else "\t").encode()
        packed = gzip.compress(raw) if form.endswith("gz") else raw
        (other / form.format(part)).write_bytes(packed)
    assert all_pairs(data.load_folder(other)) == all_pairs(one)


def test_stray_quotes_lose_no_line_and_paired_ones_do_not_matter(write):
    stray = [("a", '"x'), ("a", "y"), ("b", "y"), ("b", 'z"'), ("b", "w")]
    d = write(as_lines(stray), as_lines([("a", "w")]))
    assert sum(sizes_of(d)) == 6
    quoted = as_lines((f'"{u}"', f'"{i}"') for u, i in TRAIN)
    assert all_pairs(write(quoted, as_lines(TEST))) == all_pairs(
        write(as_lines(TRAIN), as_lines(TEST))
    )


# Trouble: one readable line each.


def test_files_without_a_common_item_or_user_are_warned_of(write):
    d = write(as_lines(TRAIN), as_lines([("bob", "figs")]), as_lines([("cat", "tea")]))
    assert [note for note in d.notes if note.startswith("WARNING")] == [
        "WARNING: no user of valid.tsv is in train.tsv; ids are such as 'cat' and 'ann'",
        "WARNING: no item of test.tsv is in train.tsv; ids are such as 'figs' and 'tea'",
    ]


def test_what_is_only_in_test_is_counted_and_kept(write):
    train = as_lines([(0, 0), (0, 1), (1, 0), (1, 1)])
    valid, test = [(1, 4), (0, 5)], [(0, 2), (0, 3), (1, 3), (2, 0), (1, 5)]
    d = write(train, as_lines(test), as_lines(valid))
    assert (d.num_users, d.num_items) == (3, 6)
    assert d.train.counts.tolist() == [2, 2, 0]
    assert (
        "4 items not in train, 2 only in test: in the catalogue, and nothing is learnt of them"
        in d.notes
    )
    assert (
        "1 user not in train, 1 only in test: ranked for, and nothing is learnt of them" in d.notes
    )


def test_users_with_all_items_and_without_test_are_counted(write):
    train = as_lines([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)])
    d = write(train, as_lines([(0, 2), (1, 3)]), as_lines([(2, 3), (0, 3)]))
    assert sum(note.startswith("2 users with every item of the catalogue") for note in d.notes)
    assert "1 user with nothing in test: left out of its means" in d.notes


def test_repeated_and_leaked_pairs_count_once(write):
    train, valid = [(0, 0), (0, 1), (0, 0), (1, 0)], [(0, 1), (1, 1), (1, 1)]
    d = write(as_lines(train), as_lines([(0, 0), (1, 1), (1, 2)]), as_lines(valid))
    assert [sets_of(getattr(d, p)) for p in PARTS] == [{0: [0, 1], 1: [0]}, {1: [1]}, {1: [2]}]
    assert {
        "1 repeated pair in train: each counts once",
        "1 repeated pair in valid: each counts once",
        "1 pair of valid is in train: dropped from valid",
        "2 pairs of test are in train or valid: dropped from test",
    } <= {*d.notes}


def test_a_folder_without_trouble_has_no_notes_of_any(write):
    train = make_train(num_items=50)
    test = [(u, min({*range(50)} - train[u])) for u in train]
    d = write(as_lines((u, i) for u in train for i in train[u]), as_lines(test))
    odd = ("repeated", "dropped", "only", "single", "every item", "words")
    assert not [note for note in d.notes if any(word in note for word in odd)]


GOOD = as_lines([(0, 0), (0, 1), (1, 0), (1, 2)])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("", GOOD, r"train\.tsv is empty: expected lines of user, item"),
        (GOOD, "\n", r"test\.tsv is empty"),
        ("user\titem\n", GOOD, r"train\.tsv has names of columns and no rows"),
        (GOOD + "1\n", GOOD, r"train\.tsv, line 5: expected 2 fields .*got 1 in '1'\. Correct or"),
        ("u\ti\n" + GOOD + "1\t2\t3\n", GOOD, r"train\.tsv, line 6: expected 2 fields .*got 3"),
        (GOOD + "\n" + GOOD, GOOD, r"train\.tsv, line 5: expected 2 fields .*got 1"),
        (GOOD + "1\tNaN\n", GOOD, r"train\.tsv, line 5, column 2 \(item\): expected an id.*'NaN'"),
        ("u\ti\n" + GOOD + "1\tNA\n", GOOD, r"train\.tsv, line 6, column 2 \(item\): .*'NA'"),
        (GOOD + "\t1\n", GOOD, r"train\.tsv, line 5, column 1 \(user\): expected an id.* got ''"),
        (GOOD.replace("\t", "_"), GOOD, r"train\.tsv, line 1: expected a user and an item sep"),
        ("0 1 2 3\n1 2\n2 1 0\n", GOOD, r"train\.tsv: .*a user and all items a line\? Write one"),
        (GOOD, GOOD, "nothing is left for test"),
        (as_lines([(0, 0), (1, 1)]), as_lines([(0, 1)]), "nothing is left for valid.* valid.tsv"),
        (GOOD, "7.0\t1\n1.0\t1\n", r"test\.tsv, line 2: the user '1\.0' is '1' in train\.tsv\. Wr"),
        (GOOD, "0\t03\n0\t02\n", r"test\.tsv, line 2: the item '02' is '2' in train\.tsv"),
    ],
)
def test_what_cannot_be_used_is_one_line(write, train, test, message):
    with pytest.raises(data.DataError, match=message) as error:
        write(train, test)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_named(write, tmp_path):
    write(GOOD, as_lines([(0, 2)]))
    (tmp_path / "train.tsv").write_bytes(GOOD.encode() + "1\té\n".encode("latin-1"))
    with pytest.raises(data.DataError, match=r"train\.tsv, line 5: expected UTF-8.*0xe9"):
        data.load_folder(tmp_path)


def test_missing_and_doubtful_files_are_named(tmp_path):
    with pytest.raises(data.DataError, match=r"nowhere does not exist: expected a folder with"):
        data.load_folder(tmp_path / "nowhere")
    (tmp_path / "train.tsv").write_text(GOOD)
    with pytest.raises(data.DataError, match=r"is a file: expected a folder .*data\.name=csv"):
        data.load_folder(tmp_path / "train.tsv")
    with pytest.raises(data.DataError, match=r"holds no test\.tsv: .* got train\.tsv\. Give"):
        data.load_folder(tmp_path)
    for name in ("a.test.csv", "b.test.csv"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(data.DataError, match=r"one file of test, got a\.test\.csv, b\.test\.csv"):
        data.load_folder(tmp_path)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_that_cannot_be_is_named(write, share):
    with pytest.raises(data.DataError, match=r"data\.valid_share is over 0 and below 1"):
        write(GOOD, as_lines([(0, 2)]), valid_share=share)


# One's own arrays.


def make_or_explain(*rows, **options):
    """Returns what is made of rows, or why it cannot be."""
    try:
        return data.make_ranking_data(*rows, **options)
    except data.DataError as error:
        return str(error)


def draw_rows(seed):
    """Returns users, items and times of some interactions, some of them repeated."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, [[8], [10], [20]], (3, rng.integers(20, 120)))


interactions = st.integers(0, 2**32 - 1).map(draw_rows)  # lists of tuples take seconds to draw


@given(interactions, st.sampled_from(["by_user", "leave_one_out", "by_time"]), st.integers(0, 3))
def test_no_pair_is_lost_or_in_two_parts(rows, split, seed):
    user, item, time = rows
    d = make_or_explain(user, item, time, split=split, seed=seed)
    if isinstance(d, str):
        assert "nothing is left for" in d or "stay together" in d
        return
    users, items = np.unique(user), np.unique(item)
    found = [(users[u], items[i]) for u, i in all_pairs(d)]
    assert found == sorted({*zip(user.tolist(), item.tolist(), strict=True)})
    if split != "by_time":
        assert d.train.counts.min() >= 1
        tested = d.test.counts > 0
        assert (tested == (d.train.counts + d.valid.counts + d.test.counts >= 3)).all()


@given(interactions, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, rng):
    rows[2] = 200 * rows[2] + np.arange(rows.shape[1])  # no two at one time
    shuffled = rows[:, rng.sample(range(rows.shape[1]), rows.shape[1])]
    for split in ("by_user", "leave_one_out", "by_time"):
        results = []
        for given_rows in (rows, shuffled):
            made = make_or_explain(*given_rows, split=split)
            results.append(
                made if isinstance(made, str) else [all_pairs(made), pairs_of(made.test)]
            )
        assert results[0] == results[1]


def test_shares_of_each_user_are_rounded_down_and_at_least_one():
    users = np.repeat(np.arange(4), [2, 3, 10, 25])
    items = np.concatenate([np.arange(n) for n in (2, 3, 10, 25)])
    d = data.make_ranking_data(users, items, shares=(0.1, 0.3))
    assert d.test.counts.tolist() == [0, 1, 3, 7]
    assert d.valid.counts.tolist() == [0, 1, 1, 2]
    assert "1 user with fewer than 3 items: all stay in train" in d.notes
    two = data.make_ranking_data(users, items, shares=(0.1, 0.3), min_interactions=1)
    assert (two.train.counts[0], two.valid.counts[0], two.test.counts[0]) == (1, 0, 1)
    assert "1 user with two items: one in train, one in test, none in valid" in two.notes
    one = data.make_ranking_data([*users, 4], [*items, 0], min_interactions=1)
    assert "1 user with fewer than 2 items: all stay in train" in one.notes
    greedy = data.make_ranking_data(users, items, shares=(0.49, 0.5))
    assert greedy.train.counts.tolist() == [2, 1, 1, 1]


def test_seeds_draw_other_parts_and_that_of_validation_leaves_test():
    users, items = np.repeat(np.arange(20), 12), np.tile(np.arange(12), 20)
    one = data.make_ranking_data(users, items, seed=0)
    same = data.make_ranking_data(users, items, seed=0)
    redrawn = data.make_ranking_data(users, items, seed=0, valid_seed=1)
    other = data.make_ranking_data(users, items, seed=1)
    for a, b in zip(one, same, strict=True):
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else str(a) == str(b)
    assert pairs_of(redrawn.test) == pairs_of(one.test)
    assert pairs_of(redrawn.valid) != pairs_of(one.valid)
    assert pairs_of(other.test) != pairs_of(one.test)
    # Drawn evenly: no place of a user's list is held out much more often than another.
    users, items = np.repeat(np.arange(3_000), 10), np.tile(np.arange(10), 3_000)
    d = data.make_ranking_data(users, items, shares=(0.1, 0.2))
    for part, expected in ((d.test, 600), (d.valid, 300)):
        counts = np.bincount(part.items, minlength=10)
        np.testing.assert_allclose(counts, expected, atol=5 * expected**0.5)


def test_leave_one_out_takes_the_last_in_time_and_draws_without():
    users = np.repeat(["b", "a"], 4)
    items = np.array([1, 2, 3, 4, 1, 4, 3, 2])
    times = [4, 3, 2, 1, 1, 2, 2, 2]  # the order of rows decides between equal times
    d = data.make_ranking_data(users, items, times, split="leave_one_out")
    assert (sets_of(d.test), sets_of(d.valid)) == ({0: [1], 1: [0]}, {0: [2], 1: [1]})
    assert "split leave_one_out: the last in time" in d.notes
    drawn = [data.make_ranking_data(users, items, split="leave_one_out", seed=s) for s in range(9)]
    assert len({str(sets_of(one.test)) for one in drawn}) > 1
    assert all(one.test.counts.tolist() == [1, 1] == one.valid.counts.tolist() for one in drawn)


def test_a_cut_in_time_is_one_for_all_users_and_keeps_equal_times_together():
    time = np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 9])
    d = data.make_ranking_data(
        np.arange(10) % 3, np.arange(10), time, split="by_time", shares=(0.2, 0.2)
    )
    assert [sorted(getattr(d, p).items) for p in PARTS] == [[0, 1, 2, 3, 4, 5], [6], [7, 8, 9]]
    assert "split by_time: valid from 6 on, test from 7 on, for all users" in d.notes
    with pytest.raises(data.DataError, match=r"'by_time' needs times, and there are none"):
        data.make_ranking_data([0, 1], [0, 1], split="by_time")
    with pytest.raises(data.DataError, match=r"leaves 0 pairs for train, .* there are 1 times"):
        data.make_ranking_data([0, 1], [0, 1], [5, 5], split="by_time")


@given(interactions, st.integers(1, 4))
def test_a_core_is_the_largest_set_in_which_all_have_enough(rows, core):
    user, item, _ = rows
    expected = {*zip(user.tolist(), item.tolist(), strict=True)}
    while True:
        users, items = [[p[k] for p in expected] for k in (0, 1)]
        fewer = {p for p in expected if min(users.count(p[0]), items.count(p[1])) >= core}
        if fewer == expected:
            break
        expected = fewer
    d = make_or_explain(user, item, core=core)
    if isinstance(d, str):
        assert ("nothing is left for" if expected else f"core={core} leaves nothing") in d
        return
    users, items = sorted({p[0] for p in expected}), sorted({p[1] for p in expected})
    assert [(users[u], items[i]) for u, i in all_pairs(d)] == sorted(expected)
    assert (d.num_users, d.num_items) == (len(users), len(items))


def test_what_a_core_drops_is_counted():
    users, items = np.repeat([0, 1, 2], [4, 4, 2]), [0, 1, 2, 3, 0, 1, 2, 3, 3, 4]
    d = data.make_ranking_data(users, items, core=2)
    assert "core of 2: 1 user, 1 item and 2 pairs dropped" in d.notes
    with pytest.raises(data.DataError, match=r"data\.core=5 leaves nothing: .*Lower it"):
        data.make_ranking_data(users, items, core=5)


def test_a_repeated_pair_counts_once_at_its_last_time():
    users, items, times = [0] * 6, [1, 2, 3, 4, 2, 2], [1, 2, 3, 4, 9, 5]
    d = data.make_ranking_data(users, items, times, split="leave_one_out")
    assert (sets_of(d.test), sets_of(d.valid)) == ({0: [1]}, {0: [3]})
    assert "2 repeated pairs of user and item: each counts once" in d.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": [0, 1]}, r"belong together, row by row: got \[2, 8, 8\]"),
        ({"times": [0.0] * 7 + [np.nan]}, "times are finite numbers, got nan at 7"),
        ({"times": ["x"] * 8}, "times are numbers, or None"),
        ({"users": [0.0, np.nan] * 4}, "users are whole numbers or words, got nan at 1"),
        (
            {"users": ["a", "nan"] * 4},
            "users are whole numbers or words, got 'nan' at 1, which means",
        ),
        ({"items": ["", "b"] * 4}, "items are whole numbers or words, got '' at 0, which means"),
        ({"items": np.array([0, "a"] * 4, object)}, "not both: got 0, and 'a' at 1"),
        ({"items": [True] * 8}, "items are whole numbers or words, got an array of bool"),
        ({"users": np.zeros((8, 1))}, r"one row of ids, got an array of shape \(8, 1\)"),
        ({"users": [], "items": [], "times": None}, "there are no interactions"),
        ({"split": "by_usr"}, r"data\.split='by_usr' is not known \(did you mean 'by_user'\?\)"),
        ({"shares": (0.5, 0.5)}, r"data\.shares are those of valid and test"),
        ({"shares": (0.1,)}, r"data\.shares are those of valid and test"),
        ({"seed": -1}, r"data\.seed must be at least 0"),
        ({"valid_seed": -1}, r"data\.valid_seed must be at least 0"),
        ({"core": 0}, r"data\.core must be at least 1"),
        ({"min_interactions": 0}, r"data\.min_interactions must be at least 1"),
        ({"min_interactions": 9}, "own: nothing is left for valid"),
    ],
)
def test_arrays_that_cannot_be_used_are_one_line(change, message):
    users, items = np.repeat([0, 1], 4), np.tile(np.arange(4), 2)
    options = {"users": users, "items": items, "times": np.arange(8)} | change
    with pytest.raises(data.DataError, match=message) as error:
        data.make_ranking_data(**options)
    assert "\n" not in str(error.value)


# From the keys of a config.


def liked_pairs(made, threshold):
    """Returns the pairs whose last rating is at least the threshold, in time order."""
    last = {}
    for k in np.argsort(made.time):
        pair = int(made.user[k]), int(made.item[k])
        last.pop(pair, None)
        last[pair] = made.rating[k] >= threshold
    return [pair for pair, liked in last.items() if liked]


def expected_pairs(pairs):
    users, items = [sorted({pair[k] for pair in pairs}) for k in (0, 1)]
    return sorted((users.index(u), items.index(i)) for u, i in pairs)


@pytest.fixture
def ml100k(tmp_path):
    files.write_movielens_100k(tmp_path, MADE)
    return str(tmp_path)


@pytest.mark.parametrize("threshold", [None, 3.0, 4.0, 5])
def test_ratings_of_at_least_the_threshold_are_positives(ml100k, threshold):
    options = {} if threshold is None else {"threshold": threshold}
    d = data.build_ranking(name="ml100k", path=ml100k, **options)
    pairs = liked_pairs(MADE, threshold or 4)
    assert all_pairs(d) == expected_pairs(pairs)
    assert d.name == "ml100k"
    assert f"900 ratings read; label 1 is a rating of at least {threshold or 4:g}" in d.notes


def test_leave_one_out_of_a_named_set_is_that_of_its_times(ml100k):
    d = data.build_ranking(name="ml100k", path=ml100k, split="leave_one_out")
    pairs = liked_pairs(MADE, 4)
    items = sorted({item for _, item in pairs})
    users = sorted({user for user, _ in pairs})
    for number, user in enumerate(users):
        own = [items.index(i) for u, i in pairs if u == user]
        if len(own) > 2:
            assert (sets_of(d.valid)[number], sets_of(d.test)[number]) == ([own[-2]], [own[-1]])


def test_a_set_in_splits_keeps_them_and_ranks_all_its_items(ml100k):
    dataset = data.build(name="ml100k", path=ml100k)
    d = data.convert_dataset(dataset)
    rows = [data.merge_reward_rows(dataset), dataset.valid, dataset.test]
    users, items = [np.unique(np.concatenate([r.ids[f] for r in rows])) for f in ("user", "item")]
    assert (d.num_users, d.num_items) == (users.size, items.size)
    for part, r in zip(PARTS, rows, strict=True):
        liked = r.label > 0
        assert {(users[u], items[i]) for u, i in pairs_of(getattr(d, part))} == {
            *zip(r.ids["user"][liked], r.ids["item"][liked], strict=True)
        }


NAMED = {"user": "customer", "item": "product", "label": "stars", "time": "at", "threshold": 4}


@pytest.mark.parametrize("form", ["own.csv", "own.tsv", "own.parquet"])
def test_a_file_of_ones_own_in_every_form(tmp_path, form):
    files.write_table(tmp_path / form, MADE)
    d = data.build_ranking(name="csv", path=str(tmp_path / form), core=3, **NAMED)
    user, item = np.array(liked_pairs(MADE, 4)).T
    words = [f"u-{u}" for u in user], [f"p-{i}" for i in item]
    expected = data.make_ranking_data(np.array(words[0]), np.array(words[1]), core=3)
    assert [pairs_of(getattr(d, p)) for p in PARTS] == [
        pairs_of(getattr(expected, p)) for p in PARTS
    ]
    assert d.name == "own"


def test_a_folder_of_ratings_keeps_its_split_or_is_split_anew(tmp_path):
    text = "user,item,rating\n"
    (tmp_path / "train.csv").write_text(text + "1,1,5\n1,2,4\n1,3,1\n2,1,5\n2,2,5\n2,4,4\n")
    (tmp_path / "valid.csv").write_text(text + "1,4,5\nx,2,5\n1,1,5\n")
    (tmp_path / "test.csv").write_text(text + "2,5,4\n2,3,2\n1,5,1\n")
    options = {"name": "csv", "path": str(tmp_path), "threshold": 4}
    d = data.build_ranking(**options)
    assert [sets_of(getattr(d, p)) for p in PARTS] == [
        {0: [0, 1], 1: [0, 1, 3]}, {0: [3], 2: [1]}, {1: [4]},
    ]  # fmt: skip
    assert {
        "1 pair of valid is in train: dropped from valid",
        "3 rows of label 0 left out, their items are ranked",
    } <= {*d.notes}
    anew = data.build_ranking(**options, split="by_user")
    assert all_pairs(anew) == sorted(
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (2, 1)]
    )


def test_the_original_s_splits_of_a_named_set_are_kept(tmp_path):
    for ending, rows in {
        "train": "1\t1\t1\n1\t2\t0\n2\t1\t1\n",
        "validation": "1\t3\t1\n2\t3\t0\n",
        "test": "2\t4\t1\n",
    }.items():
        (tmp_path / f"x.{ending}.csv").write_text("uid\tiid\tlabel\n" + rows)
    d = data.build_ranking(name="ml1m", path=str(tmp_path))
    assert [sets_of(getattr(d, p)) for p in PARTS] == [{0: [0], 1: [0]}, {0: [2]}, {1: [3]}]
    with pytest.raises(data.DataError, match=r"data\.threshold=4 is not an option of files that"):
        data.build_ranking(name="ml1m", path=str(tmp_path), threshold=4)


def test_a_folder_is_read_by_its_path_alone_or_split_anew(write, tmp_path):
    train = make_train()
    pairs = [(u, i) for u in train for i in train[u]]
    test = [(u, i) for u in train for i in range(60) if i not in train[u] and i % 7 == 0]
    one = write(as_lines(pairs), as_lines(test), valid_share=0.2, split_seed=3)
    same = data.build_ranking(path=str(tmp_path), valid_share=0.2, valid_seed=3)
    assert same.notes == one.notes
    assert [sets_of(getattr(same, p)) for p in PARTS] == [sets_of(getattr(one, p)) for p in PARTS]
    anew = data.build_ranking(path=str(tmp_path), split="by_user", seed=1, shares=[0.1, 0.1])
    assert all_pairs(anew) == all_pairs(one)
    assert pairs_of(anew.test) != pairs_of(one.test)


TIMED = [(u, i, 100 * u + i) for u in range(6) for i in range(8)]


def as_timed(rows, header="when\tuser\titem"):
    """Returns lines with times in the first column."""
    return "".join(f"{line}\n" for line in (header, *(f"{t}\t{u}\t{i}" for u, i, t in rows)))


@pytest.mark.parametrize("split", ["by_time", "leave_one_out"])
def test_a_folder_is_split_anew_by_its_times(write, tmp_path, split):
    order = np.random.default_rng(0).permutation(len(TIMED))
    rows = [TIMED[k] for k in order]
    write(as_timed(rows[:30]), as_timed(rows[30:]))
    found = data.build_ranking(path=str(tmp_path), split=split, time="when")
    expected = data.make_ranking_data(*np.transpose(TIMED), split=split)
    for part in PARTS:
        assert pairs_of(getattr(found, part)) == pairs_of(getattr(expected, part))
    assert "times: numbers from 0 to 507, and no dates; their order alone counts" in found.notes


@pytest.mark.parametrize(
    ("time", "lines", "message"),
    [
        (
            "at",
            as_timed(TIMED),
            "train.tsv, line 1: .*data.time='at'; it names when, user",
        ),
        ("user", as_timed(TIMED), "line 1: data.time='user' is the column of users. Name the"),
        ("when", "0\t1\t5\n1\t2\t6\n", "line 1: .*data.time='when'; it has no names of columns"),
        ("when", as_timed([*TIMED, (1, 2, "late")]), r"line 50, column 1 \(time\): .*got 'late'"),
    ],
)
def test_times_of_a_folder_that_cannot_be_read_are_one_line(tmp_path, time, lines, message):
    for part in ("train", "test"):
        (tmp_path / f"{part}.tsv").write_text(lines)
    with pytest.raises(data.DataError, match=message) as error:
        data.build_ranking(path=str(tmp_path), split="by_time", time=time)
    assert "\n" not in str(error.value)


def test_a_folder_with_a_file_of_validation_draws_none(write, tmp_path):
    write(GOOD, as_lines([(0, 2)]), valid=as_lines([(1, 1)]))
    for key, value in {"valid_share": 0.2, "valid_seed": 3}.items():
        message = f"data.{key}={value} is not an option of a folder with a file of validation"
        with pytest.raises(data.DataError, match=message):
            data.build_ranking(path=str(tmp_path), **{key: value})


def test_synthetic_data_by_time_have_a_seed_of_their_own():
    sizes = {"num_users": 40, "num_items": 30, "num_interactions": 800, "split": "by_time"}
    one, other = (data.build_ranking(name="synthetic", seed=seed, **sizes) for seed in (0, 1))
    assert all_pairs(one) != all_pairs(other)


def test_a_file_without_times_says_how_it_is_split_once(tmp_path):
    rows = "".join(f"{user},{item}\n" for user in range(4) for item in range(6))
    (tmp_path / "own.csv").write_text("user,item\n" + rows)
    notes = data.build_ranking(name="csv", path=str(tmp_path / "own.csv"), label="").notes
    assert any("drawn" in note for note in notes)
    assert not any("order of the file" in note for note in notes)


def test_a_section_of_a_config_is_what_is_built_from(write, tmp_path):
    one = write(GOOD, as_lines([(0, 2)]))
    section = ConfigDict(RankingKeys()._asdict() | {"path": str(tmp_path), "shares": [0.1, 0.2]})
    section.threshold = placeholder(float)
    assert data.build_ranking(**section).notes == one.notes


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, r"data\.path is empty: give the folder with train\.tsv, test\.tsv"),
        ({"name": "csv"}, r"data\.path is empty: give the file of interactions"),
        ({"name": "ml10k"}, r"'ml10k' is not a data set to rank \(did you mean 'ml100k'\?\)"),
        ({"pth": "x"}, r"data\.pth is not an option of rankings \(did you mean 'path'\?\)"),
        (
            {"split": "by_users"},
            r"data\.split='by_users' is not known \(did you mean 'by_user'\?\)",
        ),
        (
            {"path": "x", "core": 5},
            r"data\.core=5 is not an option of a folder's own split\. Leave",
        ),
        ({"path": "x", "seed": 5}, r"data\.seed=5 is not an option of a folder's own split"),
        ({"path": "x", "threshold": 4}, "data.threshold=4 is not an option of data.name='folder'"),
        ({"path": "x", "mask_disliked": True}, "mask_disliked=True is not .* have no ratings"),
        ({"name": "csv", "label": "", "mask_disliked": True}, "every row is a positive"),
        (
            {"name": "ml1m", "split": "leave_one_out", "shares": (0.2, 0.2)},
            r"data\.shares=\(0\.2, 0\.2\) is not an option of .*one item of each user",
        ),
        ({"name": "ml1m", "split": "by_time", "seed": 3}, "data.seed=3 .* which draws nothing"),
        ({"name": "ml1m", "split": "by_time", "valid_seed": 3}, "valid_seed=3 .* draws nothing"),
        ({"name": "ml1m", "split": "by_time", "min_interactions": 5}, "Leave it at 3"),
        ({"path": "x", "split": "by_time"}, "needs times: name the column .*data.time=COLUMN, or"),
        ({"path": "x", "time": "t"}, "data.time='t' is not an option of data.split='files'"),
        ({"path": "x", "user": "u"}, "is not an option of data.name='folder', but of 'csv'"),
        ({"name": "synthetic", "path": "x"}, "is not an option of data.name='synthetic'"),
        ({"name": "ml100k", "num_users": 5}, "data.name='ml100k', but of 'synthetic'"),
        ({"name": "synthetic", "valid_share": 0.2}, "a split that is made here, which reads"),
        ({"name": "synthetic", "split": "files"}, "'files' needs files of train, valid and test"),
        ({"name": "csv", "path": "x", "user": "a", "item": "a"}, "both name the column 'a'"),
        ({"name": "csv", "path": "nowhere.csv"}, "nowhere.csv cannot be read"),
        ({"name": "ml100k", "path": "x", "shares": (0.6, 0.6)}, "data.shares are those of valid"),
        ({"name": "csv", "path": "x", "threshold": np.nan}, "data.threshold must be a finite"),
    ],
)
def test_keys_that_cannot_be_meant_are_one_line(section, message):
    with pytest.raises(data.DataError, match=message) as error:
        data.build_ranking(**section)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"threshold": None},
            r"line 2, column 3 \(stars\): expected 0 or 1, got '\d'\..*threshold=4 .a rating of at",
        ),
        (
            {"label": "mark"},
            r"expected a column 'mark', got customer, product, stars, at. Name yours: data.user",
        ),
        ({"threshold": 6}, r"none of \d+ rows is a positive\. Lower data\.threshold"),
    ],
)
def test_ratings_that_cannot_be_used_are_one_line(tmp_path, options, message):
    files.write_table(tmp_path / "own.csv", MADE)
    with pytest.raises(data.DataError, match=message) as error:
        data.build_ranking(name="csv", path=str(tmp_path / "own.csv"), **(NAMED | options))
    assert "\n" not in str(error.value)


def test_rows_of_label_one_and_rows_without_labels_are_positives(tmp_path):
    rows = [(u, i, int((u + i) % 3 > 0)) for u in range(5) for i in range(12)]
    path = tmp_path / "x.csv"
    path.write_text("user,item,rating\n" + "".join(f"{u},{i},{y}\n" for u, i, y in rows))
    d = data.build_ranking(name="csv", path=str(path))
    assert all_pairs(d) == [(u, i) for u, i, y in rows if y]
    whole = data.build_ranking(name="csv", path=str(path), label="")
    assert all_pairs(whole) == [(u, i) for u, i, _ in rows]


@real
def test_real_leave_one_out_is_that_of_ratings():
    """Twin: ``test_leave_one_out_of_a_named_set_is_that_of_its_times``."""
    path = str(SHARED / "ml-100k")
    d = data.build_ranking(name="ml100k", path=path, split="leave_one_out")
    assert (d.num_users, d.num_items, *sizes_of(d)) == (942, 1_447, 53_491, 942, 942)
    split = data.build_ranking(name="ml100k", path=str(SHARED / "ml100k01-1-5"))
    assert (split.num_users, split.num_items, *sizes_of(split)) == (943, 1_682, 53_491, 942, 942)


def test_what_users_rated_lower_is_masked_where_asked_for(tmp_path):
    rows = [(u, i, 1 + (u + 2 * i) % 5) for u in range(5, 11) for i in range(20, 32)]
    rows.append((5, 20, 5 if rows[0][2] < 4 else 1))  # rated twice: liked in the end, or once
    path = tmp_path / "x.csv"
    path.write_text("user,item,rating\n" + "".join(f"{u},{i},{y}\n" for u, i, y in rows))
    options = {"name": "csv", "path": str(path), "threshold": 4.0}
    assert data.build_ranking(**options).disliked is None
    d = data.build_ranking(**options, mask_disliked=True)
    own = {f: d.ids[f][getattr(d.disliked, f"{f}s")].tolist() for f in ("user", "item")}
    liked = {(u, i) for u, i, y in rows if y >= 4}
    users, items = ({pair[n] for pair in liked} for n in (0, 1))
    wanted = {(u, i) for u, i, _ in rows if u in users and i in items} - liked
    assert {*zip(own["user"], own["item"], strict=True)} == wanted
    assert len(wanted) > 20
    assert any(f"{len(wanted)} pairs that users rated lower" in note for note in d.notes)
    mask = make_eval_split(d.test, d.mask(d.train), d.num_items).masked
    assert mask.sum() == d.train.items.size + len(wanted)
