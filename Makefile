# `make train` and `make test` work on a fresh machine: each makes .venv first if it is not there.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
NAME ?=
OUT ?= tables
RUNS ?= $(wildcard outputs multirun)

.DEFAULT_GOAL := help
.PHONY: help train test lint types check sweep table clean

help:  ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

train: .venv/installed  ## run the main job on generated data; more in ARGS="data.shots=1 method.beta=0.5"
	$(BIN)/python train.py $(ARGS)

test: .venv/installed  ## run the tests
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/installed  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed  ## check types
	$(BIN)/mypy

check: lint types test  ## all of the above: what CI runs

sweep: .venv/installed  ## run a multirun: NAME=alpha_beta, shots, categories, ablation or [alpha_beta,shots]
	$(if $(NAME),,$(error sweep: expected a name, got none. Say make sweep NAME=shots; names are the files in conf/sweep))
	$(BIN)/python train.py 'sweep=$(NAME)' $(ARGS)

table: .venv/installed  ## turn every result.json below RUNS into tables/table.md and table.csv
	$(if $(RUNS),,$(error table: expected runs, got none. Run make train first, or say make table RUNS=FOLDER))
	$(BIN)/fsad table $(RUNS) --out $(OUT)

clean:  ## remove the environment and caches; results stay
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
