"""A user's Flax module is a recommender; what cannot be one is refused with the reason."""

import os
import re
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import models
from autolossgen.interfaces import Side
from tests.helpers.run_server import STRICT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SIZES = {"user": 4, "item": 3}
SOURCE = """
import flax.linen as nn
import jax.numpy as jnp

class Product(nn.Module):
    power: int = 1
    def __call__(self, rows, features, *, train):
        return jnp.sum(rows["user"] * rows["item"], -1) ** self.power

class Masked(nn.Module):
    def __call__(self, rows, features, *, train, mask=None):
        return rows["user"][:, 0] * 0 + (-1.0 if mask is None else mask)

class Sums(nn.Module):
    row_width = staticmethod(lambda width: 3 * width)
    def __call__(self, rows, features, *, train):
        return sum(row.sum(-1) for row in rows.values()) + sum(features.values())

class Column(Product):
    def __call__(self, rows, features, *, train):
        return rows["user"][:, :1]

class Whole(Product):
    def __call__(self, rows, features, *, train):
        return jnp.round(rows["user"][:, 0]).astype(int)

class Two(Product):
    def __call__(self, rows, features, *, train):
        return rows["user"][:, 0], rows["item"][:, 0]

class Lost(Product):
    def __call__(self, rows, features, *, train):
        return rows["genre"][:, 0]

class Fails(Product):
    def __call__(self, rows, features, *, train):
        raise RuntimeError("no logits in training" if train else "no logits in scoring")

class Noisy(Product):
    def __call__(self, rows, features, *, train):
        self.make_rng("noise")
        return rows["user"][:, 0]

class Cached(Product):
    @nn.compact
    def __call__(self, rows, features, *, train):
        self.variable("cache", "last", jnp.zeros, 1)
        return rows["user"][:, 0]

class Growing(Product):
    @nn.compact
    def __call__(self, rows, features, *, train):
        seen = self.variable("batch_stats", "seen", jnp.zeros, 1)
        if train:
            seen.value = jnp.zeros(2)
        return rows["user"][:, 0]

class Hungry(nn.Module):
    food: int
    def __call__(self, rows, features, *, train):
        return rows["user"][:, 0]

product = Product()
class Plain: pass
"""
LINE = 1 + SOURCE[: SOURCE.index('rows["genre"]')].count("\n")


@pytest.fixture(autouse=True)
def _own_modules(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(SOURCE)
    (tmp_path / "broken_models.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_models", None)


def build(name, **changes):
    defaults = {"name": name, "embedding_dim": 2, "init_scale": 0.1, "sizes": SIZES}
    return models.build(**defaults | changes)


def score(model, *, train=False, **more):
    dense, statistics, tables = model.init(jax.random.key(0))
    rows = {name: table[jnp.array([0, 2, 1])] for name, table in tables.items()}
    return model.apply(dense, statistics, rows, {}, train=train, **more)[0], rows


def test_a_module_is_found_by_its_name_and_taken_as_it_is():
    logits, rows = score(build("own_models:Product"))
    expected = np.sum(np.asarray(rows["user"]) * np.asarray(rows["item"]), axis=-1)
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    again = score(build(sys.modules["own_models"].Product))[0]
    np.testing.assert_array_equal(logits, again)


def test_options_reach_the_module():
    plain = score(build("own_models:Product"))[0]
    squared = score(build("own_models:Product", options={"power": 2}))[0]
    np.testing.assert_allclose(squared, np.square(plain), rtol=1e-5)


def test_lists_of_a_config_become_tuples():
    class Keeps(nn.Module):
        hidden: tuple = ()

        def __call__(self, rows, features, *, train):
            assert isinstance(self.hidden, tuple)
            return rows["user"][:, 0] * len(self.hidden)

    logits, rows = score(build(Keeps, options={"hidden": [8, 4]}))
    np.testing.assert_allclose(logits, 2 * rows["user"][:, 0], rtol=1e-6)


def test_a_module_says_how_wide_its_rows_are_and_reads_all_features():
    genre = Side("item", np.int32([[0, 1], [1, -1], [-1, -1]]))
    age = Side("user", np.float32([1, 2, 3, 4]))
    sides = {"genre": genre, "age": age}
    model = build("own_models:Sums", sizes=SIZES | {"genre": 2}, sides=sides)
    assert model.tables == {"user": (4, 6), "item": (3, 6), "genre": (2, 6)}
    dense, statistics, _ = model.init(jax.random.key(0))
    rows = {name: jnp.ones((2, 6)) for name in model.tables}
    logits, _ = model.apply(dense, statistics, rows, {"age": jnp.float32([1, 3])}, train=False)
    np.testing.assert_allclose(logits, 18 + np.float32([1, 3]), rtol=1e-6)


def test_a_module_that_asks_gets_which_examples_are_real():
    model = build("own_models:Masked")
    weight = jnp.float32([1, 0, 0.5])
    training = score(model, train=True, weight=weight, key=jax.random.key(0))[0]
    np.testing.assert_array_equal(training, [1, 0, 1])
    np.testing.assert_array_equal(score(model)[0], [-1, -1, -1])


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("no_such_models:Product", ["importing 'no_such_models' fails", "PYTHONPATH"]),
        ("broken_models:Product", ["importing 'broken_models' fails", "ZeroDivisionError"]),
        ("own_models:Prodduct", ["has no 'Prodduct' (did you mean 'Product'?)"]),
        ("own_models:product", ["expected a class of flax.linen.Module, got a Product"]),
        ("own_models:Plain", ["expected a class of flax.linen.Module, got another class"]),
        (dict, ["expected a class of flax.linen.Module"]),
        ("own_models.Product", ["is not known", "biased_mf", "'package.module:Class'"]),
        ("two_towers", ["did you mean 'two_tower'?"]),
        ("own_models:Column", ["expected logits float32[2]", "got float32[2, 1]"]),
        ("own_models:Whole", ["expected logits float32[2]", "got int32[2]"]),
        ("own_models:Two", ["expected logits float32[2]", "('float32[2]', 'float32[2]')"]),
        ("own_models:Lost", ["model Lost fails", f"line {LINE}", "KeyError: 'genre'"]),
        ("own_models:Fails", ["model Fails fails", "RuntimeError: no logits in scoring"]),
        ("own_models:Noisy", ["model Noisy fails", "noise"]),
        ("own_models:Cached", ["state is kept in cache", "batch_stats"]),
        ("own_models:Growing", ["{'seen': 'float32[1]'} into {'seen': 'float32[2]'}"]),
        ("own_models:Hungry", ["model Hungry refuses its options {}", "'food'"]),
    ],
)
def test_what_cannot_be_a_recommender_is_refused_with_the_reason(name, fragments):
    with pytest.raises(ValueError, match="model") as caught:
        build(name)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"powr": 2}, r"has options power, got 'powr' \(did you mean 'power'\?\)"),
        ({"parent": None}, "has options power, got 'parent'"),
        (3, "options are a dict"),
        ("hidden=8", r'options are a dict .* as in \{"hidden": \(64, 16\)\}, got \'hidden=8\''),
    ],
)
def test_options_that_a_module_has_not_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build("own_models:Product", options=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "deep", "options": {"dropout": 1.0}}, "dropout is at least 0 and below 1"),
        ({"name": "deep", "options": {"hidden": (8, 0)}}, "hidden widths are at least 1"),
        ({"name": "dcn_v2", "options": {"crosses": 0}}, "crosses is at least 1"),
        ({"name": "dcn_v2", "options": {"rank": -1}}, "rank at least 0"),
        ({"name": "two_tower", "options": {"of_item": ()}}, "has options hidden, out"),
    ],
)
def test_values_of_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


ONES = np.ones((3, 1), np.int32)


@pytest.mark.parametrize(
    ("side", "size", "message"),
    [
        (Side("itm", ONES), 2, "is of 'itm', expected one of user, item"),
        (Side("item", ONES[:2]), 2, "a value for each of 3 rows of 'item', got 2"),
        (Side("item", ONES), 1, "below 1, or -1 for none, got 1 to 1"),
        (Side("item", -2 * ONES), 2, "or -1 for none, got -2 to -2"),
        (Side("item", 0.5 * ONES), 2, r"expected integers \[rows, m\], got float64"),
        (Side("item", ONES[:, 0]), 2, r"expected integers \[rows, m\], got int32\(3,\)"),
        (Side("item", ONES[:, 0]), None, "expected numbers .*, as it has no size"),
        (Side("item", np.float32([0, np.nan, 1])), None, "finite numbers, got nan in row 1"),
    ],
)
def test_sides_that_do_not_fit_are_refused(side, size, message):
    sizes = SIZES if size is None else SIZES | {"genre": size}
    with pytest.raises(ValueError, match=message):
        build("deep", sizes=sizes, sides={"genre": side})


def test_a_model_gets_what_it_reads_and_nothing_else():
    with pytest.raises(ValueError, match="only user and item, but the data also have hour"):
        build("biased_mf", sizes=SIZES | {"hour": 24})
    with pytest.raises(ValueError, match="NeuMF reads user and item, the data have no user"):
        build("neumf", sizes={"item": 3})


def test_the_example_trains_a_module_of_its_own(tmp_path):
    """Runs in an empty folder."""
    done = subprocess.run(
        [sys.executable, *STRICT, str(ROOT / "examples" / "bring_your_own_model.py")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    aucs = [float(found) for found in re.findall(r"AUC (\d\.\d+)", done)]
    assert len(aucs) == 4
    assert max(aucs) > 0.98


class Impatient(nn.Module):
    """Has learning rates of its own, out of order."""

    learning_rates = (5, 0.5)

    def __call__(self, rows, features, *, train):
        """Returns the sum of all that is looked up."""
        return sum(row.sum(-1) for row in rows.values())


def test_learning_rates_are_those_of_the_class_or_suit_perceptrons():
    assert models.get_learning_rates(Impatient) == (0.5, 5.0)
    assert models.get_learning_rates(nn.Dense) == (0.3, 1.0, 3.0)


@pytest.mark.parametrize("rates", [(), (0.0, 1.0), "fast", 3.0])
def test_learning_rates_that_are_none_are_refused(rates):
    own = type("Own", (Impatient,), {"learning_rates": rates})
    with pytest.raises(ValueError, match="Own: learning_rates are positive numbers"):
        models.get_learning_rates(own)


def test_an_option_that_is_no_tuple_is_named():
    with pytest.raises(ValueError, match=r"option 'hidden' is a tuple, such as \(64, 16\), got 8"):
        models.modules.make_module("deep", {"hidden": 8}, ())
