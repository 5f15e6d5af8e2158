"""The numbers that are folded into random keys by hand, in one place.

``jax.random.fold_in(key, n)`` gives independent keys for different ``n``. So whoever folds a number
into a key has to choose one that nobody else folds into the same key. These are the keys, and who
folds what into them:

the key of a run
  ``SEARCH`` for the key of its search, ``RECOMMENDER`` for that of the recommender that stays.

the key of a search
  ``generation_number(g)``, even, and ``advance_number(g)``, odd, for generation g from 1.

the key that a generation or an advance is called with
  ``SUBSAMPLE`` for the interactions that it trains on, and ``RESTART`` for the restart of the base
  model. An advance also trains with this key, as the key of an epoch. There ``EXAMPLES`` is the
  same number as ``RESTART``, which is harmless: one key draws items, the other one is split.

the key of the weights of a restart
  ``NEVER_CHOSEN``, for a key that no run uses.

the key of an epoch, which also shuffles its batches
  ``EXAMPLES`` for the negatives that it draws, ``FURTHER_EPOCHS + epoch`` for later epochs of a
  candidate, and ``STEPS`` for what single steps draw, such as dropout.

the key of an epoch of a stream
  the number of a chunk, from 0, for a key that the chunk trains with, as the key of an epoch.
  Number 1 is ``EXAMPLES``, too, which is harmless: a chunk folds ``EXAMPLES`` into its own key,
  and nobody folds it into that of a stream's epoch.

the key of a training from scratch
  ``epoch``, from 0, for the key of an epoch, and ``FURTHER_SEEDS + number`` for trainings with
  further seeds.

``2**30`` and ``2**31`` cannot collide with a count of epochs: no training has so many. ``fold_in``
takes numbers below ``2**32``.
"""

SEARCH = 0
"""Folded into the key of a run, for its search."""

RECOMMENDER = 1
"""Folded into the key of a run, for the training of the recommender that stays."""

EXAMPLES = 1
"""Folded into the key of an epoch, for the negatives that it draws."""

RESTART = 1
"""Folded into the key of an advance, for the trial and the weights of a new base model."""

NEVER_CHOSEN = 1
"""Folded into the key of a restart's weights, for a key that only XLA thinks may be used."""

SUBSAMPLE = 2
"""Folded into the key of a generation or an advance, for the interactions that it trains on."""

FURTHER_EPOCHS = 2**30
"""Plus an epoch, from 1: folded into the key of a candidate's first epoch, for the later ones."""

STEPS = 2**31
"""Folded into the key of an epoch, for the keys of its steps."""

FURTHER_SEEDS = 2**31
"""Plus a number, from 1: folded into the key of a training, for trainings with further seeds."""


def generation_number(generation: int) -> int:
    """Returns what a generation, counted from 1, folds into the key of a search.

    Example:
      >>> [generation_number(g) for g in (1, 2)], [advance_number(g) for g in (1, 2)]
      ([2, 4], [3, 5])
    """
    return 2 * generation


def advance_number(generation: int) -> int:
    """Returns what the advance after a generation folds into the key of a search."""
    return 2 * generation + 1
