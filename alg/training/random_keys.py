"""The numbers that are folded into random keys by hand, in one place.

``jax.random.fold_in(key, n)`` gives independent keys for different ``n``. Whoever folds numbers
into a key that others fold numbers into as well has to choose numbers that the others never use.
Each kind of key has a table below: who folds what into it. A test checks that the ranges of a table
do not meet.

The key of a search, of a run:

=================================== ==================================
number                              who
=================================== ==================================
``generation_number(g)``, g >= 1    generation g, even numbers
``advance_number(g)``, g >= 1       the advance after it, odd numbers
=================================== ==================================

The key that a generation or an advance is called with is split, where it trains candidates, and:

=================================== ==================================
number                              who
=================================== ==================================
``RESTART``                         the restart of a base model
``SUBSAMPLE``                       the choice of training interactions
=================================== ==================================

The key of an epoch, which also shuffles its batches:

=================================== ==================================
number                              who
=================================== ==================================
``EXAMPLES``                        drawn negatives
``FURTHER_EPOCHS + epoch``          later epochs of a candidate
``STEPS``                           what single steps draw, as dropout
=================================== ==================================

The key of a training from scratch, in promotion:

=================================== ==================================
number                              who
=================================== ==================================
``epoch``, from 0                   the key of an epoch
``FURTHER_SEEDS + number``          trainings with further seeds
=================================== ==================================

The upper half of the 32-bit numbers and the numbers from ``2**30`` cannot collide with counts of
epochs, which no training reaches.
"""

EXAMPLES = 1
"""Into the key of an epoch: for the negatives that it draws."""

RESTART = 1
"""Into the key of an advance: for the trial and the weights of a restarted base model."""

SUBSAMPLE = 2
"""Into the key of a generation or an advance: for the interactions that it trains on."""

FURTHER_EPOCHS = 2**30
"""Plus an epoch, from 1, into the key of the first epoch of a candidate."""

STEPS = 2**31
"""Into the key of an epoch: for the keys of its steps, apart from what shuffles the batches."""

FURTHER_SEEDS = 2**31
"""Plus a number, from 1, into a key of training: for trainings with further seeds."""


def generation_number(generation: int) -> int:
    """Returns what a generation, counted from 1, folds into the key of a search.

    Example:
      >>> [generation_number(g) for g in (1, 2)], [advance_number(g) for g in (1, 2)]
      ([2, 4], [3, 5])
    """
    return 2 * generation


def advance_number(generation: int) -> int:
    """Returns what the advance after a generation, counted from 1, folds into a search's key."""
    return 2 * generation + 1
