# One verb for each thing one does here. Every verb sets up what it needs, once: the stamps live inside the folders
# they speak of, so that removing a folder removes its stamp.
#
#   make serve ARGS="--port 8080"     a server, on a machine that has only Python
#   make test                         what continuous integration runs: style, types, tests
#   make tests ARGS="tests/hub -x"    some of the tests
#   make bench                        how fast it is here, next to its peers

PYTHON ?= python3
NPM ?= npm

VENV := .venv
BIN := $(VENV)/bin
JS := tests/acceptance/js
SOURCES := src tests bench examples hatch_build.py
INSTALLED_FROM := pyproject.toml hatch_build.py $(shell find src -name '*.py' -o -name '*.c' -o -name '*.proto')

PACKAGES := $(VENV)/.hubwire-packages
RUNTIME := $(VENV)/.hubwire-runtime-$(or $(HUBWIRE_NATIVE),auto)
DEV := $(VENV)/.hubwire-dev
NODE := $(JS)/node_modules/.hubwire-npm
AZ := .build/az/.hubwire-az

# More tests at a time than there are processors: those that take long wait for a process most of the time. One after the
# other, for a debugger: WORKERS=0. What Python compiles is kept, whatever the environment says: hundreds of processes are
# started from the same files.
WORKERS ?= 4
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help serve setup test style types tests tests-compiled coverage bench bench-quick fuzz soak crash format proto wheel lock \
	postgresql clean

help:
	@echo 'make serve [ARGS=...]   set up what is needed and run the server'
	@echo 'make test               style, types and tests, as continuous integration runs them'
	@echo 'make setup              everything that the other verbs need, while there is a network'
	@echo 'make style types tests  one of the three alone; ARGS=... goes to pytest'
	@echo 'make tests-compiled     the tests once more, on the package as it is compiled and installed'
	@echo 'make coverage           the tests, with the lines and branches that they miss'
	@echo 'make bench              measure speed next to peers, for 24 minutes; writes docs/performance.md'
	@echo 'make bench-quick        a short look at the same, under 3 minutes; writes nothing'
	@echo 'make fuzz               ten minutes of damaged input for every parser and a real server; SECONDS=... for another time'
	@echo 'make soak               an hour of churn and half load, and what stays of it in memory; SECONDS=... for another time'
	@echo 'make crash              200 times: kill a server under load, and see that all it acknowledged is there; KILLS=...'
	@echo 'make format             put the sources into the one form that style accepts'
	@echo 'make proto              the classes of the protobuf schema, after a change of that'
	@echo 'make postgresql         the programs of PostgreSQL, which the tests of the store start; as the superuser'
	@echo 'make wheel              the package, in dist/'
	@echo 'make lock               choose the newest versions of all dependencies again'
	@echo 'make clean              remove all that these verbs made, but data'

serve: $(RUNTIME)
	@exec $(BIN)/hubwire serve $(ARGS)

# Beside each other what goes into different folders.
setup:
	@$(MAKE) --no-print-directory -j4 $(AZ) $(NODE) $(DEV) postgresql
	@$(MAKE) --no-print-directory $(RUNTIME)

test: setup style types tests tests-compiled

style: $(DEV)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(DEV)
	$(BIN)/mypy

tests: $(DEV) $(NODE) $(AZ) postgresql
	PYTHONPATH=$(CURDIR)/src $(PYTEST) $(ARGS)

# Once more on what is compiled for whoever installs the package: the tests of the compiled modules and of their neighbours,
# and the acceptance tests in which clients speak through them. Not: what is about commands, stores and the management of
# resources, and what is measured in minutes.
COMPILED_TESTS := $(addprefix tests/,acceptance adapters/test_bus_memory.py $(patsubst %,auth/test_%.py,jwt principals \
	rest_callers signatures tunnel_callers) cluster contracts/test_bus.py edge $(patsubst %,fuzz/test_%.py,devices parsers \
	server) gateway hub journeys $(patsubst %,model/test_%.py,names permissions) protocols test_compiled.py) \
	$(patsubst %,--ignore=tests/acceptance/test_%.py,az communication_identity communication_services credentials \
	deploy_cli deployments issuer key_vault log managed_identities managed_identity_upstream postgresql proxy \
	resource_manager token_security trusted_issuer)

tests-compiled: $(DEV) $(NODE) $(RUNTIME)
	@command -v $(firstword $(CC)) >/dev/null || { echo 'a C compiler is needed for the tests of the compiled package'; exit 1; }
	HUBWIRE_EXPECT=compiled $(PYTEST) $(or $(ARGS),$(COMPILED_TESTS))

coverage: $(DEV) $(NODE) $(AZ) postgresql
	PYTHONPATH=$(CURDIR)/src $(PYTEST) --cov --cov-report=term-missing:skip-covered $(ARGS)

# Only what a server needs; the load generator and the peers are made by the benchmark itself, in .build/bench.
bench: $(RUNTIME)
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(RUNTIME)
	$(BIN)/python -m bench --quick $(ARGS)

fuzz: $(DEV)
	PYTHONPATH=$(CURDIR)/src:tests $(BIN)/python -u -m fuzz --seconds $(or $(SECONDS),600) $(ARGS)

soak: $(DEV) $(RUNTIME)
	PYTHONPATH=tests $(BIN)/python -u -m soak --seconds $(or $(SECONDS),3600) $(ARGS)

# On the package as it is compiled and installed.
crash: $(DEV) $(RUNTIME)
	PYTHONPATH=tests $(BIN)/python -u -m crash --kills $(or $(KILLS),200) $(ARGS)

format: $(DEV)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

# The classes of the schema, which are checked in: nobody else needs its compiler.
proto: $(DEV)
	cd src && $(abspath $(BIN))/protoc -I. -I$(abspath $(VENV))/include --python_out=. --pyi_out=. hubwire/protocols/webpubsub.proto

wheel: $(DEV)
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# The build back end is locked too, and used without isolation: nothing that is not in a lock file is installed.
$(PACKAGES): requirements/build.txt requirements/runtime.txt | $(BIN)/python
	@echo 'Installing the packages that Hubwire needs, once ...'
	$(BIN)/pip install --quiet -r requirements/build.txt -r requirements/runtime.txt
	@touch $@

# What a user gets: compiled if there is a C compiler, which takes half a minute whenever a source has changed. Without
# one, or with HUBWIRE_NATIVE=off, the same in pure Python; HUBWIRE_NATIVE=require ends where it cannot be compiled.
# pip is silent meanwhile.
$(RUNTIME): $(PACKAGES) $(INSTALLED_FROM)
	@echo 'Building Hubwire; where it is compiled this takes half a minute or more (HUBWIRE_NATIVE=off leaves that out) ...'
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --no-cache-dir --force-reinstall .
	@$(BIN)/hubwire --version
	@rm -f $(VENV)/.hubwire-runtime-*
	@touch $@

$(DEV): requirements/dev.txt $(PACKAGES)
	$(BIN)/pip install --quiet -r requirements/dev.txt
	@touch $@

$(NODE): $(JS)/package.json $(JS)/package-lock.json
	@command -v $(NPM) >/dev/null || { echo 'Node.js 20 or newer with npm is needed for the acceptance tests'; exit 1; }
	cd $(JS) && $(NPM) ci --no-fund --no-audit --loglevel=error
	@touch $@

# The tests start a server of their own; only its programs are needed.
postgresql:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo 'installing PostgreSQL, for the tests of the store'; \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql) >/dev/null; \
	else \
		echo 'PostgreSQL 13 or newer is not here: the tests that need it are left out, and fail under CI=true'; \
	fi

# 700 MB and two minutes, in an environment of its own: it pins what it needs.
$(AZ): requirements/az.txt | $(BIN)/python
	$(PYTHON) -m venv .build/az
	.build/az/bin/pip install --quiet --no-deps -r requirements/az.txt
	@touch $@

# `--universal`: one file for all systems and Python versions that we support.
LOCK_VENV := .build/lock
COMPILE := $(LOCK_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock:
	$(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/pip install --quiet uv
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) requirements/build.in -c requirements/runtime.txt -o requirements/build.txt
	$(COMPILE) requirements/az.in -o requirements/az.txt
	$(COMPILE) pyproject.toml --group dev -c requirements/runtime.txt -c requirements/build.txt -o requirements/dev.txt
	cd $(JS) && $(NPM) install --package-lock-only --no-fund --no-audit --loglevel=error
	cd bench/peers/node && $(NPM) install --package-lock-only --no-fund --no-audit --loglevel=error

clean:
	rm -rf $(VENV) .build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis $(JS)/node_modules
	find . -path ./$(JS)/node_modules -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
