# make demo: install and evaluate a real example. make test: install and run all tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test lint format types bench clean

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

demo: $(VENV)/installed
	mkdir -p $(DEMO)
	$(BIN)/ppopt evaluate 1f1b zb-h1 zb1p zb-h2 interleaved:stages=16 -c examples/measured-1.5b.yaml \
	  --save $(DEMO)/timeline.csv --trace $(DEMO)/trace.json > $(DEMO)/table.txt
	@cat $(DEMO)/table.txt
	@echo "Left in $(DEMO)/: table.txt, timeline.csv, and trace.json (open it in Perfetto)."

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

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

clean:
	rm -rf $(VENV) $(DEMO) build dist
