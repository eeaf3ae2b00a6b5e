SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The interpreter that .venv is made from: 3.11 or newer.
PYTHON ?= python3
export UV_SYSTEM_CERTS ?= 1
# Every process of a mesh would compile all of its modules again, which takes seconds of a core each time.
export PYTHONDONTWRITEBYTECODE :=
# Processes that run tests at once, each with brokers and meshes of its own: three for each core, as tests often wait,
# and no more than six, for the memory. A file's tests stay together but for the longest (tests/slow_first.py). 0: this one.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 2 ? 3 : 6)))
VENV := .venv
BIN := $(VENV)/bin
# The name of the stamp holds what was installed: another lock or pyproject is another stamp.
STAMP := $(VENV)/.setup-$(shell $(PYTHON) -c 'import hashlib,pathlib; print(hashlib.sha256(b"".join(pathlib.Path(n).read_bytes() for n in ("requirements.lock","pyproject.toml"))).hexdigest()[:16])')
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: help setup demo test bench figures up lint lock clean distclean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv from requirements.lock (nothing to do the second time)

$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup.sh "$(VENV)"
	@touch $@

demo: $(STAMP) ## Start a mesh, run real jobs through it, show what happened, stop it
	@$(BIN)/python -m eldermesh_cli.demo

test: $(STAMP) ## Run all tests (ARGS="-k name" narrows, JOBS=0 keeps to one process, COVERAGE=1 measures it)
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(if $(COVERAGE),--cov --cov-report=term) $(ARGS)

up: $(STAMP) ## Start the embedded stack and all services; Ctrl-C ends them
	@$(BIN)/mesh up

bench: $(STAMP) ## Measure beside the raw libraries (ARGS="noop --broker kafka" narrows); takes minutes
	@$(BIN)/python -m bench $(ARGS)

figures: $(STAMP) ## Measure everything, and write the figures of the docs; takes half an hour of a quiet machine
	@$(BIN)/python -m bench --page docs/reference/figures.md $(ARGS)

lint: $(STAMP) ## ruff, mypy, import-linter, file length
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_file_length.py

lock: $(STAMP) ## Resolve the dependencies again: requirements.lock, with hashes, and what of it each image needs
	$(COMPILE) --upgrade --all-extras --group dev --output-file requirements.lock pyproject.toml
	echo hatchling | $(COMPILE) --constraint requirements.lock --output-file locks/build.lock -
	$(COMPILE) --constraint requirements.lock --output-file locks/mesh.lock pyproject.toml
	for role in service ray claude; do \
		$(COMPILE) --extra "$$role" --constraint requirements.lock --output-file "locks/$$role.lock" pyproject.toml; \
	done

clean: ## Remove caches and build results
	rm -rf build dist *.egg-info htmlcov .coverage .coverage.* \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find bench eldermesh eldermesh_cli examples services shared scripts tests -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV)
