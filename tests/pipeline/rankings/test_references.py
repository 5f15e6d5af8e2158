"""Recommenders without a loss in a run of rankings: one that cannot be fitted ends nothing."""

import io
from types import SimpleNamespace

from rich.console import Console

from autolossgen.models.closed_form import CLOSED_FORMS, ClosedForm
from autolossgen.pipeline.rankings.records import make_records
from autolossgen.pipeline.rankings.run import run_references
from autolossgen.ranking.settings import RankTestSettings
from tests.helpers.ranking_sets import make_two_groups


def fail(liked, num_items, **settings):
    raise MemoryError


def test_a_reference_that_cannot_be_fitted_is_left_out_with_a_line(tmp_path):
    console = Console(file=io.StringIO(), width=80)
    topk = SimpleNamespace(
        console=console,
        data=make_two_groups(),
        references=[ClosedForm("ease", fail, {"l2": (1.0, 2.0)}), CLOSED_FORMS["popularity"]],
        settings=RankTestSettings(metric="ndcg@3", cutoffs=(3,)),
    )
    results, failures = run_references(topk, tmp_path, lambda: False)
    assert [result.name for result in results] == ["popularity"]
    why = "ease with l2 2 cannot be fitted: not enough memory"
    assert failures == [f"{why}; the test goes on without ease"]
    assert failures[0] in console.file.getvalue().replace("\n", " ")
    found_alone = results[0]._replace(name="own", formula="-pos", found=True)
    (record,) = make_records(
        [found_alone], metric="ndcg@3", model="mf", dataset="own"
    )  # with which nothing is compared
    assert record["vs_best_baseline"] is None  # nothing is compared with it
