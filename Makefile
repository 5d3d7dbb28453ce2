# `make demo` and `make test` do all set-up. PYTHON names a Python 3.11.
PYTHON ?= python3
# Test files are shared out among this many processes: each mostly waits for children of its own.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup setup-cluster demo test test-cluster test-gpu bench-gpu acceptance docs pictures lint types lock bench clean-venv

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "needs Python 3.11: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.lock names into $(VENV): some minutes, 7 GB"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@
	-$(BIN)/agar env >/dev/null

# More than one machine: Ray, Postgres for Dagster, S3; and photos in HEIC. A superset of the other lock.
setup-cluster: setup $(VENV)/.installed-cluster

$(VENV)/.installed-cluster: requirements-cluster.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-cluster.lock
	$(BIN)/python -m pip check
	touch $@

demo: setup
	$(BIN)/agar demo

test: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --ignore tests/cluster

# A Ray cluster, a shared store and a Postgres server on this machine; not part of `make test`.
test-cluster: setup-cluster
	$(BIN)/python -m pytest tests/cluster

# What needs an NVIDIA GPU; five models are trained at a time on a large one. How long it takes has not been measured.
test-gpu: setup
	$(BIN)/python -m benchmarks.gpu.report gpu-report.md --only suite

# Ratios and rates of one card. Both in one call, on a machine that has only Python and torch: benchmarks/gpu/run.sh.
bench-gpu: setup
	$(BIN)/python -m benchmarks.gpu

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# All faults of the list and all points of files and settings of others, in full, with tables and scores; half an hour.
acceptance: setup
	$(BIN)/python -m tests.acceptance

# The documents as plain HTML, in .agar/docs; they need no network.
docs: setup
	$(BIN)/agar env >/dev/null
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The README's pictures, from the demo; needs a Chromium.
pictures: setup
	$(BIN)/python docs/take_pictures.py

types: setup
	$(BIN)/mypy

# Resolve everything, extras included, once and together, with the hash of every file of each release. Needs uv.
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
