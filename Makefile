# Few words. Each sets itself up on a machine with python3, pip, make and git only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready
# What asks the metadata database runs on SQLite and on PostgreSQL.
ON_BOTH := tests/integration tests/property/test_jobs.py tests/acceptance/test_writer_killed.py \
    tests/acceptance/test_walk.py tests/acceptance/test_twice.py

.PHONY: help install demo tools test crash-walk check bench lock clean
help:  ## list these words
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline -e .
	@touch $@

install: $(READY)  ## set up .venv with the command colonnade

check: $(READY)  ## format, lint, types, floors, dependencies, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry src
	$(BIN)/codespell src docs examples bench *.md changelog.d

test: $(READY)  ## every test that a green build means
	$(BIN)/pytest -n 2 --dist worksteal
	COLONNADE_TEST_DATABASE=postgresql $(BIN)/pytest -n 2 --dist worksteal $(ON_BOTH)

tools:  ## programs that tests use beside Python's packages (needs root)
	@command -v strace >/dev/null && command -v cc >/dev/null \
	    && ls /usr/lib/postgresql/*/bin/postgres /usr/sbin/mariadbd >/dev/null 2>&1 \
	    || { apt-get update --quiet && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet \
	    --no-install-recommends strace gcc libc6-dev postgresql mariadb-server-core mariadb-client-core; }

crash-walk: $(READY)  ## kill every command at every point at which it changes the disk
	COLONNADE_WALK=all $(BIN)/pytest -rA tests/acceptance/test_crash_walk.py

demo: $(READY)  ## replay a real year of flights, from landing file to retrained model
	$(BIN)/python examples/flights/replay.py --folder .demo/flights

bench: $(READY)  ## ratios beside the limits: ingest, tables, features, ledger, serving
	$(BIN)/python bench/ingest.py
	$(BIN)/python bench/tables.py
	$(BIN)/python bench/features.py
	$(BIN)/python bench/ledger.py
	@command -v wrk >/dev/null || apt-get install --yes --quiet wrk
	$(BIN)/python bench/serving.py

lock: $(READY)  ## resolve requirements.lock again
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	    --python-version 3.11 --extra examples --extra excel --extra mysql --extra postgresql --group dev pyproject.toml -o requirements.lock

clean:  ## remove what these words made
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
