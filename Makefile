# `make` prints what there is. A bare machine needs python3 (3.11 or newer, with venv) and make.

PYTHON ?= python3
PYTEST_ARGS ?=
# The suite runs in this many processes; 0 runs it in one, for a debugger.
PYTEST_JOBS ?= 2
# `make demo ONCE=1` ends after one search; without it the page stays up for you to try.
ONCE ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
DRAWN := build/drawn-people
DRAWN_TRAIN := build/drawn-people-train

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve test check format lock train-smoke model bench docker-test clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

# ---- use it

demo: $(VENV)/.installed-cpu ## draw people, index them, search, show the page (ONCE=1: search and end)
	rm -rf $(DRAWN)
	$(BIN)/python -m training synthesize $(DRAWN)
	$(BIN)/python -m service demo $(DRAWN) $(if $(ONCE),--once)

serve: $(VENV)/.installed-cpu ## the service with the shipped model, on http://127.0.0.1:8000
	$(BIN)/python -m service serve

# ---- work on it

# A file stays in one process, so that what its tests share is made once. Files keep their order: the
# long ones of end_to_end come early, and the processes end at about the same time.
IN_PARALLEL = --numprocesses $(PYTEST_JOBS) --dist loadfile --no-loadscope-reorder

test: check $(VENV)/.browser ## everything: checks, then the whole test suite (first run downloads about 5 GB of PyTorch)
	$(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS)

check: $(VENV)/.installed-all ## lint, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-all ## rewrite the code in the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Pins stay as they are where they still fit; with UPGRADE=1 each becomes the newest.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

lock: $(VENV)/.installed-all ## pin what goes into the images, with hashes (UPGRADE=1: newest versions)
	$(LOCK) pyproject.toml --extra cpu --output-file docker/requirements-cpu.txt
	$(LOCK) pyproject.toml --extra gpu --output-file docker/requirements-gpu.txt
	$(LOCK) pyproject.toml --extra cpu --extra train --output-file docker/requirements-training.txt
	$(LOCK) --group pyproject.toml:image --output-file docker/requirements-build.txt

train-smoke: $(VENV)/.installed-all ## train a few epochs on drawn people, on any machine
	rm -rf $(DRAWN_TRAIN) runs/smoke
	$(BIN)/python -m training synthesize $(DRAWN_TRAIN)
	$(BIN)/python -m training train --config training/configs/smoke.toml \
		--data $(DRAWN_TRAIN) --output runs/smoke

# Where the two data sets and the ImageNet weights lie on your disk; runs/ keeps what is finished.
CUHK03 ?=
PKU ?=
WEIGHTS ?=

model: $(VENV)/.installed-all ## train the shipped model again: make model CUHK03=... PKU=... WEIGHTS=...
	@test -n "$(CUHK03)" -a -n "$(PKU)" -a -n "$(WEIGHTS)" || { \
		echo "make model CUHK03=FOLDER PKU=FOLDER WEIGHTS=mobilenet_v2-imagenet1k.pth" >&2; exit 1; }
	$(BIN)/python -m training train --config training/configs/hhcl-mobilenetv2.toml \
		--data "$(CUHK03)" --weights "$(WEIGHTS)" --output runs/hhcl-mobilenetv2 --resume
	$(BIN)/python -m training train --config training/configs/hhcl-mobilenetv2-continued.toml \
		--data "$(CUHK03)" --data "$(PKU)" --weights runs/hhcl-mobilenetv2 \
		--output runs/hhcl-mobilenetv2-continued --resume
	$(BIN)/python -m training export --run runs/hhcl-mobilenetv2-continued --output runs/model --overwrite \
		--data "$(CUHK03)" --data "$(PKU)" --before-training --weights "$(WEIGHTS)" \
		--notes training/configs/hhcl-mobilenetv2.md

bench: $(VENV)/.installed-all ## every figure of docs/benchmarks.md; each prints one JSON line last
	set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docker-test: $(VENV)/.installed-all ## build the image, run it, kill it, prove that nothing is lost
	$(BIN)/python -m pytest tests/end_to_end/test_docker.py -v $(PYTEST_ARGS)

clean: ## remove drawn data and caches; the environment stays (rm -rf .venv)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find service training benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments: one folder for both, since pip adds and never removes

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is missing or older than Python 3.11: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) lacks the venv module: on Debian and Ubuntu, apt install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-cpu: pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV), once: about a minute."
	$(PIP) --editable ".[cpu]"
	@touch $@

# torch and torchvision as the index serves them: a CPU-only torch beside them does not import.
$(VENV)/.installed-all: pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV), once: about 5 GB, a few minutes."
	$(PIP) --editable ".[cpu,train,dev]"
	$(BIN)/python -c 'import torchvision'
	@touch $@ $(VENV)/.installed-cpu

# The page is tested in Debian's Chromium. Where it cannot be installed, its tests say so: they skip,
# or fail if CI=true. It is tried again the next time.
$(VENV)/.browser: | $(VENV)/.installed-all
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "Installing Chromium, once: a minute." && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends chromium >/dev/null; } && touch $@ || \
		echo "chromium is missing and could not be installed: apt install chromium" >&2
