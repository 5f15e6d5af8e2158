"""``python -m autolossgen.report WORKDIR``: writes the report of a run folder again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .page import write_report
from .results import ReportError


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report of the folder named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description="Write report.html again from the files of a run.",
    )
    parser.add_argument("workdir", type=Path, help="folder of a run, with its results.json")
    workdir = parser.parse_args(arguments).workdir
    try:
        path = write_report(workdir)
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {workdir}: the report cannot be written: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
