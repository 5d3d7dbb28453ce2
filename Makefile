# `make demo` and `make test` install everything that they need. PYTHON is the command of a Python 3.11.
PYTHON ?= python3
# Number of processes that run test files. Each of them mostly waits for its own child processes.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup setup-cluster demo test test-cluster test-gpu bench-gpu acceptance docs pictures lint types lock bench clean-venv

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "needs Python 3.11: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing the packages of requirements.lock into $(VENV): some minutes, 7 GB"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@
	-$(BIN)/agar env >/dev/null

# For several machines: Ray, Postgres for Dagster, S3; also photos in HEIC. This lock contains the other one.
setup-cluster: setup $(VENV)/.installed-cluster

$(VENV)/.installed-cluster: requirements-cluster.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-cluster.lock
	$(BIN)/python -m pip check
	touch $@

demo: setup
	$(BIN)/agar demo

test: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --ignore tests/cluster

# Tests with a Ray cluster, a shared store and a Postgres server on this machine; not part of `make test`.
test-cluster: setup-cluster
	$(BIN)/python -m pytest tests/cluster

# Tests that need an NVIDIA GPU. On a large GPU five models are trained at a time. The duration has not been measured.
test-gpu: setup
	$(BIN)/python -m benchmarks.gpu.report gpu-report.md --only suite

# Benchmarks of one GPU. On a machine with only Python and torch, benchmarks/gpu/run.sh runs test-gpu and bench-gpu.
bench-gpu: setup
	$(BIN)/python -m benchmarks.gpu

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# All faults of tests/acceptance/cases.py and all points of points.py, with tables and scores; takes half an hour.
acceptance: setup
	$(BIN)/python -m tests.acceptance

# Builds the documents as HTML in .agar/docs. The pages load nothing from the network.
docs: setup
	$(BIN)/agar env >/dev/null
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Takes the README's pictures from the demo; needs Chromium.
pictures: setup
	$(BIN)/python docs/take_pictures.py

types: setup
	$(BIN)/mypy

# Resolves all requirements and extras together, and writes the locks with the hash of every file. Needs uv.
LOCK := uv pip compile --python-version 3.11.0 --no-header --no-annotate --generate-hashes
lock:
	$(LOCK) pyproject.toml --extra dev -o requirements.lock
	$(LOCK) pyproject.toml --extra dev --extra cluster --extra heic --constraint requirements.lock -o requirements-cluster.lock
	$(LOCK) deploy/requirements-kubernetes.in --constraint requirements-cluster.lock -o deploy/requirements-kubernetes.lock

clean-venv:
	rm -rf $(VENV)

# All benchmarks, or one: make bench NAME=no_change
bench: setup
	$(BIN)/python -m benchmarks $(NAME)
