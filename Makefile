# make run, make test: all that a fresh machine with python3 (3.10+) and make needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-fast lint docs reproduce-quick board bench clean

help: ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

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
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(VENV)/.installed ## run a selection from every part of the package: two minutes
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

docs: $(VENV)/.installed ## build the documentation strictly, into site/
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict $(ARGS)

lint: $(VENV)/.installed ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A sweep given again does what is left of it. One with a diverged job ends with 3: a result too.
QUICK := outputs/quick
SWEEP := $(BIN)/node-run -m launcher=joblib runtime.threads=1
END := || [ $$? -eq 3 ]

reproduce-quick: $(VENV)/.installed ## a small run of each experiment, and the report: half an hour
	$(SWEEP) hydra.sweep.dir=$(QUICK)/toy_tol trainer.max_steps=300 tol=1e-2,1e-3,1e-4,1e-5 seed=0,1,2 $(END)
	$(SWEEP) hydra.sweep.dir=$(QUICK)/toy_solver trainer.max_steps=300 solver=tsit5,dopri8,bosh3 $(END)
	$(SWEEP) hydra.sweep.dir=$(QUICK)/toy_jacobian regularizer=jacobian regularizer.jacobian.weight=0,0.1 $(END)
	$(SWEEP) hydra.sweep.dir=$(QUICK)/toy_eval mode=evaluate run=$(QUICK)/toy_jacobian/0 eval_tol=1e-1,1e-2,1e-3,1e-4,1e-5,1e-6 $(END)
	$(SWEEP) hydra.sweep.dir=$(QUICK)/mnist trainer.max_steps=300 experiment=node.table1.odenet,node.table1.rknet,node.table1.resnet,node.table1.mlp $(END)
	$(SWEEP) hydra.sweep.dir=$(QUICK)/mnist_eval mode=evaluate run=$(QUICK)/mnist/0 eval_tol=1e-1,1e-2,1e-3,1e-4,1e-5,1e-6 $(END)
	$(BIN)/node-report $(QUICK) --out $(QUICK)/report
	$(BIN)/node-report $(QUICK) --out $(QUICK)/report --format html

board: $(VENV)/.installed ## open TensorBoard on all runs
	$(BIN)/tensorboard --logdir outputs

bench: $(VENV)/.installed ## measure side by side with torchdiffeq (ARGS="--out DIR" writes tables)
	$(BIN)/python -m pip install --quiet --editable '.[test,bench]'
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the environment; runs in outputs/ stay
	rm -rf $(VENV)
