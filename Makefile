# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv first (Python 3.11 or 3.12).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := .ci/constraints.txt
INSTALLED := $(VENV)/.installed

.PHONY: help setup demo demo-tables test test-faults lint types wheel check clean

help:
	@echo "make demo    the whole job on embedded images, into sepnas-demo/"
	@echo "make demo-tables  two rows of every table of the papers at a tiny schedule, into sepnas-tables/"
	@echo "make test    the tests"
	@echo "make test-faults  kills, full disks, strange inputs: what tests take long for"
	@echo "make check   lint, types, tests and the wheel: what CI runs"
	@echo "make clean   remove .venv and everything that was made"

setup: $(INSTALLED)

# torch first and by its exact version: an open range would fetch the newest CUDA build
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13) and "Python 3.11 or 3.12 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/sepnas demo --out sepnas-demo --overwrite

demo-tables: $(INSTALLED)
	for name in $$($(BIN)/sepnas list tables | cut -d ' ' -f 1); do \
	  $(BIN)/sepnas reproduce $$name --out sepnas-tables/$$name --rows 1,2 --epochs 1 --seeds 2 --width 0.25 \
	    --data.image_size 32 --data.max_train_images 80 || exit 1; \
	done

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --maxprocesses 4

# what goes wrong on machines: kills at any moment, full disks, strange inputs by the ten thousand
test-faults: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m faults

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

# the wheel, its files and its command, imported outside the checkout with nothing of the checkout on the path
wheel: $(INSTALLED)
	rm -rf dist build/wheel-check
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv --without-pip build/wheel-check
	$(BIN)/python -m pip --python build/wheel-check/bin/python install --quiet --no-deps dist/*.whl
	cd build/wheel-check && PYTHONPATH="$$(../../$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	  bin/python ../../.ci/check_wheel.py

check: lint types test wheel

clean:
	rm -rf $(VENV) dist build sepnas-demo sepnas-tables .pytest_cache .mypy_cache .ruff_cache
