"""Evolution: losses descend from good ones by edits that the grammar allows.

Regularised evolution (Real et al., 2019, arXiv:1802.01548): parents win a tournament, and the
oldest of the population make room for the best of a generation, however good they are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .policy import Grammar, Policy
from .rollout import draw, rollout
from .uniform import make_uniform

KEEP, REPLACE, INSERT, DELETE = range(4)


class Population(NamedTuple):
    """Individuals, the youngest first; places that are free have padding and a worth of -inf.

    Generations begin with other recommenders and see other batches, so what an individual is worth
    is its reward beyond the reference's; less than any of these if it was not trained.
    """

    tokens: jax.Array  # int32 [P, L]
    worth: jax.Array  # float32 [P]


class _Parents(NamedTuple):
    """What children [M] are copied from, and how."""

    tokens: jax.Array  # int32 [M, 2, L], of both parents
    edit: jax.Array  # int32 [M, L]
    cut: jax.Array  # int32 [M], the slot from which on the second parent is copied


def make_evolution(
    grammar: Grammar,
    *,
    population: int,
    tournament: int,
    newcomers: int,
    mutation: float,
    crossover: float,
    explore: float,
) -> Policy:
    """Make the policy that breeds.

    A child is written slot by slot: it copies its parent's next token, or replaces, inserts or
    deletes one; where the grammar does not allow the token to be copied, any that it allows takes
    its place. So every child is a loss, most of it its parent's.

    Args:
      grammar: says which tokens may come.
      population: individuals, P.
      tournament: individuals drawn for each parent; the best of them is it.
      newcomers: at most so many of a generation, the best, come into the population and push its
        oldest out; so an individual lives for ``population / newcomers`` generations.
      mutation: chance of an edit at each slot.
      crossover: share of children that go on with a second parent's tokens from some slot on.
      explore: share of losses written at random; all are while the population is empty.

    Raises:
      ValueError: for values out of range.
    """
    if not 1 <= newcomers <= population or not 1 <= tournament <= population:
        raise ValueError(
            "newcomers and tournament are from 1 to the population, got "
            f"{newcomers} and {tournament} of {population}"
        )
    for name, share in (("mutation", mutation), ("crossover", crossover), ("explore", explore)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is in [0, 1], got {share}")
    anything = make_uniform(grammar)

    def init(key: jax.Array) -> Population:
        del key
        tokens = jnp.zeros((population, grammar.length), jnp.int32)
        # A float without a type is a weak one, and the second generation would be compiled anew.
        return Population(tokens, jnp.full(population, -jnp.inf, jnp.float32))

    def select(state: Population, key: jax.Array, count: int) -> jax.Array:
        """Give parents [M, L]."""
        alive = jnp.isfinite(state.worth).sum()  # these come first
        drawn = jax.random.randint(key, (count, tournament), 0, jnp.maximum(alive, 1))
        best = jnp.argmax(state.worth[drawn], axis=1)
        return state.tokens[jnp.take_along_axis(drawn, best[:, None], axis=1)[:, 0]]

    def sample(state: Population, key: jax.Array, count: int) -> jax.Array:
        keys = jax.random.split(key, 8)
        free = int(explore * count)
        bred = count - free
        chances = jnp.log(jnp.array([1 - mutation, *3 * [mutation / 3]]))
        edit = jax.random.categorical(keys[0], chances, shape=(bred, grammar.length))
        cut = jax.random.randint(keys[1], (bred,), 0, grammar.length)
        cut = jnp.where(jax.random.uniform(keys[2], (bred,)) < crossover, cut, grammar.length)
        both = jnp.stack([select(state, keys[3], bred), select(state, keys[4], bred)], axis=1)
        children = _breed(grammar, _Parents(both, edit, cut), keys[5])
        newborn = anything.sample(state, keys[6], bred)
        children = jnp.where(jnp.isfinite(state.worth).any(), children, newborn)
        if not free:
            return children
        return jnp.concatenate([anything.sample(state, keys[7], free), children])

    def update(state: Population, tokens, reward, weight, reference):
        # Gains are -1 at least, and so are graded rewards.
        worth = jnp.where(reward < 0, reward - 1, reward - reference)
        worth = jnp.where(weight > 0, worth, -jnp.inf)
        worth = jnp.where(_repeated(tokens, worth, state.tokens), -jnp.inf, worth)
        best, index = jax.lax.top_k(worth, min(newcomers, len(worth)))
        joined = Population(
            jnp.concatenate([tokens[index], state.tokens]), jnp.concatenate([best, state.worth])
        )
        order = jnp.argsort(~jnp.isfinite(joined.worth))  # stable: free places go last
        state = jax.tree.map(lambda part: part[order][:population], joined)
        known = jnp.isfinite(state.worth)
        # A free place holds no loss, not one that stayed out.
        state = state._replace(tokens=jnp.where(known[:, None], state.tokens, 0))
        mean = jnp.sum(jnp.where(known, state.worth, 0)) / jnp.maximum(known.sum(), 1)
        return state, {"population": known.sum(), "population_mean": mean}

    # Seeds have no reward yet: they come into the population with that of the first generation.
    return Policy(init, sample, update, lambda state, reward: state, lambda state, seeds: state)


def _repeated(tokens: jax.Array, worth: jax.Array, known: jax.Array) -> jax.Array:
    """Say which sequences [M] are in the population, or come before in a better or equal place."""
    weights = jax.random.bits(jax.random.key(0), (tokens.shape[1],))  # a hash of a sequence
    mark, marks = (jnp.sum(x.astype(jnp.uint32) * weights, axis=1) for x in (tokens, known))
    order = jnp.lexsort((-worth, mark))
    ordered = mark[order]
    again = jnp.append(False, ordered[1:] == ordered[:-1])
    return jnp.zeros(len(mark), bool).at[order].set(again) | jnp.isin(mark, marks)


def _breed(grammar: Grammar, parents: _Parents, key: jax.Array) -> jax.Array:
    """Give children [M, L]."""
    count, rows = len(parents.cut), jnp.arange(len(parents.cut))

    def step(carry, previous):
        slot, pointer = carry  # int32 [], and [M]: where in the parent the child has come to
        del previous
        edit = parents.edit[:, slot]
        pointer = pointer + (edit == DELETE)
        parent = (slot >= parents.cut).astype(jnp.int32)
        copied = parents.tokens[rows, parent, jnp.minimum(pointer, grammar.length - 1)]
        copies = (edit == KEEP) | (edit == DELETE)
        # So likely that nothing else is drawn, unless the grammar forbids it.
        logits = jnp.where(copies[:, None], 1e3 * jax.nn.one_hot(copied, grammar.size), 0.0)
        return (slot + 1, pointer + (edit != INSERT)), logits

    start = (jnp.int32(0), jnp.zeros(count, jnp.int32))
    return rollout(grammar, step, start, count, draw, jax.random.split(key, grammar.length)).tokens
