# Every target works on a fresh machine with only Python, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHARED ?= ../shared
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint format docs validate bench clean

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

run: $(VENV)/.run  ## the README's study: a table here, report.html and plan.json in report/
	$(BIN)/suanli plan examples/qwen3-235b-azure.yaml --out report

test: $(VENV)/.dev
	$(BIN)/pytest -q -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff format --check src tests validation
	$(BIN)/ruff check src tests validation
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs validation README.md CONTRIBUTING.md

format: $(VENV)/.dev
	$(BIN)/ruff format src tests validation
	$(BIN)/ruff check --fix src tests validation

docs: $(VENV)/.dev
	$(BIN)/python -m suanli.catalog.docs docs/reference
	$(BIN)/mkdocs build --strict

validate: $(VENV)/.dev  ## measured against predicted; needs the measurement files in SHARED
	$(BIN)/python -m validation.run --data $(SHARED)/ground_truth
	$(BIN)/python -m validation.operators.score --kind kernel --data $(SHARED)/ground_truth/kernels.csv
	$(BIN)/python -m validation.operators.score --kind collective --data $(SHARED)/ground_truth/collectives.csv

bench: $(VENV)/.dev
	$(BIN)/python -m validation.bench

clean:
	rm -rf $(VENV) report site build
