"""Shuffles: permutations, even in where numbers go and in what follows what."""

import jax
import numpy as np
import pytest
from scipy import stats

from autolossgen.training.permutation import random_permutation


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 1000, 65_537])
def test_every_number_comes_once(n):
    order = np.asarray(jax.jit(random_permutation, static_argnums=1)(jax.random.key(n), n))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_keys_give_other_orders_and_the_same_key_the_same():
    first, again, other = (
        np.asarray(random_permutation(jax.random.key(k), 1000)) for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.02


@pytest.fixture(scope="module")
def orders():
    keys = jax.random.split(jax.random.key(7), 4000)
    return np.asarray(jax.jit(jax.vmap(lambda key: random_permutation(key, 20)))(keys))


def evenness(table):
    return stats.chisquare(table.ravel()).pvalue


def test_a_number_goes_anywhere_alike(orders):
    table = np.zeros((20, 20))
    for number, place in enumerate(orders.T):
        table[number] = np.bincount(place, minlength=20)
    assert evenness(table) > 1e-3


def test_any_number_follows_any_alike(orders):
    table = np.zeros((20, 20))
    np.add.at(table, (orders[:, :-1], orders[:, 1:]), 1)
    assert evenness(table[~np.eye(20, dtype=bool)]) > 1e-3


def test_halves_of_a_long_order_mix():
    """Of the first half of the places, half comes from either half of the numbers."""
    order = np.asarray(random_permutation(jax.random.key(3), 100_000))
    assert abs(np.mean(order[:50_000] < 50_000) - 0.5) < 0.01
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.015
