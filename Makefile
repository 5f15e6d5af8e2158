# make run: set up, then search, check and test a loss on MovieLens-100K.
# make check: set up, then lint, types and the fast tests, for everyday work.
# make test: set up, then everything that CI checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Python compiles what it imports once, not in each process, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run check test lint types site wheel smoke throughput clean

run: $(VENV)/search
	$(BIN)/python run.py

check: lint types
	$(BIN)/pytest -m "not slow"

# pytest has both cores of a small machine. Each of the others has one, so that two go on at a time.
test: lint
	$(BIN)/pytest
	$(MAKE) --no-print-directory --jobs=2 smoke types wheel site throughput

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	$(BIN)/mypy

site: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/dev
	$(BIN)/python tests/wheel.py

smoke: $(VENV)/dev
	$(BIN)/python tests/smoke.py

throughput: $(VENV)/dev
	$(BIN)/python benchmarks/throughput.py --quick --lanes 8

$(VENV)/search $(VENV)/dev: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(call install,$(@F))
	touch $@

# uv takes a small part of the time of pip, which takes over where there is no uv or it fails. Of
# pip's settings it is told the index.
INDEX := $(if $(PIP_INDEX_URL),--default-index $(PIP_INDEX_URL))
install = ($(BIN)/python -m pip install --quiet "uv>=0.5" && \
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(INDEX) -e ".[$(1)]") || \
	$(BIN)/python -m pip install --quiet -e ".[$(1)]"

clean:
	rm -rf $(VENV) build dist *.egg-info
