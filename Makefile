# `make demo` and `make test` need nothing but a Python; the rest is for those who work on it.

VENV ?= .venv
ARGS ?=

# Debian's python3 comes without ensurepip: better found out here than halfway.
usable = import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
candidates = python3 python3.14 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for python in $(candidates); do \
	if $$python -c '$(usable)' 2>/dev/null; then echo $$python; break; fi; done)

BIN = $(VENV)/bin
READY = $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint types layers check chaos bench bench-quick wheel clean

help:
	@echo "make demo          see it work (ARGS=... for its options)"
	@echo "make test          run the tests (ARGS=... for pytest)"
	@echo "make check         lint, types, layers and tests"
	@echo "make chaos         kill, stop and cut off workers and stores (ARGS=\"--store redis\")"
	@echo "make bench         measure, for an hour or two; bench-quick takes a few"
	@echo "make wheel         build sdist and wheel into dist/"
	@echo "make clean         remove all that make has made"
	@echo "PYTHON=... chooses the interpreter, VENV=... the place of the environment"

$(READY): pyproject.toml
	@"$(PYTHON)" -c '$(usable)' 2>/dev/null || { \
		echo "No usable Python: '$(or $(PYTHON),$(candidates))' is not Python 3.11 or newer" \
			"with its venv module." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$("$(PYTHON)" --version); this is done once."
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --editable ".[postgres]" --group dev
	@touch $@

demo: $(READY)
	@$(BIN)/python -m examples.index_files $(ARGS)

# Tests wait for disks, servers and processes more than they compute.
test: $(READY)
	$(BIN)/python -m pytest -n 4 --dist loadscope $(ARGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports --no-logo

check: lint types layers test

chaos: $(READY)
	$(BIN)/python -m tests.chaos $(ARGS)

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(READY)
	$(BIN)/python -m benchmarks --quick $(ARGS)

wheel: $(READY)
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf $(VENV) .venv-ci .venv-peers dist .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
