# Two commands: `make demo` shows a real sweep on this machine, `make test` runs the test suite.
# Needs Python 3.11 or newer; PYTHON=python3.12 chooses one.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt

.PHONY: demo test test-slow test-infra test-wandb-newest lint clean
.DEFAULT_GOAL := help

.PHONY: help
help:  ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'protein-sky needs Python 3.11 or newer; choose one: make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(INPUTS)
	@echo 'Installing what constraints.txt pins into $(VENV): a minute or two, once'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/python $(INPUTS)
	@echo 'Installing what constraints.txt pins into $(VENV): a minute or two, once'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.infra: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,infra]'
	@touch $@

demo: $(VENV)/.demo  ## install, then run a real sweep of 16 trials on this machine (1-2 minutes)
	$(BIN)/protein-sky launch configs/sweep/demo_sweep.yaml --cloud local

test: $(VENV)/.dev  ## install with the test tools, then run the default test suite
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.dev  ## what takes longer: crash storms, the browser (needs Chromium)
	$(BIN)/python -m pytest -n auto -m 'slow or storm or browser'

INFRA ?= tests

test-infra: $(VENV)/.infra  ## SkyPilot on a real Slurm and a local EC2 (root on Debian 12); INFRA=FILES
	$(BIN)/python -m pytest -p no:xdist -m infra --durations=0 --durations-min=1 $(INFRA)

# wandb 0.31 needs click 8.2, which SkyPilot refuses: its tests have an environment of their own.
$(VENV)-wandb/.ready: $(INPUTS)
	$(PYTHON) -m venv $(VENV)-wandb
	grep -v -E '^(wandb|click)==' constraints.txt > $(VENV)-wandb/constraints.txt
	$(VENV)-wandb/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c $(VENV)-wandb/constraints.txt -e . 'wandb>=0.31,<0.32' \
	  graphql-core hypothesis pytest pytest-timeout pytest-xdist
	@touch $@

test-wandb-newest: $(VENV)-wandb/.ready  ## the tests around W&B, with the newest client
	$(VENV)-wandb/bin/python -m pytest -n auto -m 'not storm' tests/launcher/wandb \
	  tests/launcher/test_wandb_online.py tests/protein/test_wandb_protein.py tests/protein/test_metta_protein.py

lint: $(VENV)/.dev  ## formatting, lint rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## remove the environment and caches; sweeps in train_dir/ stay
	rm -rf $(VENV) $(VENV)-wandb build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
