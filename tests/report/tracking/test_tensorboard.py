"""The journal of a search, and the events as TensorBoard itself reads them."""

import pytest

from autolossgen.report import Journal, open_trackers

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

CONFIG = {"seed": 3, "test": {"scale": "gradient", "rates": (0.1, 1.0)}}


def read_events(folder):
    """Returns what TensorBoard knows of a folder, purged steps left out."""
    everything = accumulator.EventAccumulator(
        str(folder), size_guidance=dict.fromkeys((accumulator.SCALARS, accumulator.TENSORS), 0)
    )
    return everything.Reload()


def read_curve(events, name):
    return {event.step: event.value for event in events.Scalars(name)}


def test_events_hold_the_numbers_of_the_journal(tmp_path, generation):
    with open_trackers((), tmp_path, CONFIG) as trackers:
        journal = Journal(tmp_path, trackers=trackers)
        for number in (1, 2, 3):
            journal.write(generation(number))
    events = read_events(tmp_path)
    assert read_curve(events, "trained_total") == {1: 64, 2: 128, 3: 192}
    assert read_curve(events, "funnel/twin")[2] == 60
    assert set(read_curve(events, "generation_mean")) == {1, 2}  # there it is None
    (formula,) = events.Tensors("best_formula/text_summary")  # it stays the same
    assert generation(1)["best_formula"] in formula.tensor_proto.string_val[0].decode()


def test_events_that_a_killed_run_lost_are_written_again(tmp_path, generation):
    with open_trackers((), tmp_path, CONFIG) as trackers:
        killed = Journal(tmp_path, trackers=trackers)
        for number in (1, 2, 3):
            killed.write(generation(number))
    for path in tmp_path.glob("events.*"):
        path.unlink()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"generation": 4, "rou')
    with open_trackers((), tmp_path, CONFIG) as trackers:
        resumed = Journal(tmp_path, keep=2, trackers=trackers)
        resumed.write(generation(3, trained=63))
    assert [entry["generation"] for entry in resumed.entries] == [1, 2, 3]
    assert read_curve(read_events(tmp_path), "trained") == {1: 64, 2: 64, 3: 63}


def test_curves_and_settings_with_the_outcome_are_written(tmp_path, make_results):
    with open_trackers((), tmp_path, CONFIG) as trackers:
        follow = trackers.make_follower()
        for epoch in range(3):
            follow("tuning", epoch, 2, {"bce": 0.5 + epoch / 10} if epoch else {})
        follow("test", 1, 2, {"bce": 0.7})
        trackers.log_results(make_results())
    events = read_events(tmp_path)
    assert read_curve(events, "tuning/bce") == pytest.approx({1: 0.6, 2: 0.7})
    assert read_curve(events, "test/bce") == pytest.approx({1: 0.7})
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"test.scale" in content
    assert b"gradient" in content
    assert read_curve(events, "found-1/test_auc") == pytest.approx({1: 0.81})


def test_curves_stay_where_a_run_goes_on_after_its_search(tmp_path, generation):
    with open_trackers((), tmp_path, CONFIG) as trackers:
        journal = Journal(tmp_path, trackers=trackers)
        journal.write(generation(1))
        trackers.make_follower()("promotion", 1, 4, {"found-1": 0.7})
    (path,) = tmp_path.glob("events.*")
    path.rename(tmp_path / "events.out.tfevents.1.earlier")  # a name is of a second
    with open_trackers((), tmp_path, CONFIG) as trackers:
        Journal(tmp_path, keep=1, trackers=trackers)
        trackers.make_follower()("promotion", 2, 4, {"found-1": 0.8})
    events = read_events(tmp_path)
    assert read_curve(events, "trained_total") == {1: 64}
    assert read_curve(events, "promotion/found-1") == pytest.approx({1: 0.7, 2: 0.8})


def test_nothing_is_written_of_nothing(tmp_path):
    with open_trackers((), tmp_path, CONFIG):
        pass
    assert list(tmp_path.iterdir()) == []
