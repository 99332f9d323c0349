# make run, make test: all that a fresh machine with python3 (3.10+) and make needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test lint board bench clean

help: ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

# The stamp is newer than pyproject.toml exactly when the environment holds what that asks for.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "node_runner needs Python 3.10 or newer: make PYTHON=/path/to/python3.10"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

run: $(VENV)/.installed ## train the default task, or: make run ARGS="task=odenet_mnist"
	$(BIN)/node-run $(ARGS)

test: $(VENV)/.installed ## run the whole suite
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

board: $(VENV)/.installed ## open TensorBoard on all runs
	$(BIN)/tensorboard --logdir outputs

bench: $(VENV)/.installed ## measure side by side with torchdiffeq (ARGS="--out DIR" writes tables)
	$(BIN)/python -m pip install --quiet --editable '.[test,bench]'
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the environment; runs in outputs/ stay
	rm -rf $(VENV)
