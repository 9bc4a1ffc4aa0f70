# Everything a developer runs. Each target sets up what it needs in a virtual environment of its
# own folder; a fresh machine needs Python 3.11 or newer, make and the package index.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
PYTHON ?= $(shell .ci/find-python)
PYTEST_ARGS ?= -n 2 --dist loadfile

bin := $(VENV)/bin
# The newest series the interpreter can have: Django 6 needs Python 3.12.
DJANGO ?= $(shell $(bin)/python -c 'import sys; print("dj61" if sys.version_info >= (3, 12) else "dj52")')
# The pins are complete, so nothing is resolved; `pip check` tells when one is missing.
pip := $(bin)/python -m pip --disable-pip-version-check
install := $(pip) install --quiet --no-deps
pins := $(wildcard requirements/*.txt)

.PHONY: help demo demo-web test lint types format bench mutants matrix matrix-dj52 matrix-dj60 matrix-dj61 clean

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | \
		while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo  ## Import a month of real flights, fairly shared, and check every row
	$(bin)/python example_project/manage.py demo

demo-web: $(VENV)/.demo  ## The same in the browser: leaves the site running and prints a login
	$(bin)/python example_project/manage.py demo --web

test: $(VENV)/.test  ## Run the tests (PYTEST_ARGS="-k claim" for some of them)
	$(bin)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## Check style, format and which module may import which
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/lint-imports

types: $(VENV)/.dev  ## Check types with mypy, strictly
	DJANGO_SETTINGS_MODULE=tests.settings $(bin)/mypy django_fairque tests
	DJANGO_SETTINGS_MODULE=example.settings PYTHONPATH=example_project \
		$(bin)/mypy --cache-dir .mypy_cache/example example_project

format: $(VENV)/.dev  ## Rewrite the sources the way `make lint` wants them
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

bench: $(VENV)/.test  ## Measure enqueueing, draining and fairness under a flood (benchmarks/README.md)
	$(bin)/python -m benchmarks.drain
	$(bin)/python -m benchmarks.flood --duration 30

mutants: $(VENV)/.test  ## Break the scripts line by line and see the fairness tests fail (15 minutes)
	$(bin)/python -m tests.fairness.mutants

matrix: matrix-dj52 matrix-dj60 matrix-dj61  ## Run the tests on each supported Django, each with its Python

matrix-dj52:
	$(MAKE) test VENV=.venv-dj52 DJANGO=dj52 PYTHON="$$(.ci/find-python 3.11)"

matrix-dj60:
	$(MAKE) test VENV=.venv-dj60 DJANGO=dj60 PYTHON="$$(.ci/find-python 3.13)"

matrix-dj61:
	$(MAKE) test VENV=.venv-dj61 DJANGO=dj61 PYTHON="$$(.ci/find-python 3.12)"

clean:  ## Remove virtual environments, caches and built files
	rm -rf .venv .venv-dj* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@test -n "$(PYTHON)"
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml $(pins)
	$(install) -r requirements/build.txt -r requirements/$(DJANGO).txt -r requirements/example.txt
	$(install) --no-build-isolation --editable .
	$(pip) check
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(install) -r requirements/$(DJANGO).txt -r requirements/test.txt
	$(pip) check
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(install) -r requirements/$(DJANGO).txt -r requirements/dev.txt
	$(pip) check
	touch $@
