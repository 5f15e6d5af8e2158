"""What all phases share: settings that depend on the data."""

import pytest
from rich.console import Console

from autolossgen.configs import synthetic
from autolossgen.pipeline.setup import make_setup


def set_up(decay_interactions):
    config = synthetic.get_config("smoke").copy_and_resolve_references()
    config.data.update(num_users=40, num_items=30, num_interactions=600)
    config.train.decay_interactions = decay_interactions
    return make_setup(config, Console(quiet=True), {})


@pytest.mark.parametrize(("given", "share"), [(0, 1), (100_000, 1), (50, None)])
def test_decays_are_for_as_many_interactions_as_the_config_says(given, share):
    """All three in proportion, and only where there are more of them."""
    setup = set_up(given)
    share = share or given / setup.splits.full_train.label.shape[0]
    assert setup.config.generation.weight_decay == pytest.approx(share * 1e-4)
    assert setup.config.promote.weight_decays == pytest.approx((share * 1e-4,))
    assert setup.config.test.weight_decays == pytest.approx((share * 1e-4,))
    notes = [note for note in setup.dataset.notes if "train.decay_interactions" in note]
    assert len(notes) == (share != 1)
