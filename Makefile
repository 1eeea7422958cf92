# Everything a newcomer needs. Each target first makes .venv, once, and again when pyproject.toml changes.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PEERS := .venv-peers/.ready
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check docs fuzz bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## train on sample_data/ and name the pictures in sample_data/new/: about two minutes
	@rm -rf runs/demo
	$(BIN)/python train.py sample_data --label-pattern '^(?P<label>cats|dogs)/' --out runs/demo --size 96 --minutes 1.5
	$(BIN)/imgstream predict runs/demo sample_data/new -o runs/demo/new.csv

test: $(READY) ## the tests that are quick: five minutes on two cores
	$(PYTEST) -m 'not slow'

test-all: $(READY) ## all tests
	$(PYTEST)

check: $(READY) ## formatting, lint, types, layers, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_docs.py
	$(BIN)/python tools/draw_architecture.py --check

docs: $(READY) ## the site, into build/site: open build/site/index.html
	PYTHONPATH=.:tools NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f tools/docsite/mkdocs.yml

fuzz: $(READY) ## damaged images through both pipelines: 10,000, or N=50000; SEED=7 for others; DIR=photos damages your own too
	$(BIN)/python tools/fuzz.py $(or $(N),10000) --seed $(or $(SEED),0) $(if $(DIR),--seeds $(DIR))

bench: $(READY) $(PEERS) ## how fast the loader is beside others, into docs/benchmarks.md; DIR=photos for your own images
	$(BIN)/python bench/loaders.py $(or $(DIR),sample_data) --out docs/benchmarks.md

clean: ## remove runs, builds and caches; .venv and .venv-peers stay
	rm -rf runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -not -path './.venv-peers/*' -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "imgstream needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing imgstream and what it needs into .venv (TensorFlow is large: this takes some minutes, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(PEERS): bench/loading/peers.txt
	@echo "Installing the loaders that imgstream is compared with into .venv-peers (2 to 8 GB: this takes some minutes, once) ..."
	@{ test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers; } && \
	  .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/loading/peers.txt && touch $@ || \
	  echo "They could not be installed (see above): going on without them." >&2
