# The same commands here, in CI and on a laptop. All of them run from .venv, which they make.
#
#   make quickstart        install what the quickstart needs, then run it
#   make test              install the developer tools, then check and test everything
#
# Variables:
#   PYTHON=python3.12      the Python that makes .venv (3.11, 3.12 or 3.13)
#   TORCH=cuda             the pins: constraints/$(TORCH).txt. cpu (default) pins torch==2.13.0;
#                          cuda takes any torch build that pyproject.toml admits.
#   TORCH_INDEX=URL        where torch comes from. Empty (default): wherever pip looks.
#                          On Linux, PyPI's torch is the CUDA build: it runs on a CPU as well, but
#                          is a download of several GB. PyTorch's own CPU build is far smaller:
#                          make quickstart TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                          On macOS and Windows PyPI's torch is the CPU build already.
#   ARGS='--fast'          options for 'hocket quickstart'
#   JOBS=2                 test processes
#   TESTS=tests/media      what pytest runs

PYTHON ?= python3
TORCH ?= cpu
TORCH_INDEX ?=
ARGS ?=
JOBS ?= 2
TESTS ?= tests

BIN := .venv/bin
PINS := constraints/$(TORCH).txt
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# torch goes first and alone, so that an index given for it serves nothing else: PyTorch's has few
# versions of what torch depends on. The next call finds torch there and adds what it depends on.
INSTALL_TORCH = $(if $(TORCH_INDEX),$(PIP) --no-deps -c $(PINS) --index-url $(TORCH_INDEX) torch)

# One stamp for each set of packages: a second call installs nothing unless the lists have changed.
QUICKSTART_STAMP := .venv/.installed-quickstart-$(TORCH)
DEV_STAMP := .venv/.installed-dev-$(TORCH)
LISTS := pyproject.toml $(PINS) constraints/common.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install dev quickstart fmt lint type arch pytest test bench chaos clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.venv/bin/python:
	$(PYTHON) -m venv .venv

$(QUICKSTART_STAMP): $(LISTS) | .venv/bin/python
	@echo "installing hocket and what the quickstart needs (a minute or two the first time)"
	$(INSTALL_TORCH)
	$(PIP) -c $(PINS) -e '.[quickstart]'
	@touch $@

$(DEV_STAMP): $(LISTS) | .venv/bin/python
	@echo "installing hocket and the developer tools (a minute or two the first time)"
	$(INSTALL_TORCH)
	$(PIP) -c $(PINS) -e '.[dev]'
	@touch $(QUICKSTART_STAMP) $@

install: $(QUICKSTART_STAMP)  ## install hocket and what the quickstart needs

dev: $(DEV_STAMP)  ## install hocket and the developer tools

quickstart: $(QUICKSTART_STAMP)  ## train, test and show a small model that sees and hears
	$(BIN)/hocket quickstart $(ARGS)

fmt: $(DEV_STAMP)  ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(DEV_STAMP)  ## ruff: style, names, docstrings, complexity
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(DEV_STAMP)  ## mypy, strict
	$(BIN)/mypy

arch: $(DEV_STAMP)  ## import-linter: who may import whom
	$(BIN)/lint-imports

pytest: $(DEV_STAMP)  ## the tests alone
	$(BIN)/pytest -n $(JOBS) $(TESTS)

test: lint type arch pytest  ## everything CI runs

bench: $(DEV_STAMP)  ## every script in benchmarks/, then docs/performance.md of what they found
	@failed=; for script in $(filter-out benchmarks/report.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; $(BIN)/python "$$script" || failed="$$failed $$script"; \
	done; \
	$(BIN)/python benchmarks/report.py || failed="$$failed report.py"; \
	test -z "$$failed" || { echo "failed:$$failed; what they found before stays"; exit 1; }

chaos: $(DEV_STAMP)  ## stop runs 200 times and write the tables of docs/reliability.md (nightly)
	$(BIN)/python -m tests.chaos --kills 200 --minutes 300 --write docs/reliability.md
	$(BIN)/python -m tests.chaos.trainer_kills --write docs/reliability.md
	$(BIN)/python -m tests.train.equivalence

clean:  ## remove .venv and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
