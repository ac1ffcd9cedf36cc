# make demo: install and compare all schedules on a real example. make test: install and test every rule.
# make test-slow: all other tests, and all examples. make docs: the site, in build/docs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo docs test test-slow lint format types bench dist clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("ppopt needs Python 3.11 or newer; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/installed-lint: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[lint]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/installed-release: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	touch $@

demo: $(VENV)/installed
	mkdir -p $(DEMO)
	$(BIN)/ppopt compare -c examples/measured-1.5b.yaml --time-limit 30 --report $(DEMO)/report.html > $(DEMO)/table.txt
	@cat $(DEMO)/table.txt
	@echo "Left in $(DEMO)/: table.txt and report.html. Open $(CURDIR)/$(DEMO)/report.html in a browser."

# Python may write what it compiles: tests start a hundred processes, and each would compile ppopt again
test test-slow: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-slow: $(VENV)/installed-test
	PPOPT_ALL_EXAMPLES=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or hypothesis" $(PYTEST_ARGS)

docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -d build/doctrees docs build/docs
	@echo "Left in build/docs/. Open $(CURDIR)/build/docs/index.html in a browser."

lint: $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/installed-lint
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

# the source archive, the wheel built from it, and what PyPI would object to in either
dist: $(VENV)/installed-release
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) $(DEMO) build dist docs/reference/generated docs/start/tour.ipynb
