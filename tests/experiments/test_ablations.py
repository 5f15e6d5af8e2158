"""The figures of ablations: pairs, marks, tables and panels."""

import numpy as np
import pytest

from experiments import ablation_curves as curves
from experiments.ablations import VARIANTS


def make_searches(*curves_by_seed):
    """Returns what ablations.py writes of a variant: for each seed a curve of (trained, lead)."""
    return [
        {
            "curve": [
                {"trained": trained, "valid": 0.7 + lead, "test": 0.8 + lead}
                for trained, lead in curve
            ],
            "bce": {"test": 0.8},
            "seed": seed,
            "looks": [25, 50, 100, 200, 400],
        }
        for seed, curve in enumerate(curves_by_seed)
    ]


def test_ablations_are_paired_with_bce_at_each_mark():
    found = make_searches([(80, 0.002), (310, 0.004)], [(90, 0.004)], [(60, 0.006)])
    half = 0.002 / 3**0.5 * 4.30265
    assert curves.compute_lead(found, 50) == pytest.approx((0.004, half, 3), rel=1e-4)
    assert curves.compute_lead(found, 100).num_seeds == 0  # what was found later does not count
    mean, half, seeds = curves.compute_lead(found, 200)
    assert (round(mean, 6), np.isnan(half), seeds) == (0.004, True, 1)


def test_ablations_are_compared_seed_by_seed():
    searches = make_searches([(60, 0.001)], [(60, 0.003)], [(60, 0.002)], [(60, 0.009)])
    other = make_searches([(60, 0.0)], [(60, 0.001)], [(60, 0.002)])  # one seed less
    half = 0.001 / 3**0.5 * 4.30265
    assert curves.compare_variants(searches, other, 50) == pytest.approx((0.001, half, 3), rel=1e-4)
    variants = dict.fromkeys(("evolution", "evolution, seeds", "evolution, paper filter"), searches)
    variants |= dict.fromkeys(("random", "random, raw reward"), other)
    variants |= {"evolution, raw reward": searches, "evolution, paper filter, raw reward": searches}
    rows = [row.split(" | ")[:3] for row in curves.make_contrast_table(variants).splitlines()[2:]]
    ahead, same = "+0.0010 ± 0.0025 (3 of 4 seeds)", "+0.0000 ± 0.0000"
    assert rows == [
        ["| evolution", "random", ahead],
        ["| evolution, raw reward", "random, raw reward", ahead],
        ["| random, raw reward", "random", same],
        ["| evolution, raw reward", "evolution", same],
        ["| evolution, paper filter, raw reward", "evolution, paper filter", same],
        ["| evolution, paper filter", "evolution", same],
        ["| evolution, paper filter, raw reward", "evolution, raw reward", same],
        ["| evolution, seeds", "evolution", same],
    ]


def test_ablations_count_the_trainings_to_reach_random_search():
    random = make_searches([(60, 0.001), (240, 0.003), (410, 0.003)], [(60, 0.001)])
    fast = make_searches([(60, 0.004)], [(120, 0.001)])
    slow = make_searches([(60, 0.002)], [])
    assert curves.count_trainings_to_reach(fast, random) == [0.25, 2]
    assert curves.count_trainings_to_reach(slow, random) == [np.inf, np.inf]
    early = make_searches([(30, 0.004)], [(120, 0.001)])
    assert curves.count_trainings_to_reach(early, random) == [
        0.125,
        2,
    ]  # of 30 and of 240 trainings
    early[1]["looks"] = [50, 100, 200, 400]  # so what the other seed had before 50 does not count
    assert curves.count_trainings_to_reach(early, random) == [np.inf, 2]


def test_the_table_of_ablations_has_every_variant():
    variants = {
        "random": make_searches([(60, 0.001), (230, 0.002)], [(60, 0.001)]),
        "fast": make_searches([(60, 0.002)]),
        "slow": make_searches([(60, 0.001)]),
    }
    rows = curves.make_table(variants).splitlines()
    assert rows[2] == "| random | +0.0010 | – | +0.0020 (1 of 2 seeds) | – |  |  |"
    assert rows[3] == "| fast | +0.0020 | – | – | – | 0.26 |  |"
    assert rows[4] == "| slow | +0.0010 | – | – | – | more |  |"
    labels = curves.plot_curves(variants).legends[0].get_texts()
    assert [text.get_text() for text in labels] == ["random", "fast", "slow"]


def test_the_plot_of_ablations_has_a_panel_for_each_filter_and_scale():
    found = make_searches([(60, 0.001)])
    names = ["random", "evolution", "random, paper filter, raw reward", "random, seeds"]
    variants = dict.fromkeys(names, found)
    assert {title: [*lines] for title, lines in curves.group_into_panels(variants).items()} == {
        "graded filter": ["random", "evolution"],
        "graded filter, raw reward": [],
        "paper filter": [],
        "paper filter, raw reward": ["random"],
        "options of random": ["random", "seeds"],
    }
    figure = curves.plot_curves(variants)
    assert [axes.get_title() for axes in figure.axes] == [*curves.group_into_panels(variants)]
    colors = [line.lines[0].get_color() for axes in figure.axes for line in axes.containers]
    assert colors[0] == colors[2] == colors[3]  # one method, one colour
    assert len({*colors}) == 3


def test_ablations_are_of_every_method_filter_and_scale():
    assert {*curves.group_into_panels(VARIANTS)} == {
        *curves.PANELS.values()
    }  # none is taken for an option
    assert len({tuple(changes.items()) for changes in VARIANTS.values()}) == len(VARIANTS) == 16
    reinforce = VARIANTS["reinforce, paper filter, raw reward"]
    assert reinforce["policy.name"] == "reinforce"
    assert reinforce["generation.reward_scale"] == "raw"
    assert reinforce["policy.reinforce.below_average"] == -1
    assert (reinforce["filter.name"], reinforce["policy.reinforce.explore"]) == ("paper", 0.0)
