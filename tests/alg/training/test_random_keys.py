"""Numbers that are folded into one key must differ."""

from autolossgen.training import random_keys

COUNT = 10_000  # epochs, seeds or generations, more than any run has


def test_no_two_users_of_a_key_fold_in_the_same_number():
    counted = range(1, COUNT)
    of_search = [
        *map(random_keys.generation_number, counted),
        *map(random_keys.advance_number, counted),
    ]
    of_generation = [random_keys.RESTART, random_keys.SUBSAMPLE]
    later_epochs = [random_keys.FURTHER_EPOCHS + number for number in counted]
    of_epoch = [random_keys.EXAMPLES, *later_epochs, random_keys.STEPS]
    of_training = [*range(COUNT), *(random_keys.FURTHER_SEEDS + number for number in counted)]
    for numbers in (of_search, of_generation, of_epoch, of_training):
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) < 2**32
