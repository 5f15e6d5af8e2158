"""The metrics that the report knows to be errors are those of the metric registry."""

from autolossgen.report.results import ERROR_METRICS
from autolossgen.training.metric_registry import METRIC_NAMES, get_metric


def test_report_and_registry_agree_on_which_metrics_are_errors():
    errors = {name for name in METRIC_NAMES if get_metric(name).lower_is_better}
    assert {*ERROR_METRICS} == errors
