"""The journal of a search and the events that TensorBoard reads."""

import struct

from tensorboardX.proto.event_pb2 import Event

from autolossgen.report import Journal


def shown(folder):
    """What TensorBoard shows: (tag, step) -> value, after the purges of all files in order."""
    values = {}
    for path in sorted(folder.glob("events.*"), key=lambda path: path.stat().st_mtime_ns):
        for event in events(path.read_bytes()):
            if event.HasField("session_log"):
                values = {key: value for key, value in values.items() if key[1] < event.step}
            for value in event.summary.value:
                values[value.tag, event.step] = value.simple_value
    return values


def events(raw):
    """The records of an event file: length, its checksum, that many bytes, their checksum."""
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from("<Q", raw, at)
        yield Event.FromString(raw[at + 12 : at + 12 + length])
        at += length + 16


def test_events_hold_the_numbers_of_the_journal(tmp_path, generation):
    journal = Journal(tmp_path)
    for number in (1, 2, 3):
        journal.write(generation(number))
    journal.close()
    values = shown(tmp_path)
    assert [values["trained_total", step] for step in (1, 2, 3)] == [64, 128, 192]
    assert values["funnel/twin", 2] == 60
    assert ("generation_mean", 2) in values
    assert ("generation_mean", 3) not in values  # there it is None


def test_events_that_a_killed_run_lost_are_written_again(tmp_path, generation):
    killed = Journal(tmp_path)
    for number in (1, 2, 3):
        killed.write(generation(number))
    killed.close()
    for path in tmp_path.glob("events.*"):
        path.unlink()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"generation": 4, "rou')
    resumed = Journal(tmp_path, keep=2)
    resumed.write(generation(3, trained=63))
    resumed.close()
    assert [entry["generation"] for entry in resumed.entries] == [1, 2, 3]
    values = shown(tmp_path)
    assert [values["trained", step] for step in (1, 2, 3)] == [64, 64, 63]
