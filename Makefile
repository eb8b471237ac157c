# make run: start the service. make test: the tests. Both do their own set-up, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Three processes on two cores, because tests with a service wait now and then; each more imports all
# tests and starts a PostgreSQL. A file stays in one of them, so that its services are started once.
AT_ONCE := -n 3 --dist loadfile --no-loadscope-reorder

# Every process of the tests would compile the tests and the service anew.
unexport PYTHONDONTWRITEBYTECODE

LOCK := uv pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ITSELF := --no-deps --no-build-isolation --editable .

.PHONY: run lock test test-quick test-all faults slow check openapi examples bench clean

run: $(VENV)/.run
	@$(BIN)/idealfit serve

test: $(VENV)/.test
	@echo "This takes 8 to 10 minutes on two cores; make test-quick is shorter."
	@$(BIN)/python -m pytest $(AT_ONCE) -m "not thorough"

# The tests that need neither PostgreSQL nor any other program.
test-quick: $(VENV)/.test
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not postgres and not thorough" \
		--hypothesis-profile=quick

# Only what make test leaves out: the long tests, and all examples of the random ones.
test-all: $(VENV)/.test
	@echo "This takes about 7 minutes on two cores."
	@$(BIN)/python -m pytest $(AT_ONCE) -m "thorough or hypothesis" --hypothesis-profile=all

# Everything that is killed in the tests, forty times as often.
faults: $(VENV)/.test
	FAULTS=40 IDEALFIT_FAULT_ROUNDS=10 $(BIN)/python -m pytest tests/faults

# Measures every test and writes tests/slow.txt, on a machine that does nothing else.
slow: $(VENV)/.test
	$(BIN)/python -m pytest -p tests.processor_time

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/idealfit openapi --check

openapi: $(VENV)/.test
	$(BIN)/idealfit openapi

# After a change of the dependencies in pyproject.toml. make lock NEWER=--upgrade takes newer versions.
lock: $(VENV)/.python
	$(INSTALL) uv
	$(BIN)/$(LOCK) $(NEWER) --extra postgres pyproject.toml requirements/build.in -o requirements/run.txt
	$(BIN)/$(LOCK) $(NEWER) --extra test -c requirements/run.txt pyproject.toml requirements/build.in -o requirements/test.txt

examples: $(VENV)/.run
	$(BIN)/python -m api.examples

bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet -e '.[benchmark]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV)

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "Idealfit needs Python 3.11 or newer; $(PYTHON) was not found. Say which with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Idealfit needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Say which with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml requirements/run.txt
	@echo "Installing into $(VENV) (once, about a minute) ..."
	@$(INSTALL) --require-hashes --requirement requirements/run.txt
	@$(INSTALL) $(ITSELF)
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml requirements/test.txt
	@echo "Installing into $(VENV) for the tests (once, about two minutes) ..."
	@$(INSTALL) --require-hashes --requirement requirements/test.txt
	@$(INSTALL) $(ITSELF)
	@touch $@ $(VENV)/.run
