# `make` or `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup run test bench chaos lint lock clean
.DELETE_ON_ERROR:

BIN := .venv/bin
# Test processes, each with its own Redis; two suit two cores.
JOBS ?= 2
# Options to pass on: `make run ARGS=--exit-when-drained`, `make test ARGS="-k settle"`.
ARGS ?=

help: ## list the targets
	@echo "make <target>:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-9s %s\n", $$1, $$2 }'

setup: .venv/.complete ## create .venv with the locked dependencies and the project
	@:

.venv/.complete: pyproject.toml requirements/dev.txt scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup

run: setup ## run the whole system in the foreground; Ctrl-C stops it (ARGS go to `ingest up`)
	@exec $(BIN)/ingest up $(ARGS)

test: lint ## lint, then run every test (ARGS go to pytest)
	@$(BIN)/pytest -n $(JOBS) $(ARGS)

.tools/celery-batches/.complete: requirements/bench.txt scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup bench

bench: setup .tools/celery-batches/.complete ## measure against the floor and the alternatives
	@$(BIN)/python tests/benchmarks/run.py $(ARGS)

chaos: setup ## kill workers, beats and Redis for minutes, then count every record
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

lint: setup ## check the code with ruff, mypy and import-linter, and the words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/python scripts/check_words.py

lock: ## update the dependencies and pin them by hash
	@scripts/lock

clean: ## remove what the other targets created, except var/ (it may hold records)
	rm -rf .venv .tools build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
