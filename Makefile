# make run: set up, then search, check and test a loss on MovieLens-100K.
# make check: set up, then lint, types and the fast tests, for everyday work.
# make test: set up, then everything that CI checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run check test clean

run: $(VENV)/search
	$(BIN)/python run.py

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow"

test: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python tests/wheel.py
	$(BIN)/python tests/smoke.py
	$(BIN)/python benchmarks/throughput.py --quick --lanes 8

$(VENV)/search: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[search]"
	touch $@

$(VENV)/dev: $(VENV)/search
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
