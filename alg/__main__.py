"""The command ``autolossgen``, also ``python -m autolossgen``: ``run.py`` from any folder."""

import sys

from . import import_from_search


def main() -> int:
    """Runs the command line of this process; returns its exit status."""
    try:
        run = import_from_search("pipeline.main", "main")
    except ImportError as error:
        print(f"autolossgen: {error}", file=sys.stderr)
        return 1
    return run(["autolossgen", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
