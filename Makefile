# `make train` and `make test` work on a fresh machine: each makes .venv first if it is not there.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
NAME ?=
RESUME ?=
OUT ?= tables
REFERENCE ?=
RUNS ?= $(wildcard outputs multirun)

.DEFAULT_GOAL := help
.PHONY: help train test lint types check sweep table docs bench bench-peer clean

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

train: .venv/installed  ## run the main job on generated data; more in ARGS="data.shots=1 method.beta=0.5"
	$(BIN)/python train.py $(ARGS)

# A worker of one thread and 1.5 GB per core, at most eight. A file's tests stay with one worker, which
# makes their fixtures once; so where ARGS names a file there is nothing to share out. The order is
# tests/conftest.py's: of its own, xdist would keep the files of few tests for last, and they take longest.
WORKERS = $(if $(findstring .py,$(ARGS)),,-n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder)
test: .venv/installed  ## run the tests; some of them in ARGS=tests/test_cli.py, or ARGS="-k cache"
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

lint: .venv/installed  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed  ## check types
	$(BIN)/mypy

check: lint types test  ## all of the above: what CI runs

sweep: .venv/installed  ## run a multirun: NAME=alpha_beta, shots, categories, ablation or [alpha_beta,shots]; RESUME=1 (or a folder) runs what it lacks
	$(if $(NAME),,$(error sweep: expected a name, got none. Say make sweep NAME=shots; names are the files in conf/sweep))
	$(BIN)/python train.py 'sweep=$(NAME)'$(if $(RESUME), 'resume=$(patsubst 1,newest,$(RESUME))') $(ARGS)

table: .venv/installed  ## turn every result.json below RUNS into tables/table.md and table.csv; REFERENCE=patchcore adds paired differences
	$(if $(RUNS),,$(error table: expected runs, got none. Run make train first, or say make table RUNS=FOLDER))
	$(BIN)/fsad table $(RUNS) --out $(OUT)$(if $(REFERENCE), --reference $(REFERENCE))

docs: .venv/installed  ## build the documentation into site/; open site/index.html
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

bench: .venv/installed  ## measure speed and memory beside plain references; ARGS="--quick", or items: ARGS="coreset nearest"
	$(BIN)/python -m benchmarks $(ARGS)

# An environment of its own, with this one's torch: what is compared is the code.
bench-peer: .venv/installed  ## install anomalib in .venv-peer, for make bench to measure beside ours
	test -x .venv-peer/bin/python || $(PYTHON) -m venv .venv-peer
	echo '*' > .venv-peer/.gitignore
	.venv-peer/bin/python -m pip install --quiet --upgrade pip
	.venv-peer/bin/python -m pip install --quiet --editable '.[peer]' \
		torch==$$($(BIN)/python -c 'from importlib.metadata import version; print(version("torch"))')

clean:  ## remove the environment and caches; results stay
	rm -rf .venv .venv-peer site .cache .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
