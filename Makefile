# Options go through ARGS:  make demo ARGS="--stocks 300 --faults http500=0.1"
PYTHON ?= python3
ARGS ?=
VENV := .venv
# Whole runs that take minutes; they go with the fault suite.
SLOW := tests/secrets tests/screener/test_consumer.py
PY := $(VENV)/bin/python
# What only a broker can show that outlives its runs.
RESUME := $(addprefix tests/e2e/test_runs.py::test_resume_,takes_up_the_newest_unfinished_run_where_it_stood sends_exactly_the_bands_of_a_regions_file_that_were_not_sent)
# Processes that share the tests (0: all in one). Most of a test is waiting for other processes.
JOBS ?= 4
# Cases of the fault suite spend half their time waiting: for sessions to end, for pages, for what is away.
FAULT_JOBS ?= 4
# The version stands in the pom alone.
KAFKA_BUILD := build/kafka-$(shell sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' tests/apache_kafka/pom.xml 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults test-kafka benchmark lint sql screenshots clean

help: ## this list
	@grep -E '^[a-z][a-z-]*:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1|/' | while IFS='|' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

setup: $(VENV)/.browser ## .venv with everything, and the browser if it is missing (PYTHON=python3.12 chooses another)
	@echo "ready: make demo"

demo: $(VENV)/.browser ## a whole run on this machine, with a local stand-in for the site; without a terminal it ends when done
	@if [ -t 1 ]; then exec $(PY) run_pipeline.py --demo $(ARGS); else exec $(PY) run_pipeline.py --demo --exit-when-done $(ARGS); fi

test: lint $(VENV)/.browser ## lint and all tests but those of the next two (ARGS goes to pytest)
	$(PY) -m pytest -n $(JOBS) --dist loadfile --ignore=tests/faults --ignore=tests/apache_kafka $(SLOW:%=--ignore=%) $(ARGS)

test-faults: $(VENV)/.browser ## whole runs, disturbed: kills, freezes, restarts, a site that misbehaves (FAULTS_SEED repeats one)
	$(PY) -m pytest -n $(FAULT_JOBS) --dist worksteal --timeout 600 tests/faults $(SLOW) $(ARGS)

test-kafka: $(VENV)/.browser $(KAFKA_BUILD)/.fetched ## the tests on a real Apache Kafka (needs Java 17 and Maven)
	TEST_BROKER=apache TEST_KAFKA_HOME=$(KAFKA_BUILD) $(PY) -m pytest -n 3 --dist loadscope --timeout 600 -v --durations=5 tests/worker tests/shared_throttle tests/apache_kafka $(RESUME) $(ARGS)

benchmark: $(VENV)/.browser ## how fast it is, beside a plain sequential program; about a quarter of an hour (ARGS="--only processing")
	@$(PY) -m benchmarks --json $(ARGS)

lint: $(VENV)/.installed ## ruff, its formatter, mypy, the arrows between the rooms, the schemas of compose files and workflow
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker-compose.cluster.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

sql: $(VENV)/.installed ## psql over the database of the run that is up, or of the last one (ARGS="--demo -c 'SELECT …'")
	@$(PY) -m local.sql $(ARGS)

screenshots: $(VENV)/.browser ## docs/screenshots anew, of a demo of their own
	$(PY) -m tools.screenshots

clean: ## remove .venv, logs, caches and the demo's database; a live run's database stays unless ARGS=--live
	@if [ -x $(PY) ]; then $(PY) -m local.clean $(ARGS); fi
	rm -rf logs .pytest_cache .mypy_cache .ruff_cache .hypothesis $(VENV)

# Apache Kafka's jars from Maven's central repository, once for each version.
$(KAFKA_BUILD)/.fetched: tests/apache_kafka/pom.xml
	@command -v java >/dev/null || { echo "java is not installed: make test-kafka needs Java 17 or newer" >&2; exit 2; }
	@command -v mvn >/dev/null || { echo "mvn is not installed: make test-kafka needs Maven" >&2; exit 2; }
	rm -rf $(KAFKA_BUILD)
	mvn -B -q -f tests/apache_kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(KAFKA_BUILD)/libs
	@touch $@

# The two stamps: what is newer than they are is installed again, else nothing is done.
$(VENV)/.installed: requirements.txt requirements-local.txt requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: Python 3.10 or newer is needed (make setup PYTHON=/path/to/python3)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is `$(PYTHON) -c 'import platform; print(platform.python_version())'`: Python 3.10 or newer is needed (make setup PYTHON=/path/to/python3)" >&2; exit 2; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-local.txt -r requirements-dev.txt
	@touch $@

$(VENV)/.browser: $(VENV)/.installed
	$(PY) -m tools.setup_browser
	@touch $@
