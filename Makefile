# convkit: everything a fresh machine needs is Python (3.11 or later) and make.
#
#   make run      install into .venv and run the tour
#   make test     every test
#   make lint     style, types, import rights
#   make bench    convkit and its peers, side by side: the table of the README
#
# One environment, .venv, made from nothing; the stamp files make a second call instant.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2

BIN := $(VENV)/bin
PY  := $(BIN)/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test test-unit test-doc test-suites lint format bench clean

help:
	@sed -n '3,6s/^# *//p' Makefile

run: $(VENV)/.installed-all
	$(BIN)/convkit tour

test: test-unit test-doc test-suites

test-unit: $(VENV)/.installed-dev
	$(PY) -m pytest -n $(JOBS) tests

# The examples in docstrings and in the documents are run, so what they print is true.
test-doc: $(VENV)/.installed-dev
	$(PY) -m pytest -n $(JOBS) --doctest-modules --doctest-glob='*.md' src README.md README.zh.md CONVENTIONS.md

# SciPy's own tests with convkit's names swapped in: a process of its own, because names inside SciPy are replaced.
test-suites: $(VENV)/.installed-dev
	$(PY) tests/suites/run.py
	$(PY) -m pytest tests/suites/test_swap.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(PY)
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The README's tables: measured anew on this machine, half an hour, and written into both READMEs.
bench: $(VENV)/.installed-dev
	$(BIN)/convkit bench filters --json benchmarks/results/filters.json
	$(BIN)/convkit bench layers --json benchmarks/results/layers.json
	$(BIN)/convkit bench networks --only inference --json benchmarks/results/networks.json
	$(BIN)/convkit bench networks --only training --rounds 5 --json benchmarks/results/training.json
	$(PY) benchmarks/table.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "convkit needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	  echo "Name another one:  make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-all: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed-all
