"""Evolution: losses descend from good ones by edits that the grammar allows.

Regularised evolution (Real et al., 2019, arXiv:1802.01548): parents win a tournament, and the best
of a generation replace the oldest of the population, however good those are.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from autolossgen.interfaces import Grammar, Policy

from .rollout import roll_out, sample_token
from .uniform import make_uniform

KEEP, REPLACE, INSERT, DELETE = range(4)


class Population(NamedTuple):
    """Individuals, the youngest first; free places hold padding and a fitness of -inf.

    Generations start from different recommenders and see different batches. So the fitness of an
    individual is its reward less the reference's; if it was not trained, its fitness is below that
    of every trained one.
    """

    tokens: jax.Array  # int32 [population, L]
    fitness: jax.Array  # float32 [population]


class _Parents(NamedTuple):
    """What children [M] are copied from, and how."""

    tokens: jax.Array  # int32 [M, 2, L], of both parents
    edits: jax.Array  # int32 [M, L], one of KEEP, REPLACE, INSERT, DELETE for each slot
    crossover_slot: jax.Array  # int32 [M], the first slot that copies the second parent


class _Settings(NamedTuple):
    """What ``make_evolution`` receives."""

    grammar: Grammar
    uniform: Policy  # draws what is not bred
    population: int
    newcomers: int
    explore: float
    tournament: int
    mutation: float
    crossover: float


def make_evolution(
    grammar: Grammar,
    *,
    population: int,
    newcomers: int,
    explore: float,
    tournament: int = 8,
    mutation: float = 0.1,
    crossover: float = 0.25,
) -> Policy:
    """Builds the policy that breeds losses.

    A child is written slot by slot: it copies its parent's next token, or replaces, inserts or
    deletes one. Where the grammar does not allow the copied token, a random allowed one takes its
    place. So every child is a loss, and most of it is its parent's.

    Args:
      grammar: decides which tokens may come.
      population: number of individuals.
      newcomers: at most this many of a generation, the best, enter the population and replace its
        oldest; so an individual lives for ``population / newcomers`` generations.
      explore: fraction of losses drawn uniformly from the grammar; all are while the population is
        empty.
      tournament: individuals drawn for each parent; the best of them is the parent.
      mutation: probability of an edit at each slot.
      crossover: fraction of children that continue with a second parent's tokens from some slot on.

    Raises:
      ValueError: for values out of range.
    """
    settings = _Settings(
        grammar=grammar,
        uniform=make_uniform(grammar),
        population=population,
        newcomers=newcomers,
        explore=explore,
        tournament=tournament,
        mutation=mutation,
        crossover=crossover,
    )
    _check_settings(settings)
    return Policy(
        init=partial(_init_population, settings),
        sample=partial(_sample_children, settings),
        update=partial(_update_population, settings),
        begin_round=lambda state, reward: state,
        # Initial losses enter with their reward of the first generation, in which they are written.
        warm_start=lambda state, tokens: state,
    )


def _check_settings(settings: _Settings) -> None:
    population, newcomers, tournament = (
        settings.population,
        settings.newcomers,
        settings.tournament,
    )
    if not 1 <= newcomers <= population or not 1 <= tournament <= population:
        raise ValueError(
            "newcomers and tournament are from 1 to the population, got "
            f"{newcomers} and {tournament} of {population}"
        )
    for name in ("mutation", "crossover", "explore"):
        if not 0 <= (share := getattr(settings, name)) <= 1:
            raise ValueError(f"{name} is in [0, 1], got {share}")


def _init_population(settings: _Settings, key: jax.Array) -> Population:
    del key
    tokens = jnp.zeros((settings.population, settings.grammar.length), jnp.int32)
    # Without a dtype the float would be weakly typed, and generation 2 would be recompiled.
    return Population(tokens=tokens, fitness=jnp.full(settings.population, -jnp.inf, jnp.float32))


def _select_parents(
    settings: _Settings, state: Population, key: jax.Array, count: int
) -> jax.Array:
    """Returns parents [M, L], the winners of M tournaments."""
    alive = jnp.isfinite(state.fitness).sum()  # these come first
    entrants = jax.random.randint(key, (count, settings.tournament), 0, jnp.maximum(alive, 1))
    best = jnp.argmax(state.fitness[entrants], axis=1)
    return state.tokens[jnp.take_along_axis(entrants, best[:, None], axis=1)[:, 0]]


def _sample_children(
    settings: _Settings, state: Population, key: jax.Array, count: int
) -> jax.Array:
    """Samples tokens [M, L]: first those drawn uniformly, then the children."""
    grammar, uniform, mutation = settings.grammar, settings.uniform, settings.mutation
    keys = jax.random.split(key, 8)
    num_uniform = int(settings.explore * count)
    num_bred = count - num_uniform
    chances = jnp.log(jnp.array([1 - mutation, *3 * [mutation / 3]]))
    edits = jax.random.categorical(keys[0], chances, shape=(num_bred, grammar.length))
    slot = jax.random.randint(keys[1], (num_bred,), 0, grammar.length)
    crosses = jax.random.uniform(keys[2], (num_bred,)) < settings.crossover
    slot = jnp.where(crosses, slot, grammar.length)
    pairs = jnp.stack([_select_parents(settings, state, keys[n], num_bred) for n in (3, 4)], axis=1)
    parents = _Parents(tokens=pairs, edits=edits, crossover_slot=slot)
    children = _breed(grammar, parents, keys[5])
    first = uniform.sample(state, keys[6], num_bred)  # while there are no parents
    children = jnp.where(jnp.isfinite(state.fitness).any(), children, first)
    if not num_uniform:
        return children
    return jnp.concatenate([uniform.sample(state, keys[7], num_uniform), children])


def _update_population(
    settings: _Settings,
    state: Population,
    tokens: jax.Array,
    reward: jax.Array,
    weight: jax.Array,
    reference: jax.Array,
) -> tuple[Population, Mapping[str, jax.Array]]:
    """Lets the best of a generation enter, as ``UpdateFn`` says."""
    # A trained loss exceeds the reference by -1 at least; graded rewards are -1 at least, too.
    fitness = jnp.where(reward < 0, reward - 1, reward - reference)
    fitness = jnp.where(weight > 0, fitness, -jnp.inf)
    fitness = jnp.where(_is_repeated(tokens, fitness, state.tokens), -jnp.inf, fitness)
    best, index = jax.lax.top_k(fitness, min(settings.newcomers, len(fitness)))
    joined = Population(
        tokens=jnp.concatenate([tokens[index], state.tokens]),
        fitness=jnp.concatenate([best, state.fitness]),
    )
    order = jnp.argsort(~jnp.isfinite(joined.fitness))  # stable: free places go last
    state = jax.tree.map(lambda part: part[order][: settings.population], joined)
    alive = jnp.isfinite(state.fitness)
    # A free place must not hold the tokens of a loss that was refused.
    state = state._replace(tokens=jnp.where(alive[:, None], state.tokens, 0))
    mean = jnp.sum(jnp.where(alive, state.fitness, 0)) / jnp.maximum(alive.sum(), 1)
    return state, {"population": alive.sum(), "population_mean": mean}


def _is_repeated(tokens: jax.Array, fitness: jax.Array, population: jax.Array) -> jax.Array:
    """Whether each sequence [M] is in the population, or repeats a fitter one of its generation.

    Sequences are compared by 32-bit hashes, which takes one sort of numbers instead of one of
    rows. Two different sequences with the same hash (one generation in a hundred has such a pair)
    are harmless: the less fit one stays out of the population, as if it had been less fit still.
    """
    weights = jax.random.bits(jax.random.key(0), (tokens.shape[1],))
    hashes, old_hashes = (
        jnp.sum(x.astype(jnp.uint32) * weights, axis=1) for x in (tokens, population)
    )
    order = jnp.lexsort((-fitness, hashes))
    ordered = hashes[order]
    repeats = jnp.append(False, ordered[1:] == ordered[:-1])
    return jnp.zeros(len(hashes), bool).at[order].set(repeats) | jnp.isin(hashes, old_hashes)


def _breed(grammar: Grammar, parents: _Parents, key: jax.Array) -> jax.Array:
    """Returns children [M, L]."""
    count = len(parents.crossover_slot)
    rows = jnp.arange(count)

    def step(
        carry: tuple[jax.Array, jax.Array], previous: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        slot, pointer = carry  # int32 [], and [M]: the parent's token that is copied next
        del previous
        edit = parents.edits[:, slot]
        pointer = pointer + (edit == DELETE)
        parent = (slot >= parents.crossover_slot).astype(jnp.int32)
        copied = parents.tokens[rows, parent, jnp.minimum(pointer, grammar.length - 1)]
        copies = (edit == KEEP) | (edit == DELETE)
        # The logit is so high that nothing else is drawn, unless the grammar forbids the token.
        logits = jnp.where(copies[:, None], 1e3 * jax.nn.one_hot(copied, grammar.size), 0.0)
        return (slot + 1, pointer + (edit != INSERT)), logits

    start = (jnp.int32(0), jnp.zeros(count, jnp.int32))
    keys = jax.random.split(key, grammar.length)
    return roll_out(grammar, step, start, count, sample_token, keys).tokens
