"""Where data comes from, with made-up places; nothing here touches a network."""

import hashlib
import io
import subprocess
import urllib.error
import zipfile
from pathlib import Path

import pytest

from autolossgen import data
from autolossgen.data import download as sources
from autolossgen.data import registry as origins
from autolossgen.data.download import Download, obtain, unpack
from autolossgen.data.loading import load

RAW = b"the file"
SHA = f"sha256:{hashlib.sha256(RAW).hexdigest()}"


def fetched(calls, title, answer, *, file="u.data", checksum=SHA):
    def fetch():
        calls.append(title)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Download(title, file, checksum, fetch)


def get(places, cache):
    return obtain(places, cache=cache, how_to_go_on="Go on like this.")


def test_the_first_place_that_delivers_is_used_and_cached(tmp_path):
    calls = []
    places = [
        fetched(calls, "down", urllib.error.URLError(OSError("no such host"))),
        fetched(calls, "up", RAW),
        fetched(calls, "never asked", RAW),
    ]
    assert get(places, tmp_path / "new") == ("u.data", RAW, f"up (cached as {tmp_path}/new/u.data)")
    assert calls == ["down", "up"]
    assert (tmp_path / "new" / "u.data").read_bytes() == RAW

    name, raw, note = get(places, tmp_path / "new")
    assert (name, raw) == ("u.data", RAW)
    assert "cached, from" in note
    assert calls == ["down", "up"]


def test_every_cached_file_is_looked_for_before_any_place_is_asked(tmp_path):
    calls = []
    (tmp_path / "second.inter").write_bytes(RAW)
    places = [
        fetched(calls, "first", RAW, file="first.zip"),
        fetched(calls, "second", RAW, file="second.inter"),
    ]
    assert get(places, tmp_path)[0] == "second.inter"
    assert calls == []


def test_a_cached_file_with_a_wrong_checksum_is_replaced(tmp_path):
    calls = []
    (tmp_path / "u.data").write_bytes(RAW[:-1])
    assert get([fetched(calls, "up", RAW)], tmp_path)[1] == RAW
    assert calls == ["up"]
    assert (tmp_path / "u.data").read_bytes() == RAW


def test_a_download_with_a_wrong_checksum_is_neither_used_nor_cached(tmp_path):
    calls = []
    places = [fetched(calls, "tampered", b"other"), fetched(calls, "up", RAW)]
    assert get(places, tmp_path)[1] == RAW
    assert calls == ["tampered", "up"]
    with pytest.raises(data.DataError, match="tampered: came without the checksum sha256"):
        get(places[:1], tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_with_no_place_in_reach_the_message_lists_each_with_its_reason(tmp_path):
    pip = subprocess.CalledProcessError(1, "pip", stderr=b"WARNING: x\nERROR: nothing found\n")
    (tmp_path / "bad").write_bytes(b"?")
    places = [
        fetched([], "web", urllib.error.URLError(TimeoutError("timed out")), file="bad"),
        fetched([], "pip", pip),
        fetched([], "slow", subprocess.TimeoutExpired("pip", 120)),
        fetched([], "archive", KeyError("no such member")),
    ]
    with pytest.raises(data.DataError) as error:
        get(places, tmp_path)
    expected = [
        f"cache: {tmp_path}/bad does not have the checksum {SHA}",
        f"cache: no {tmp_path}/u.data",
        "web: timed out",
        "pip: ERROR: nothing found",
        "slow: Command 'pip' timed out after 120 seconds",
        "archive: 'no such member'",
        "Go on like this.",
    ]
    for fragment in expected:
        assert fragment in str(error.value)


def test_an_unwritable_cache_does_not_keep_the_data_away(tmp_path):
    (tmp_path / "file").write_text("a file where the cache folder should be")
    _, raw, note = get([fetched([], "up", RAW)], tmp_path / "file")
    assert raw == RAW
    assert note.startswith("up (not cached: ")


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOLOSSGEN_CACHE", str(tmp_path))
    assert sources.get_cache_folder() == tmp_path
    monkeypatch.delenv("AUTOLOSSGEN_CACHE")
    assert "autolossgen" in sources.get_cache_folder().parts


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return buffer.getvalue()


def test_unpack_finds_the_member_wherever_it_lies():
    archive = zipped({"ml-1m/README": b"?", "ml-1m/ratings.dat": RAW})
    assert unpack("a.zip", archive, ["ratings.dat"]) == ("a.zip/ml-1m/ratings.dat", RAW)
    assert unpack("ratings.dat", RAW, ["ratings.dat"]) == ("ratings.dat", RAW)
    with pytest.raises(data.DataError, match=r"a\.zip holds none of u\.data"):
        unpack("a.zip", archive, ["u.data"])
    with pytest.raises(data.DataError, match="not a zip archive"):
        unpack("a.zip", archive[:30], ["u.data"])


def test_the_wheel_on_the_index_is_asked_for_by_pip_of_this_python(monkeypatch):
    def download(command, **_):
        folder = Path(command[command.index("--dest") + 1])
        inside = "recbole/dataset_example/ml-100k/"
        wheel = zipped({inside + name: name.encode() for name in sources.RECBOLE_FILES})
        (folder / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel)
        assert command[:4] == [sources.sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command

    monkeypatch.setattr(sources.subprocess, "run", download)
    archive = sources.make_recbole_download().fetch()
    for name in ("ml-100k.inter", "ml-100k.user", "ml-100k.item"):
        assert unpack("x.zip", archive, [name])[1] == name.encode()


def test_load_without_a_path_goes_through_the_sources(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOLOSSGEN_CACHE", str(tmp_path))
    calls = []
    down = fetched(calls, "https://web/ml-100k.zip", OSError("no network"), file="ml-100k.zip")
    origin = origins.DATA_SETS["ml100k"]._replace(sources=(down,))
    monkeypatch.setitem(origins.DATA_SETS, "ml100k", origin)
    with pytest.raises(data.DataError) as error:
        load(name="ml100k")
    for fragment in ["no network", "--config.data.path=.../ml-100k.zip", "configs/synthetic.py"]:
        assert fragment in str(error.value)

    rows = "".join(f"{k % 9 + 1}\t{k + 1}\t{k * k % 5 + 1}\t{k}\n" for k in range(300))
    raw = zipped({"ml-100k/u.data": rows.encode()})
    checksum = f"md5:{hashlib.md5(raw).hexdigest()}"
    up = fetched(calls, "web", raw, file="ml-100k.zip", checksum=checksum)
    monkeypatch.setitem(origins.DATA_SETS, "ml100k", origin._replace(sources=(up,)))
    dataset = load(name="ml100k")
    assert dataset.sizes == {"user": 10, "item": 301}
    assert dataset.notes[0] == f"source: web (cached as {tmp_path}/ml-100k.zip)"
