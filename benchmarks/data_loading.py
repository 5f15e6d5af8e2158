"""Seconds to read and split data sets of full size, on files generated in their formats.

Usage::

    python benchmarks/data_loading.py [--quick]
"""

import argparse
import gzip
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

from autolossgen import data
from tests.helpers import file_generator as files


def measure(title: str, **section) -> None:
    """Prints how long it takes to build what a data section describes."""
    start = time.perf_counter()
    dataset = data.build(**section)
    seconds = time.perf_counter() - start
    splits = (dataset.train, dataset.reward, dataset.valid, dataset.test)
    rows = sum(split.label.size for split in splits)
    print(f"{title:34} {rows:>10,} rows  {seconds:6.2f} s", flush=True)


def main() -> None:
    """Generates files, reads them and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a hundredth of the size")
    less = 100 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = {"num_users": 6_040, "num_items": 3_952, "num_ratings": 1_000_209}
        made = files.make_ratings(**{key: -(-value // less) for key, value in size.items()})
        files.write_movielens_1m(folder, made)
        measure("ml1m", name="ml1m", path=place)
        measure("ml1m, all features", name="ml1m", path=place, features=("all",))
        files.write_table(folder / "own.csv", made)
        files.write_table(folder / "own.parquet", made)
        names = {"user": "customer", "item": "product", "label": "stars", "time": "at"}
        for file in ("own.csv", "own.parquet"):
            measure(file, name="csv", path=str(folder / file), threshold=3.0, **names)

        size = {"num_users": 192_403, "num_items": 63_001, "num_ratings": 1_689_188}
        made = files.make_ratings(**{key: -(-value // less) for key, value in size.items()})
        path = folder / "Electronics_5.json"
        files.write_electronics(path, made)
        measure("electronics, JSON lines", name="electronics", path=str(path))
        packed = folder / "Electronics_5.json.gz"
        packed.write_bytes(gzip.compress(path.read_bytes(), 1))
        measure("electronics, JSON lines in gzip", name="electronics", path=str(packed))
        files.write_ratings_only(folder / "Electronics.csv", made)
        path = folder / "Electronics.csv"
        measure("electronics, ratings only", name="electronics", path=str(path))


if __name__ == "__main__":
    main()
