# Every target sets up what it needs: `make test` works on a fresh clone. Nothing here needs more than python3, its venv
# module and make; tests that want other tools (strace, loop devices) say "not run" where those are missing.
PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check
STAMP := .venv/.installed
DEMO_STAMP := .demo/env/.installed
# of `make crash`: the family of faults, how many, from which seed; SET="name=value ..." are the family's own options
# (SET="job=parquet"), MINUTES bounds the time, RECORD=1 publishes the figures in docs/reliability.json
FAMILY ?= kill
N ?= 300
SEED ?= 1
# of `make bench`: rounds, and which workloads (all)
ROUNDS ?= 5
# zstd's level in `make binary`: 19 takes one to three minutes, 3 a few seconds for a file a fifth larger
LEVEL ?= 19

.DEFAULT_GOAL := help
.PHONY: help venv check format test test-binary demo crash bench binary release deb man lock clean

help:
	@sed -n 's/^## //p' Makefile

## venv    .venv from requirements-dev.lock (hashes checked), with batchctl installed in it
venv: $(STAMP)

# Stamps are written last, so that an installation cut off midway is begun again.
$(STAMP): requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) --require-hashes -r requirements-dev.lock
	@# A plain path entry: the default editable finder costs every start some 10 ms.
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

$(DEMO_STAMP): requirements-demo.lock
	test -x .demo/env/bin/python || $(PYTHON) -m venv .demo/env
	.demo/env/bin/python $(PIP) --require-hashes -r requirements-demo.lock
	@touch $@

## check   format, lint, types, import rules
check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

## format  rewrite files as ruff would have them
format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

## test    all tests
test: venv
	$(BIN)/python -m tests.system_tools
	$(BIN)/python -m tests.user_environments
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

## test-binary  the acceptance suite on dist/batchctl in full, then its figures beside their bounds (half an hour)
test-binary: venv
	test -x dist/batchctl || $(MAKE) binary
	BATCHCTL_BINARY_FULL=1 $(BIN)/python -m pytest tests/binary
	$(BIN)/python -m tests.binary.figures

## demo    real images, real model, kill -9 midway, resume, proof
demo: venv $(DEMO_STAMP)
	$(BIN)/python packaging/demo/demo.py --user-python .demo/env/bin/python

## crash   a fault campaign: FAMILY=kill N=300 SEED=1 (docs/reliability.md names the families), RECORD=1 to publish it
crash: venv
	$(BIN)/python -m tests.crash $(FAMILY) -n $(N) --seed $(SEED) $(foreach one,$(SET),--set $(one)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(RECORD),--record)

## bench   five workloads, beside Pool, joblib, GNU parallel, Dask, Ray, ... (an hour; ONLY=w1,w2 ROUNDS=1 in pieces, RECORD=1)
bench: venv
	$(BIN)/python -m tests.bench --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY)) $(if $(RECORD),--record)

## binary  dist/batchctl, the one file, built for this machine and newer ones (LEVEL=3 packs in seconds)
binary:
	$(PYTHON) build/make.py --level $(LEVEL)

## release dist/release/batchctl, built in a Debian 11 root for glibc 2.30 and newer (root, debootstrap)
release:
	$(PYTHON) build/release/release.py

## deb     dist/batchctl_VERSION_amd64.deb, from dist/batchctl
deb:
	$(PYTHON) packaging/deb/build.py

## man     dist/batchctl.1, the manual page
man:
	dist/batchctl man > dist/batchctl.1

# The compiler of lock files is a tool of this target alone. A lock keeps its pins unless it is removed first, and holds no
# index address: hashes say what is wanted, the reader's pip says from where.
COMPILE := .build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links
MADE := \# Made by make lock; every file is pinned by hash, so any mirror will do.

## lock    requirements*.lock anew from pyproject.toml and the demo's requirements.in, and those of test environments
lock:
	test -x .build/lock/bin/pip-compile || { $(PYTHON) -m venv .build/lock && .build/lock/bin/python $(PIP) pip-tools; }
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(COMPILE) --extra build -c requirements.lock -c requirements-dev.lock pyproject.toml -o requirements-build.lock
	$(COMPILE) packaging/examples/digits/requirements.in -o requirements-demo.lock
	$(COMPILE) -c requirements.lock -c requirements-demo.lock tests/environments/mlflow.in -o tests/environments/mlflow.lock
	$(COMPILE) -c requirements.lock tests/environments/bench.in -o tests/environments/bench.lock
	$(COMPILE) -c tests/environments/bench.lock tests/environments/bench-model.in -o tests/environments/bench-model.lock
	@sed -i '1i # What batchctl itself runs on, which is what is inside the binary.\n$(MADE)' requirements.lock
	@sed -i "1i # What batchctl runs on, and the tools that check and test it.\n$(MADE)" requirements-dev.lock
	@sed -i '1i # What is inside the binary, and the tools that make it of that.\n$(MADE)' requirements-build.lock
	@sed -i "1i # The user's environment of the demo: what its scoring script needs, and nothing of batchctl.\n$(MADE)" requirements-demo.lock
	@sed -i '1i # The environment in which tests score models of MLflow.\n$(MADE)' tests/environments/mlflow.lock
	@sed -i '1i # The environment of benches: scoring scripts and peers.\n$(MADE)' tests/environments/bench.lock
	@sed -i '1i # The same, with the model of W5.\n$(MADE)' tests/environments/bench-model.lock

## clean   remove what these targets made
clean:
	rm -rf .venv .demo .build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache *.egg-info
	find batchctl tests packaging build -name __pycache__ -type d -prune -exec rm -rf {} +
