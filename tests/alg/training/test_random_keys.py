"""Numbers folded into one key must differ; the ranges are those of the module's tables."""

from itertools import chain

from autolossgen.training import random_keys

COUNT = 10_000  # epochs, seeds or generations, more than any run has


def test_no_two_users_of_a_key_fold_in_the_same_number():
    generations = range(1, COUNT)
    further_epochs = range(random_keys.FURTHER_EPOCHS + 1, random_keys.FURTHER_EPOCHS + COUNT)
    further_seeds = range(random_keys.FURTHER_SEEDS + 1, random_keys.FURTHER_SEEDS + COUNT)
    for numbers in (
        [*map(random_keys.generation_number, generations)]
        + [*map(random_keys.advance_number, generations)],
        [random_keys.RESTART, random_keys.SUBSAMPLE],
        [random_keys.EXAMPLES, *further_epochs, random_keys.STEPS],
        [*chain(range(COUNT), further_seeds)],
    ):
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) < 2**32  # what fold_in takes
