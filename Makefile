# make run: measure and decide. make test: test. README.md says the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
export HWFIT_ENVIRONMENTS ?= $(CURDIR)/.environments

.PHONY: run show test environments lint format ui watch register retry bench unlock clean

run: $(VENV)/control
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete --logger hwfit
	@$(BIN)/python -m hwfit show

show: $(VENV)/control
	@$(BIN)/python -m hwfit show

test: $(VENV)/test environments
	$(BIN)/python -m pytest -n 2 -m "not alone"
	$(BIN)/python -m pytest -m alone

environments: $(VENV)/control
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete --quiet all -- environments

lint: $(VENV)/test
	$(BIN)/ruff check workflow tests benchmarks
	$(BIN)/ruff format --check workflow tests benchmarks
	$(BIN)/mypy workflow/hwfit workflow/snakemake_logger_plugin_hwfit
	$(BIN)/snakemake --lint

format: $(VENV)/test
	$(BIN)/ruff check --fix workflow tests benchmarks
	$(BIN)/ruff format workflow tests benchmarks

# Takes half an hour on a quiet machine; say which with NAMES="observer cost peer loadgen aa".
bench: $(VENV)/control
	$(BIN)/python -m benchmarks $(NAMES)

ui: $(VENV)/control
	@$(BIN)/python -m hwfit ui

# Curves of training in MLflow while they grow; on a host that does not measure, with the same directory.
watch: $(VENV)/control
	@$(BIN)/python -m hwfit watch

# What was chosen becomes a registered model of MLflow.
register: $(VENV)/control
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete register

retry: $(VENV)/control
	$(BIN)/python -m hwfit retry

# Where a run was killed on another host: `make run` cannot know that it is dead, and says so.
unlock: $(VENV)/control
	$(BIN)/snakemake --unlock

# The runs in MLflow stay.
clean:
	[ ! -d results ] || find results -mindepth 1 -maxdepth 1 ! -name 'mlflow.db*' ! -name mlartifacts ! -name project -exec rm -rf {} +
	rm -rf logs
	rm -f reports/hardware-selection.html reports/combinations.csv reports/recommendation.json reports/measurements.zip
	rm -f reports/training.csv reports/training-configurations.csv reports/comparison.json reports/comparison.csv

# The stamps, not the folders: an installation that broke off is taken up again.
$(VENV)/control: envs/control.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "hwfit needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "hwfit needs Python's venv: apt-get install python3-venv"; exit 1; }
	umask o-w && $(PYTHON) -m venv $(VENV)
	umask o-w && $(BIN)/pip install --quiet --disable-pip-version-check --requirement envs/control.txt
	umask o-w && $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/test: $(VENV)/control envs/test.txt
	umask o-w && $(BIN)/pip install --quiet --disable-pip-version-check --requirement envs/test.txt
	@touch $@
