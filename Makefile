# Two commands do all most people need: `make chat` talks to the example team, `make test` proves that it works.
# They share one virtual environment, .venv: the test set is locked on top of the run set, so what is tested is what
# chats. Plain pip fills it, because pip is there already and knows your mirror, proxy and certificates.
# Written for the make of Debian and of macOS (GNU make 3.81), and for any POSIX shell.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help chat test check kills fleet lint types layers fix install lock clean

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(if $(CI),--quiet)
ARGS ?=

# pyright brings its own node and checker; without this it would also ask whether there is a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

help:  ## show this list
	@echo "make COMMAND [ARGS='...'] [PYTHON=/path/to/python3]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' Makefile

# --- The two commands --------------------------------------------------------------------------------------------

chat: $(VENV)/run.stamp  ## talk to the example support team (no key, no account)
	@$(BIN)/relayline model fetch
	@$(BIN)/relayline chat $(ARGS)

test: install  ## run the tests; ARGS go to pytest
	@$(BIN)/relayline model fetch
	$(BIN)/pytest $(ARGS)

# --- For contributors --------------------------------------------------------------------------------------------

check: lint layers types test  ## everything CI checks

kills: install  ## kill working processes sixty times on each store; ARGS="--kills 10 sqlite" for less
	$(BIN)/python -m tests.kills.suite $(ARGS)

fleet: install  ## kill the workers of each kind of fleet sixty times; ARGS="--kills 10 restate" for less
	$(BIN)/python -m tests.kills.fleet $(ARGS)

lint: install  ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

layers: install  ## import-linter: imports point down
	$(BIN)/lint-imports

types: install  ## pyright, strict
	$(BIN)/pyright --pythonpath $(BIN)/python

fix: install  ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/dev.stamp  ## fill .venv for development

# No release younger than a week: what was published by a thief tends to be withdrawn within days.
# The files name packages and hashes only, so they work with whatever package index a machine is set up for.
LOCK := UV_PYTHON_DOWNLOADS=never $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 \
	--python $(BIN)/python --exclude-newer "7 days" --generate-hashes --no-annotate --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" $(ARGS)

lock: $(BIN)/python  ## write requirements/*.txt anew; ARGS=--upgrade moves to newer releases
	$(PIP) --require-hashes -r requirements/uv.txt
	$(LOCK) --group lock -o requirements/uv.txt
	$(LOCK) pyproject.toml --extra cli --extra embedded --group build -o requirements/run.txt
	$(LOCK) pyproject.toml --extra cli --extra embedded --extra local-llm --extra mcp --extra models --extra otel --extra postgres --extra restate --extra temporal --extra yaml --group dev -c requirements/run.txt -o requirements/dev.txt
	@! grep -n '://' requirements/*.txt || { echo "A lock must not name a host." >&2; exit 1; }

clean:  ## remove .venv and every cache
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist

# --- The environment ---------------------------------------------------------------------------------------------

# $(call install,LOCK FILE): exactly what the file names, then relayline itself, where it lies. A lock is whole, so pip is
# not asked to resolve it again: an older pip would take the newest release of what somebody wants with an extra.
define install
	$(PIP) --no-deps --require-hashes -r $(1)
	$(PIP) --no-deps --no-build-isolation --editable .
endef

$(VENV)/run.stamp: requirements/run.txt pyproject.toml $(BIN)/python
	@echo "==> Installing what relayline runs on into $(VENV) (once)"
	$(call install,requirements/run.txt)
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml $(BIN)/python
	@echo "==> Installing what relayline is tested with into $(VENV) (once)"
	$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/run.stamp

# The first interpreter that starts, is new enough and can make a virtual environment. Trying beats looking: a pyenv
# shim may be on the path and not run, and Debian has Python without ensurepip.
$(BIN)/python:
	@for python in $(PYTHONS); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
		if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$python; break; fi; \
		bare=$${bare:-$$python}; \
	done; \
	if [ -n "$$found" ]; then \
		echo "==> Creating $(VENV) with $$("$$found" -V)"; \
		"$$found" -m venv --clear $(VENV); \
	elif [ -n "$$bare" ]; then \
		package=$$("$$bare" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		echo "$$bare is here, but not the part of it that makes virtual environments." >&2; \
		echo "On Debian and Ubuntu: sudo apt install $$package, then the same command again." >&2; \
		exit 1; \
	else \
		echo "relayline needs Python 3.11 or newer; tried: $(PYTHONS)." >&2; \
		echo "Install one, or say where it is: make $(or $(MAKECMDGOALS),chat) PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi
