"""Feeds damaged and made-up input to everything that reads some, and counts what happens.

    python benchmarks/fuzz.py --inputs=50000

Each input ends in success or in an error that the reader documents, within a few seconds of the
processor and little memory; anything else is printed, and the exit status is 1. What is damaged is
a file that the program wrote itself, or that people have: bytes are flipped, cut, doubled, and
replaced by numbers that hurt. Formulas and flags are made of the words of the language and others.
"""

import argparse
import csv
import gzip
import io
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import polars as pl

from autolossgen import data, parse, report
from autolossgen.configs.command_line import UsageError, read_command_line
from autolossgen.files import DamagedFile, read_arrays
from autolossgen.interfaces import ItemSets
from autolossgen.language.operators import OPERATORS
from autolossgen.pipeline.finished.page import write_page
from autolossgen.pipeline.finished.recommender import (
    Recommender,
    RecommendError,
    load_recommender,
    recommend,
    save_recommender,
)
from autolossgen.pipeline.workdir import check_workdir, read_results
from autolossgen.search.checkpoints import CheckpointError, open_checkpoints
from autolossgen.search.generation import SearchState

MOST_SECONDS, MOST_SECONDS_OF_PAGE = 5.0, 60.0  # a page compiles the curves of its losses
MOST_MEMORY = 8 * 2**30
HURTING = [b"1e999", b"-1", b"nan", b"null", b'"', b"\x00", b"\xff\xfe", b"9" * 400, b"[" * 2000]
INJECTED = "<script>alert(1)</script>"
# Text that would leave its place in a page: it makes an element or an attribute of a made-up name.
LEAVING = ["<xx>", "</script><xx>", "</style><xx>", "--><xx>", "]]><xx>", '" onxx="1', "' onxx='1"]
PAGES_EVERY = 1000  # inputs
WORDS = [*(op.name for op in OPERATORS), "label", "pred", "logit", "pos", "neg", "diff", "c0", "x"]
SIGNS = ["(", ")", ",", "+", "-", "*", "/", "**", "^", ".", "1", "0.5", "1e9", "_", "é", "\n", " "]

Check = Callable[[random.Random, Path], None]
"""(Random numbers, empty folder) -> nothing; raises what the reader raises."""


def damage(content: bytes, rng: random.Random) -> bytes:
    """Returns content with up to four damages."""
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(content) + 1), rng.randint(1, 64)
        kind = rng.randrange(6)
        if kind == 0 and place < len(content):
            flipped = bytes([content[place] ^ 1 << rng.randrange(8)])
            content = content[:place] + flipped + content[place + 1 :]
        elif kind == 1:
            content = content[:place]
        elif kind == 2:
            content = content[:place] + content[place + length :]
        elif kind == 3:
            content = content[:place] + content[place : place + length] + content[place:]
        elif kind == 4:
            content = content[:place] + rng.choice(HURTING) + content[place:]
        else:
            content = content[:place] + rng.randbytes(length) + content[place + length :]
    return content


def damage_json(value: object, rng: random.Random) -> object:
    """Returns a value of JSON in which something is of another kind, missing or extreme."""
    odd = [None, -1, 1e308, float("nan"), "", INJECTED, [], {}, True, 10**30, [[]], "\ud800"]
    if rng.random() < 0.15:
        return rng.choice(odd)
    if isinstance(value, dict) and value:
        key = rng.choice([*value])
        rest = {name: part for name, part in value.items() if name != key}
        return rest if rng.random() < 0.1 else {**value, key: damage_json(value[key], rng)}
    if isinstance(value, list) and value:
        number = rng.randrange(len(value))
        return [*value[:number], damage_json(value[number], rng), *value[number + 1 :]]
    return rng.choice(odd)


def check_formula(rng: random.Random, folder: Path) -> None:
    """Parses words and signs in any order, or a deep or long formula."""
    if rng.random() < 0.02:
        depth = rng.choice([50, 500, 5000])
        source = rng.choice(["square(", "-", "(", "pred + "]) * depth + "pred" + ")" * depth
    else:
        parts = rng.choices([*WORDS, *SIGNS, *SIGNS], k=rng.randint(1, 25))
        source = rng.choice(["", " "]).join(parts)
    parse(source)


def check_flags(rng: random.Random, folder: Path) -> None:
    """Reads flags with keys and values of any kind."""
    keys = ["seed", "search.generations", "test.learning_rates", "model.name", "model", "nothing.x"]
    values = ["1", "-1", "1e999", "(1,", "()", "(0.1,'a')", "None", "{}", "a" * 300, "", "nan", "é"]
    config = rng.choice(["configs/synthetic.py:smoke", "synthetic", "csv", "no", "a:b:c", ""])
    flags = [
        f"--config.{rng.choice(keys)}{rng.choice(['=', '', '=='])}{rng.choice(values)}"
        for _ in range(rng.randint(0, 3))
    ]
    extra = rng.choice([[], ["--workdir"], ["--workdir="], ["--nothing=1"], ["-h1"], ["\x00"]])
    read_command_line(["run.py", f"--config={config}", *flags, *extra])


def make_file_check(content: bytes, name: str, read: Callable[[Path], object]) -> Check:
    """Returns the check of one file that is damaged."""

    def check(rng: random.Random, folder: Path) -> None:
        path = folder / name
        path.write_bytes(damage(content, rng))
        read(path)

    return check


def make_tables() -> dict[str, bytes]:
    """Returns a table of interactions in each format that is read, by the file's name."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, 9, 120),
            "item": rng.integers(0, 9, 120),
            "rating": rng.integers(1, 6, 120),
            "time": np.arange(120) + 10**9,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / name for name in ("t.csv", "t.tsv", "t.parquet", "t.zip")}
        frame.write_csv(paths["t.csv"])
        frame.write_csv(paths["t.tsv"], separator="\t")
        frame.write_parquet(paths["t.parquet"])
        with zipfile.ZipFile(paths["t.zip"], "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(paths["t.csv"], "t.csv")
        contents = {name: path.read_bytes() for name, path in paths.items()}
        return {**contents, "t.csv.gz": gzip.compress(contents["t.csv"])}


def read_table(path: Path) -> None:
    """Reads interactions as a run does."""
    config = read_command_line(["run.py", "--config=csv", f"--config.data.path={path}"]).config
    config.data.threshold = 3.0
    data.build(**config.data)


def make_result_check(results: dict, hall: bytes) -> Check:
    """Returns the check of a run's folder whose results or hall of fame are damaged."""

    def check(rng: random.Random, folder: Path) -> None:
        text = json.dumps(results).encode()
        if rng.random() < 0.5:
            text = json.dumps(damage_json(results, rng)).encode()
        elif rng.random() < 0.5:
            text = damage(text, rng)
        (folder / "results.json").write_bytes(text)
        (folder / "hall_of_fame.csv").write_bytes(damage(hall, rng))
        (folder / "config.json").write_bytes(damage(b'{"seed": 0, "data": {"name": "x"}}', rng))
        choice = rng.randrange(4)
        if choice == 0:
            page = write_page(folder).read_text()
            if INJECTED in page:
                raise AssertionError("the page has an element that came from data")
        elif choice == 1:
            report.read_found_losses(folder, 3)
        elif choice == 2:
            report.read_found_losses(folder / "hall_of_fame.csv", 3)
        else:
            check_workdir(folder, {"seed": 0})
            read_results(folder)

    return check


class _Page(HTMLParser):
    """Collects what of ``LEAVING`` became a part of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.left += [name for name in (tag, *dict(attributes)) if name in ("xx", "onxx")]

    handle_startendtag = handle_starttag


def replace_texts(value: object, rng: random.Random, share: float) -> object:
    """Returns a value of JSON in which a share of the texts would leave their place."""
    if isinstance(value, dict):
        return {key: replace_texts(part, rng, share) for key, part in value.items()}
    if isinstance(value, list):
        return [replace_texts(part, rng, share) for part in value]
    if isinstance(value, str) and rng.random() < share:
        return rng.choice(["", value]) + rng.choice(LEAVING)
    return value


def make_page_check(run: Path) -> Check:
    """Returns the check of a run's page: texts of data, losses and config stay texts."""
    names = ("results.json", "config.json", "promotion.json", "data.json")
    texts = {name: (run / name).read_text(encoding="utf-8") for name in names}
    (header, *rows) = csv.reader(io.StringIO((run / "hall_of_fame.csv").read_text("utf-8")))

    def check(rng: random.Random, folder: Path) -> None:
        share = rng.choice([0.02, 0.1, 0.5])
        for name, text in texts.items():
            hostile = replace_texts(json.loads(text), rng, share)
            (folder / name).write_text(json.dumps(hostile), encoding="utf-8")
        with (folder / "hall_of_fame.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *replace_texts(rows, rng, share)])
        (folder / "command.txt").write_text(rng.choice(LEAVING))
        page = _Page()
        page.feed(write_page(folder).read_text(encoding="utf-8"))
        if page.left:
            raise AssertionError(f"texts left their place in the page: {page.left}")

    return check


def make_recommender_check() -> Check:
    """Returns the check of a recommender with one damaged file."""
    ids = pl.DataFrame({"id": ["a", "b", "c"], "row": [0, 1, 2]})
    seen = ItemSets.of_pairs(np.array([0, 1]), np.array([1, 2]), 3)
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    about = {"kind": "tables", "score": "dot", "num_items": 3, "loss": {"name": "bpr"}}
    whole = Recommender(about, {"user": table, "item": table}, {"user": ids, "item": ids}, seen)
    template = Path(tempfile.mkdtemp())
    save_recommender(whole, template)

    def check(rng: random.Random, folder: Path) -> None:
        shutil.copytree(template / "recommender", folder / "recommender")
        path = rng.choice(sorted((folder / "recommender").iterdir()))
        if path.suffix == ".json" and rng.random() < 0.5:
            path.write_text(json.dumps(damage_json(about, rng)))
        else:
            path.write_bytes(damage(path.read_bytes(), rng))
        recommend(load_recommender(folder), "a", k=2)

    return check


def make_checkpoint_check() -> Check:
    """Returns the check of checkpoints, of which one or both are damaged."""
    rows = {"table": jnp.ones((3, 4)), "count": jnp.int32(1)}
    state = SearchState(rows, (), jnp.int32(0), jnp.float32(0), (), (), (), jnp.int32(1))
    template = Path(tempfile.mkdtemp())
    open_checkpoints(template, version="1").save(state)
    (content,) = (path.read_bytes() for path in template.iterdir())

    def check(rng: random.Random, folder: Path) -> None:
        for number in range(rng.randint(1, 2)):
            (folder / f"{number + 1:09d}.npz").write_bytes(damage(content, rng))
        open_checkpoints(folder, version="1").restore(state)
        read_arrays(folder / "000000001.npz")

    return check


def make_checks(run: Path) -> dict[str, tuple[Check, tuple[type[Exception], ...]]]:
    """Returns name -> check, and the errors that its reader documents."""
    results = json.loads((run / "results.json").read_text())
    hall = (run / "hall_of_fame.csv").read_bytes()
    checks: dict[str, tuple[Check, tuple[type[Exception], ...]]] = {
        "formulas": (check_formula, (ValueError,)),
        "flags": (check_flags, (UsageError,)),
        "results and hall of fame": (make_result_check(results, hall), (ValueError,)),
        "recommenders": (make_recommender_check(), (RecommendError,)),
        "checkpoints": (make_checkpoint_check(), (CheckpointError, DamagedFile)),
    }
    checks["pages"] = make_page_check(run), (ValueError,)
    for name, content in make_tables().items():
        read = make_file_check(content, name, read_table)
        checks[f"interactions {name.partition('.')[2]}"] = read, (ValueError, OSError)
    return checks


def main() -> int:
    """Feeds all readers in turn; prints what became of the inputs, and what should not have."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, to damage copies of")
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="checks whose name has this word")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    checks = {name: one for name, one in make_checks(given.run).items() if given.only in name}
    counts: Counter[str] = Counter()
    faults: dict[str, str] = {}
    slowest: dict[str, float] = dict.fromkeys(checks, 0.0)
    often = [name for name in checks if name != "pages"] or [*checks]
    for number in range(given.inputs):
        name = often[number % len(often)]
        if "pages" in checks and (number + 1) % PAGES_EVERY == 0:
            name = "pages"
        rng = random.Random(f"{given.seed} {number}")
        most = MOST_SECONDS_OF_PAGE if name == "pages" else MOST_SECONDS
        fault, seconds = try_one(*checks[name], rng, most)
        slowest[name] = max(slowest[name], seconds)
        counts[f"{name}: {'fault' if len(fault) > 20 else fault}"] += 1
        if len(fault) > 20 and fault not in faults:
            faults[fault] = f"{name}, input {number}"
            print(f"{faults[fault]}:\n{fault}", flush=True)
        if (number + 1) % 5_000 == 0 or number + 1 == given.inputs:
            print(f"{number + 1:,} inputs, {len(faults)} kinds of faults", flush=True)
    for line in sorted(counts):
        print(f"{counts[line]:7,} {line}")
    for name, seconds in slowest.items():
        print(f"slowest of {name}: {seconds:.2f} s")
    return int(bool(faults))


def try_one(
    check: Check,
    documented: tuple[type[Exception], ...],
    rng: random.Random,
    most_seconds: float = MOST_SECONDS,
) -> tuple[str, float]:
    """Returns what became of one input, or where it went wrong; and its seconds."""
    folder, began = Path(tempfile.mkdtemp()), time.process_time()
    try:
        check(rng, folder)
        outcome = "success"
    except documented as error:
        outcome = "readable error" if str(error) else f"empty message of {type(error).__name__}, at"
    except BaseException:
        outcome = traceback.format_exc(limit=-4)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.process_time() - began
    if seconds > most_seconds:
        outcome = f"took {seconds:.0f} s, which is too long"
    return outcome, seconds


if __name__ == "__main__":
    sys.exit(main())
