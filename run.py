"""Searches, checks and tests a loss: ``python run.py --config=configs/ml100k.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # this checkout, installed or not

from autolossgen.pipeline.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
