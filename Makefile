# The commands of the project; see README.md. Each is quick if nothing is left to do.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup setup-run setup-test setup-bench run token test test-long chaos bench bench-quick bench-posts bench-scale bench-cancel bench-hostile \
    check check-style check-types check-fast lock docs-picture up down

PYTHON ?= python3
PORT ?= 8000
ONCE ?=
PROFILE ?=
PACKAGE ?=
# The limit of one test in seconds. Tests that build images set a longer one themselves.
TEST_TIMEOUT ?= 900
# For make test: four processes on two cores, because many tests wait. tests/support/groups.py decides which tests share one.
AT_ONCE ?= -n 4 --dist loadscope --no-loadscope-reorder
# The number of slowest tests that are listed at the end.
SLOWEST ?= 10
# For make chaos: the first run's seed, the number of runs, tasks in each run, and simultaneous runs.
SEED ?= 1
RUNS ?= 20
TASKS ?= 24
JOBS ?= 2

# With PYTHONDONTWRITEBYTECODE each of the hundreds of processes of a test run would compile its modules again.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
# Inside the virtualenv, so that it disappears with it.
VENV := .venv/ready
COMPOSE = $$(command -v docker-compose || echo docker compose)

help:  ## this list
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "make %-14s%s\n", $$1, $$2 }' Makefile

setup: setup-test  ## install whatever is missing: virtualenv, system packages, Docker engine

$(VENV): requirements/lock.txt pyproject.toml resources/host/virtualenv.sh
	@PYTHON='$(PYTHON)' resources/host/virtualenv.sh .venv
	@touch $@

setup-run: $(VENV)
	@resources/host/packages.sh run
	@resources/host/engine.sh $(BIN)/python

setup-test: $(VENV)
	@resources/host/packages.sh test
	@resources/host/engine.sh $(BIN)/python

run: setup-run  ## start the whole service here and test a package (PORT=8000 PACKAGE=hello ONCE=1 PROFILE=1)
	@exec $(BIN)/alts run --config configs/embedded.yaml --port '$(PORT)' \
	    $(if $(PACKAGE),--package '$(PACKAGE)') $(if $(ONCE),--once) $(if $(PROFILE),--profile)

token: $(VENV)  ## print a token for the running service: make -s token
	@exec $(BIN)/alts token

test: setup-test  ## every test, with real containers, a private RabbitMQ and a private S3 server
	$(BIN)/python -m pytest --timeout=$(TEST_TIMEOUT) -m 'not long' $(AT_ONCE) --durations=$(SLOWEST) $(ARGS)

test-long: setup-test  ## fifty real packages of Debian, some of them twenty times, and every fault from the beginning
	$(BIN)/python -m pytest --timeout=3600 -m long --durations=$(SLOWEST) $(ARGS)

setup-bench: setup-test
	@resources/host/packages.sh bench
	@test -x .alts/tmt/bin/tmt || { $(BIN)/uv venv --quiet .alts/tmt && \
	    $(BIN)/uv pip install --quiet --python .alts/tmt/bin/python 'tmt==1.78.0'; } || echo 'tmt could not be installed'

bench: setup-bench  ## the time of a test beside `docker run` by hand and four other systems: ARGS='--packages hello'
	PATH="$(CURDIR)/.alts/tmt/bin:$$PATH" $(BIN)/python -m bench.speed $(ARGS)

bench-quick: setup-test  ## the same for hello alone, in four minutes
	$(BIN)/python -m bench.speed --quick $(ARGS)

bench-scale: setup-test  ## 10,000 tasks with stub machines, and a ledger with a million: ARGS='--tasks 1000'
	$(BIN)/python -m bench.scale $(ARGS)

bench-posts: setup-test  ## the requests accepted in a second, beside the same application without a ledger
	$(BIN)/python -m bench.posts $(ARGS)

bench-cancel: setup-test  ## fifty cancels of running installs, how long the worst took: ARGS='--tries 50 --full-stack'
	$(BIN)/python -m bench.cancel $(ARGS)

bench-hostile: setup-test  ## /health beside forty callers with hostile bodies, and the memory they cost: ARGS='--seconds 3'
	$(BIN)/python -m bench.hostile_bodies $(ARGS)

chaos: setup-test  ## break the service on purpose and see that nothing is lost (SEED=1 RUNS=20 TASKS=24 JOBS=2)
	@$(BIN)/python -m tests.chaos --seed '$(SEED)' --runs '$(RUNS)' --tasks '$(TASKS)' --jobs '$(JOBS)'

check: $(VENV)  ## ruff, mypy --strict, import-linter and the fast tests: under a minute, needs neither root nor Docker
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=target check-style check-types check-fast

# These run side by side. Each prints its output at its end.
check-style: $(VENV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

check-types: $(VENV)
	$(BIN)/mypy

check-fast: $(VENV)
	$(BIN)/python -m pytest -q --timeout=60 -p no:schemathesis -n 3 \
	    -m 'not docker and not services and not fuzz and not compose and not slow and not long' $(ARGS)

lock: $(VENV)  ## choose the newest versions that requirements/ allow
	@{ echo "# Every package that the virtualenv gets, at the version that was tested. Made by: make lock"; \
	  $(BIN)/uv pip compile --quiet --upgrade --no-header --no-emit-index-url --no-emit-find-links \
	    --python-version 3.11 requirements/tests.txt requirements/setup.txt; } >requirements/lock.txt.new
	@mv requirements/lock.txt.new requirements/lock.txt

docs-picture: $(VENV)  ## draw docs/rooms.svg anew, from the imports in the code
	@resources/host/packages.sh docs
	@$(BIN)/python -m docs.draw_rooms

up:  ## build and start the docker-compose stack, see README.md
	$(COMPOSE) up -d --build

down:  ## stop the docker-compose stack; what it stored stays
	$(COMPOSE) down
