# Aviary. `make` alone lists the targets. Each target first makes what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.made
KEEP ?=
DEMO ?= envoy
PYTEST_ARGS ?=
BENCH_ARGS ?= --quick
CHAOS_ARGS ?=
FUZZ_ARGS ?=
# What depends on Temporal itself rather than on what runs there.
ON_CLUSTER := tests/engines tests/builds $(addprefix tests/workflows/test_, attributes.py finding.py \
  cells.py history.py large.py queues.py release.py resets.py rollback.py)

# A tool of the environment never asks, and never writes outside the checkout.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

say = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z]+):.*## /\1\t/' \
	  | while IFS=$$'\t' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

.PHONY: venv
venv: $(STAMP) ## Make .venv from the lock file (needs Python 3.11 or newer)

$(STAMP): requirements-dev.lock pyproject.toml scripts/make-venv.sh
	$(call say,venv: making $(VENV) from requirements-dev.lock)
	@scripts/make-venv.sh $(VENV) requirements-dev.lock
	@touch $@

.PHONY: install
install: $(STAMP) ## Unpack Debian's Prometheus and Alertmanager below .cache (nothing is installed)
	$(call say,install: Prometheus and Alertmanager below .cache)
	@$(PY) -m aviary local install

.PHONY: demo
demo: install ## Releases on the embedded stack, under four minutes (DEMO=haproxy, docker, kubernetes, flags, audiences, mirror, bluegreen or lanes, KEEP=1)
	$(call say,demo: releases on real parts)
	@$(PY) -m aviary local demo $(if $(filter flags,$(DEMO)),--flags,$(if $(filter audiences mirror bluegreen lanes,$(DEMO)),--shows,$(if $(filter docker kubernetes,$(DEMO)),--deployer,--router)) $(DEMO)) $(if $(filter-out 0 no false,$(KEEP)),--keep)

.PHONY: test
test: install ## Each layer and each main promise, in about 15 minutes (PYTEST_ARGS="-k plan" passes through)
	$(call say,test: what is run often, in groups side by side)
	@$(PY) -m tests --part test $(PYTEST_ARGS)

.PHONY: acceptance
acceptance: install ## All other tests: each platform, clusters, images, browsers; half an hour and more
	$(call say,acceptance: all other tests, in groups side by side)
	@$(PY) -m tests --part acceptance $(PYTEST_ARGS)

.PHONY: coverage
coverage: install ## Both with coverage, which takes longer
	$(call say,coverage: every group of tests, and the lines that they ran)
	@$(PY) -m tests --cov $(PYTEST_ARGS)

.PHONY: chaos
chaos: install ## Every fault on every release: table, and .cache/chaos.json (CHAOS_ARGS="--every 5")
	$(call say,chaos: ingestion, rollback order, outages, and every kill point of four releases)
	@$(PY) -m tests.chaos --json .cache/chaos.json $(CHAOS_ARGS)
	$(call say,chaos: the long matrices of contracts and workflows, and the engine of production)
	@$(PY) -m pytest -m long tests/contract tests/kubernetes tests/unit
	@$(PY) -m pytest -m long tests/workflows tests/engines
	$(call say,chaos: docker-compose.yml for real over the restart of each service)
	@$(PY) -m pytest -m long -o faulthandler_timeout=4000 tests/compose
	@$(PY) -m pytest -m "not long" --engine cluster $(ON_CLUSTER)

.PHONY: fuzz
fuzz: $(STAMP) ## Try odd inputs on every parser for a minute each, 20 in all (FUZZ_S=600, FUZZ_ARGS="-k alerts")
	$(call say,fuzz: every parser of what comes from outside)
	@$(PY) -m pytest tests/fuzz --hypothesis-profile=long --fuzz-seconds $(or $(FUZZ_S),60) $(FUZZ_ARGS)

.PHONY: check
check: $(STAMP) ## Lint, formatting, types and layers
	@failed=; \
	for tool in "ruff check ." "ruff format --check ." mypy lint-imports; do \
	  printf '\033[1m==> check: %s\033[0m\n' "$$tool"; \
	  $(VENV)/bin/$$tool || failed="$$failed [$$tool]"; \
	done; \
	if [ -n "$$failed" ]; then echo "check failed:$$failed" >&2; exit 1; fi

.PHONY: bench
bench: install ## Run the benchmarks, each beside its floor (BENCH_ARGS= for the long ones)
	$(call say,bench)
	@$(PY) -m bench $(BENCH_ARGS)

.PHONY: lock
lock: $(STAMP) ## Make the lock files again from pyproject.toml
	$(call say,lock: requirements.lock and requirements-dev.lock)
	@scripts/lock.sh $(VENV)/bin/uv

.PHONY: clean
clean: ## Remove what the other targets made: .venv, .cache, .aviary and tool caches
	$(call say,clean)
	@if [ -x $(PY) ] && [ -d .aviary ]; then $(PY) -m aviary local down || true; fi
	@rm -rf $(VENV) .cache .aviary .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache .coverage .coverage.* htmlcov *.egg-info build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
