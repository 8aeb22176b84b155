# The commands of this project. `make demo` and `make test` need Python 3.11 or later and nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install setup demo test test-platforms test-apart check format lock bench dashboards pictures audit sbom clean

# The newest Python that is there; override with: make PYTHON=python3.12 setup
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
RUNTIME := .venv/.runtime
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PLATFORMS := .chm-platforms/airflow-venv/.installed .chm-platforms/dbt-venv/.installed
SOURCES := chm_web tests benchmarks dashboards pictures wsgi.py worker.py gunicorn.conf.py migrations/env.py migrations/lint.py

help:
	@echo "make demo        the whole of CHM on this machine: databases, a partner, a worker, the web app"
	@echo "make test        all tests but those on real platforms"
	@echo "make test-platforms  tests on a real Airflow and a real dbt, which it installs (CONTRIBUTING.md)"
	@echo "make test-apart  web processes and workers on machines of their own (namespaces; as root)"
	@echo "make check       formatting, lint, types, architecture, the API's contract, locks of migrations"
	@echo "make bench       benchmarks, written to benchmarks/RESULTS.md"
	@echo "make dashboards  Grafana's dashboards, written to docker/grafana"
	@echo "make pictures    every page and its states as pictures, in build/pictures"
	@echo "make audit       known weaknesses in what CHM is made of, where the registries can be asked"
	@echo "make sbom        what CHM is made of (CycloneDX), written to build/"
	@echo "make install     .venv with what CHM runs on, for a server"
	@echo "make setup       .venv with everything (the others do it when needed)"

# What CHM itself runs on; the tools of its developers are more than half of all there is to install.
$(RUNTIME): requirements.txt pyproject.toml package-lock.json requirements-node.txt chm_web/assets.py
	@test -n "$(PYTHON)" || { echo "CHM needs Python 3.11, 3.12 or 3.13; none is on PATH." >&2; exit 1; }
	@test -x $(BIN)/python || echo "Building .venv: one to four minutes, once."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "Making .venv failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@command -v npm >/dev/null || $(PIP) --require-hashes -r requirements-node.txt
	@$(BIN)/python -m chm_web.assets
	@touch $@

$(STAMP): $(RUNTIME) requirements-dev.txt
	@test -e $@ || echo "Adding the developers' tools to .venv: some minutes, once."
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

install: $(RUNTIME)

setup: $(STAMP)

demo: $(RUNTIME)
	@exec $(BIN)/chm demo $(ARGS)

# One more than there are processors, up to eight: many tests wait, for a worker, a browser or a server.
PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); [ $$n -lt 8 ] && echo $$((n + 1)) || echo 8)

# In the order of the files: by themselves those with few tests come last, and these are the browser's, the slowest.
test: $(STAMP)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

# Other people's servers, each in an environment of its own.
.chm-platforms/%-venv/.installed: requirements-%.txt | $(STAMP)
	@echo "Installing $*: some minutes, once."
	@$(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

test-platforms: $(STAMP) $(PLATFORMS)
	$(BIN)/python -m pytest -m platforms tests/platforms $(ARGS)

test-apart: $(STAMP)
	$(BIN)/python -m pytest -m apart tests/ingestion/test_apart.py $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/chm api-contract --check
	$(BIN)/python -m migrations.lint

format: $(STAMP)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# Hashes for every platform, and no address of any registry.
lock: $(STAMP)
	for name in requirements requirements-dev requirements-node requirements-airflow requirements-dbt; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--no-emit-find-links --no-header $$name.in -o $$name.txt; done

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

# What Grafana reads, from dashboards/grafana and the contract's queries.
dashboards: $(STAMP)
	$(BIN)/python -W ignore::DeprecationWarning -m dashboards $(ARGS)

# Every page of the demo at two sizes in both themes; ARGS=--docs renews those of docs/. Needs Chromium.
pictures: $(STAMP)
	$(BIN)/python -m pictures $(ARGS)

audit: $(STAMP)
	@.ci/audit

sbom: $(STAMP)
	@.ci/sbom

clean:
	rm -rf .venv .chm-platforms node_modules build static/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis
