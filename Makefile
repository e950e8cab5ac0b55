# Pass options in ARGS:  make demo ARGS="--stocks 300 --faults http500=0.1 --refresh all"
PYTHON ?= python3
ARGS ?=
VENV := .venv
# Whole runs that take minutes. They run with the fault suite.
SLOW := tests/secrets tests/screener/test_consumer.py
PY := $(VENV)/bin/python
# Tests of --resume, which need a broker that keeps its messages.
RESUME := $(addprefix tests/e2e/test_runs.py::test_resume_,continues_the_newest_unfinished_run_where_it_stopped sends_exactly_the_unsent_bands_of_a_regions_file)
# Test processes (0: run all tests in one). Tests mostly wait for other processes.
JOBS ?= 4
# Test processes of the fault suite, which waits half of its time for sessions, pages and services.
FAULT_JOBS ?= 4
# The pom defines the version.
KAFKA_BUILD := build/kafka-$(shell sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' tests/apache_kafka/pom.xml 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults test-kafka benchmark lint sql screenshots clean

help: ## show this list
	@grep -E '^[a-z][a-z-]*:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1|/' | while IFS='|' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

setup: $(VENV)/.browser ## install everything into .venv, and the browser if it is missing (PYTHON=python3.12 chooses another)
	@echo "ready: make demo"

demo: $(VENV)/.browser ## a whole run on this machine, with a local market in place of the site; without a terminal it ends when done
	@if [ -t 1 ]; then exec $(PY) run_pipeline.py --demo $(ARGS); else exec $(PY) run_pipeline.py --demo --exit-when-done $(ARGS); fi

test: lint $(VENV)/.browser ## run lint and all tests except the next two suites (ARGS goes to pytest)
	$(PY) -m pytest -n $(JOBS) --dist loadfile --ignore=tests/faults --ignore=tests/apache_kafka $(SLOW:%=--ignore=%) $(ARGS)

test-faults: $(VENV)/.browser ## test whole runs with kills, freezes, restarts and site faults (FAULTS_SEED repeats one)
	$(PY) -m pytest -n $(FAULT_JOBS) --dist worksteal --timeout 600 tests/faults $(SLOW) $(ARGS)

test-kafka: $(VENV)/.browser $(KAFKA_BUILD)/.fetched ## run the tests on a real Apache Kafka (needs Java 17 and Maven)
	TEST_BROKER=apache TEST_KAFKA_HOME=$(KAFKA_BUILD) $(PY) -m pytest -n 3 --dist loadscope --timeout 600 -v --durations=5 tests/worker tests/shared_throttle tests/apache_kafka $(RESUME) $(ARGS)

benchmark: $(VENV)/.browser ## measure the speed, compared with a sequential program; takes about 15 minutes (ARGS="--only processing")
	@$(PY) -m benchmarks --json $(ARGS)

lint: $(VENV)/.installed ## check with ruff, mypy and import rules, and validate compose files and workflow
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker-compose.cluster.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

sql: $(VENV)/.installed ## open psql on the database of the current run, or of the last one (ARGS="--demo -c 'SELECT …'")
	@$(PY) -m local.sql $(ARGS)

screenshots: $(VENV)/.browser ## take docs/screenshots again, from a demo
	$(PY) -m tools.screenshots

clean: ## remove .venv, logs, caches and the demo's database; a live run's database stays unless ARGS=--live
	@if [ -x $(PY) ]; then $(PY) -m local.clean $(ARGS); elif [ -n "$(ARGS)" ]; then echo "make clean ARGS=$(ARGS) needs .venv: run make setup first" >&2; exit 2; fi
	rm -rf logs .pytest_cache .mypy_cache .ruff_cache .hypothesis $(VENV)

# Apache Kafka's jars from Maven's central repository, downloaded once per version.
$(KAFKA_BUILD)/.fetched: tests/apache_kafka/pom.xml
	@command -v java >/dev/null || { echo "java is not installed: make test-kafka needs Java 17 or newer" >&2; exit 2; }
	@command -v mvn >/dev/null || { echo "mvn is not installed: make test-kafka needs Maven" >&2; exit 2; }
	rm -rf $(KAFKA_BUILD)
	mvn -B -q -f tests/apache_kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(KAFKA_BUILD)/libs
	@touch $@

# Two stamp files: install again only if a requirements file is newer.
$(VENV)/.installed: requirements.txt requirements-local.txt requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: Python 3.10 or newer is needed (make setup PYTHON=/path/to/python3)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is `$(PYTHON) -c 'import platform; print(platform.python_version())'`: Python 3.10 or newer is needed (make setup PYTHON=/path/to/python3)" >&2; exit 2; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV), which takes a minute or two the first time"
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-local.txt -r requirements-dev.txt
	@touch $@

$(VENV)/.browser: $(VENV)/.installed
	$(PY) -m tools.setup_browser
	@touch $@
