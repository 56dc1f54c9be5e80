# make demo   installs into .venv and searches under a real budget on this machine's CPU
# make test   the whole test suite
# make check  format, lint, types and the layers between packages, in seconds

PYTHON ?= python3
# One release of PyTorch, because exported graphs differ between releases, and first, because every other
# package would bring the newest.
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo test check install clean

demo: .venv/runtime
	@test ! -e runs/demo/result.json || { echo "runs/demo holds a finished demo: remove it to run it again"; exit 1; }
	@if [ -e runs/demo/config.json ]; then $(BIN)/nas resume runs/demo; else $(BIN)/nas search --out runs/demo; fi

# In two processes of one thread each, as more threads than cores wait for each other; files in their order, because
# the first, the examples, take longest.
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not alone" --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m alone

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: .venv/dev

.venv/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	touch $@

.venv/runtime: .venv/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev: .venv/runtime
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv runs build dist *.egg-info
