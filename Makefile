# Plain `make` lists the verbs.
.DEFAULT_GOAL := help
.PHONY: help demo dev test check fmt bench bench-full bench-check fuzz schema chaos docs clean lock

PYTHON ?= $(shell for name in python3.11 python3 python3.13 python3.12; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
PACKAGES := domain estate eventstore consumers projections api mfo
CODE := $(PACKAGES) tests bench fuzz
ARGS ?=

help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | column -t -s '|' 2>/dev/null \
		|| grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

demo: .venv/.installed ## watch a discovery flow, from upload to result; FILE=path[,path] takes your inventory, AGAIN=1 twice, KEEP=1 leaves it up
	@$(BIN)/python -m mfo.demo $(if $(FILE),--file "$(FILE)") $(if $(AGAIN),--again) $(if $(KEEP),--keep)

dev: .venv/.installed ## the whole service on this machine, PostgreSQL and Kafka included; ARGS="--port 8080 --data DIR"
	@$(BIN)/mfo dev $(ARGS)

test: .venv/.installed .venv/crew/.installed ## every test, on a real PostgreSQL and a real Kafka; ARGS="tests/domain -k pause"
	@$(BIN)/pytest $(or $(ARGS),-n 3 --no-loadscope-reorder)

check: .venv/.installed ## ruff, mypy --strict, the architecture test, every branch of domain/
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/mypy --strict
	$(BIN)/pytest -q tests/test_house.py
	$(BIN)/pytest -q tests/domain --cov=domain --cov-branch --cov-report=term:skip-covered --cov-fail-under=100

fmt: .venv/.installed ## formats the code and mends what ruff can mend
	$(BIN)/ruff check --fix $(wildcard $(CODE))
	$(BIN)/ruff format $(wildcard $(CODE))

bench: .venv/.installed ## measures for ten minutes, and prints limits and what it ran on; ARGS="flows --flows 600 --json" for one
	@$(BIN)/python -m bench $(or $(ARGS),short)

bench-full: .venv/.installed ## the long ones, too: growth to 1,000,000 flows, 30 minutes at half load, more consumers; hours
	@$(BIN)/python -m bench long

bench-check: .venv/.installed ## measures what bench/baseline.json knows, and says what has fallen by more than 15 %
	@$(BIN)/python -m bench check

fuzz: .venv/.installed ## fuzzes the readers, a minute each; TARGETS="csv xlsx", SECONDS=600
	@$(BIN)/pip install -qq --disable-pip-version-check --no-build-isolation -e ".[fuzz]"
	@for target in $(or $(TARGETS),csv json ndjson xml xlsx ods zip options); do \
		$(BIN)/python -m fuzz.run $$target -max_total_time=$(or $(SECONDS),60) || exit 1; done

schema: .venv/.installed ## calls every route with what its document allows and forbids, some 25,000 calls; EXAMPLES=200 EVERY=1 PATHS="GET .*/flows"
	@MFO_TEST_SCHEMA_EXAMPLES=$(or $(EXAMPLES),50) MFO_TEST_SCHEMA_EVERY=$(or $(EVERY),1) MFO_TEST_SCHEMA_PATHS="$(PATHS)" \
		$(BIN)/pytest -q -n 0 --timeout 0 --show-capture=no tests/api/test_schema.py $(ARGS)

chaos: .venv/.installed ## flows under kills, freezes, crashes and moved clocks, and a checker afterwards; SEED=1 FLOWS=500 REPORT=FILE
	@$(BIN)/python -m tests.chaos --seed $(or $(SEED),1) --flows $(or $(FLOWS),500) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(REPORT),--report "$(REPORT)") $(ARGS)

docs: .venv/.installed ## writes settings.md, error-codes.md, openapi.json and asyncapi.json of docs/ from the code
	@$(BIN)/python -m mfo.docs

clean: ## removes .venv and what the tools left
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build *.egg-info
	find $(wildcard $(CODE)) -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and was not found." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv >/dev/null 2>&1 || { rm -rf .venv; \
		echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install $(PYTHON)-venv" >&2; exit 1; }
	@echo "installing into .venv what requirements.lock names" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# an interpreter for agents (MFO_CREW_PYTHON): CrewAI and nothing of ours, 1 GB
.venv/crew/.installed: requirements-crew.lock .venv/.installed
	@echo "installing into .venv/crew what requirements-crew.lock names" >&2
	@$(BIN)/python -m venv --clear --without-pip .venv/crew
	@$(BIN)/pip --python .venv/crew install --quiet --disable-pip-version-check --require-hashes -r requirements-crew.lock
	@touch $@

# after a change of the dependencies in pyproject.toml: writes the locks anew
LOCK = CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options $(ARGS)
lock:
	$(LOCK) --extra dev -o requirements.lock pyproject.toml
	$(LOCK) -c requirements.lock -o requirements-runtime.lock pyproject.toml
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['crew'])" \
		| $(LOCK) -o requirements-crew.lock -
