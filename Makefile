# The two commands of the README, and what they stand on. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# What does not wait for one another is made side by side: the packages, and the browser for the tests.
MAKEFLAGS += --jobs=2

WORKSPACE ?= workspace
SERVE ?= 1
PORT ?= 8000
RECIPE ?= recipes/starter.toml
# Any Python from 3.11 on; name another with `make PYTHON=...`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
HOMEROOM := $(BIN)/homeroom

# Tests run in two processes of one thread each (three took longer): threads that wait for each other on a busy machine
# take three times as long. Benches, the whole circle and what has to end in so many seconds have the machine to themselves.
ALONE := tests/test_bench.py tests/test_circle.py tests/serving/test_stopping.py

.PHONY: help setup demo test lint browser clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16
	@echo
	@echo "  make demo SERVE=0         end after the report"
	@echo "  make demo WORKSPACE=DIR   keep everything the circle makes in DIR (default: $(WORKSPACE))"
	@echo "  make demo PORT=8080       serve on another port"

demo: .venv/.ready-demo  ## raise an assistant: the whole circle on the starter data, a report, then the chat page
	@$(HOMEROOM) run $(RECIPE) --workspace "$(WORKSPACE)"
	@$(HOMEROOM) report --workspace "$(WORKSPACE)" --no-open
ifneq ($(SERVE),0)
	@$(HOMEROOM) serve --workspace "$(WORKSPACE)" --port $(PORT)
endif

test: .venv/.ready-test browser  ## ruff, mypy --strict, and every test, the browser's included
	$(BIN)/ruff check .
	$(BIN)/mypy
ifdef PYTEST_ARGS
	$(BIN)/pytest $(PYTEST_ARGS)
else
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile $(addprefix --ignore=,$(ALONE))
	$(BIN)/pytest $(ALONE)
endif

lint: .venv/.ready-test  ## ruff and mypy alone
	$(BIN)/ruff check .
	$(BIN)/mypy

setup: .venv/.ready-test  ## set up .venv for developing

# A stamp is newer than what it was made from exactly as long as the set-up need not run again.
.venv/.ready-demo: EXTRAS = starter,fast
.venv/.ready-test: EXTRAS = starter,dev
.venv/.ready-demo .venv/.ready-test: pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "Homeroom needs Python 3.11 or newer. Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up .venv with homeroom[$(EXTRAS)] (only when pyproject.toml or constraints.txt changed; some minutes the first time)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv \
		|| { echo "Python's venv module is incomplete here (on Debian and Ubuntu: apt-get install python3-venv)."; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# The browser test needs a Chromium. Where it cannot be had, that test alone fails and repeats this message.
browser:
	@for b in chromium chromium-browser google-chrome; do command -v $$b >/dev/null && exit 0; done; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "Installing Chromium for the browser test"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null && exit 0; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
		echo "Installing Chromium for the browser test"; \
		sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null && exit 0; \
	fi; \
	echo "No Chromium here and it could not be installed (that takes apt-get and root). Install chromium yourself, then run 'make test' again: without it the browser test fails."

clean:  ## remove .venv and caches; a workspace is never touched
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
