# `make` lists the targets. A bare machine needs python3 (3.11 or newer, with venv) and make.

PYTHON ?= python3
PYTEST_ARGS ?=
# The number of processes that run the suite; 0 runs it in this one, for a debugger. Three keep two
# processors busy: about a quarter of the tests' time goes to waiting for programs and disks.
PYTEST_JOBS ?= 3
# `make demo ONCE=1` ends after one search; without it the page stays up until you stop it.
ONCE ?=

VENV := .venv
BIN := $(VENV)/bin
# Python compiles what is imported; to compile all 17,000 files of the packages takes 100 seconds.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
DRAWN := build/drawn-people
DRAWN_TRAIN := build/drawn-people-train

# The suite's programs are installed while the checks run.
MAKEFLAGS += --jobs=2

.DEFAULT_GOAL := help
# With it, each of the hundreds of programs that the suite starts would compile the project again.
unexport PYTHONDONTWRITEBYTECODE
.DELETE_ON_ERROR:
.PHONY: help demo serve test check format lock train-smoke model model-synthetic docs bench docker-test clean

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

# Each test file runs in one process, so that its tests share what is slow to make. tests/gate.py puts
# the longest files first, so that all processes end at about the same time.
IN_PARALLEL = --numprocesses $(PYTEST_JOBS) --dist loadfile --no-loadscope-reorder

test: check $(VENV)/.programs ## run the checks, then the whole test suite (the first run downloads about 5 GB of PyTorch)
	$(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS)

check: $(VENV)/.installed-all ## check lint, format, types and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports

format: $(VENV)/.installed-all ## rewrite the code in the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Pins that still fit stay as they are; UPGRADE=1 raises each to its newest release. The suite runs on
# requirements-dev.txt, and the other files take their versions from it: what we ship is what we test.
# The GPU's file takes them from server-cpu's, because PyTorch and cuVS pin different CUDA libraries.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
LOCKS := docker/requirements-

lock: $(VENV)/.installed-all ## pin every dependency with its hashes (UPGRADE=1: the newest releases)
	$(LOCK) pyproject.toml --extra dev --extra server-cpu --extra training --output-file $(LOCKS)dev.txt
	$(LOCK) pyproject.toml --constraint $(LOCKS)dev.txt --output-file $(LOCKS)client.txt
	$(LOCK) pyproject.toml --extra server-cpu --extra mqtt --constraint $(LOCKS)dev.txt --output-file $(LOCKS)server-cpu.txt
	set -e; for extra in training people timm infomap milvus mqtt parquet video; do \
		$(LOCK) pyproject.toml --extra $$extra --constraint $(LOCKS)dev.txt --output-file $(LOCKS)$$extra.txt; done
	$(LOCK) pyproject.toml --extra server-gpu --extra mqtt --constraint $(LOCKS)server-cpu.txt --output-file $(LOCKS)server-gpu.txt
	$(LOCK) --group pyproject.toml:make --constraint $(LOCKS)dev.txt --output-file $(LOCKS)make.txt
	$(LOCK) --group pyproject.toml:image --constraint $(LOCKS)dev.txt --output-file $(LOCKS)build.txt

train-smoke: $(VENV)/.installed-all ## train a few epochs on drawn people; runs on any machine
	rm -rf $(DRAWN_TRAIN) runs/smoke
	$(BIN)/python -m training synthesize $(DRAWN_TRAIN)
	$(BIN)/python -m training train --config training/configs/smoke.toml \
		--data $(DRAWN_TRAIN) --output runs/smoke

# Paths of the two data sets and of the ImageNet weights on your disk. What is finished stays in runs/.
CUHK03 ?=
PKU ?=
WEIGHTS ?=

model: $(VENV)/.installed-all ## train models/hhcl-mobilenetv2 again: make model CUHK03=... PKU=...
	@test -n "$(CUHK03)" -a -n "$(PKU)" || { echo "make model CUHK03=FOLDER PKU=FOLDER" >&2; exit 1; }
	$(BIN)/python -m training train --config training/configs/hhcl-mobilenetv2.toml \
		--data "$(CUHK03)" --data "$(PKU)" --weights models/hhcl-synthetic \
		--output runs/hhcl-mobilenetv2 --resume
	$(BIN)/python -m training export --run runs/hhcl-mobilenetv2 --output runs/model --overwrite \
		--data "$(CUHK03)" --data "$(PKU)" --before-training \
		--notes training/configs/hhcl-mobilenetv2.md \
		--training-data "CUHK03's first camera pair (7,239 crops of 743 people) and PKU-Reid (800 crops of 50 people): the unlabelled crops of their training folders; before that, models/hhcl-synthetic's synthetic people" \
		--licence "Trained on CUHK03 (academic research only) and PKU-Reid (CC BY-NC-SA 4.0, non-commercial): for research, not for commercial use."

# Its pictures and runs stay in build/ and runs/; an interrupted command continues where it stopped.
PEOPLE := build/people
model-synthetic: $(VENV)/.installed-all ## train models/hhcl-synthetic again, on synthetic people alone: WEIGHTS=...
	@test -n "$(WEIGHTS)" || { echo "make model-synthetic WEIGHTS=mobilenet_v2-imagenet1k.pth" >&2; exit 1; }
	$(BIN)/python -m training synthesize $(PEOPLE) --kind bodies --identities 2400 --cameras 60 \
		--views 3 --crops 2 --height 160 --width 80 --seed 1 --train-share 0.95
	$(BIN)/python -m training pretrain --config training/configs/pretrain-mobilenetv2.toml \
		--data $(PEOPLE) --weights "$(WEIGHTS)" --output runs/hhcl-synthetic --resume
	$(BIN)/python -m training export --run runs/hhcl-synthetic --output runs/model --overwrite \
		--data $(PEOPLE) --name hhcl-synthetic --notes training/configs/hhcl-synthetic.md \
		--false-match-rate 0.002 \
		--training-data "2,280 synthetic people (13,680 crops, 60 cameras) with their identities" \
		--licence "Apache-2.0; start weights under MIT"

docs: $(VENV)/.installed-all ## build the documentation as a site in build/docs, and fail on a broken link
	$(BIN)/python docs/site.py

bench: $(VENV)/.installed-all ## run every benchmark in docs/benchmarks.md; each prints one line of JSON at its end
	set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docker-test: $(VENV)/.installed-all ## build the image, run it, kill it, and check that nothing is lost
	$(BIN)/python -m pytest tests/end_to_end/test_docker.py -v $(PYTEST_ARGS)

clean: ## remove drawn data and caches; the environment stays (rm -rf .venv)
	rm -rf build .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find service training benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments: both targets fill one folder, because pip adds and never removes

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is missing or older than Python 3.11: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) lacks the venv module: on Debian and Ubuntu, apt install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

# Everything comes from the index with a known hash. The package itself is built by the pinned backend,
# because pip would otherwise fetch another one, without a hash. uv takes less than half of pip's time, but
# reads none of pip's settings, such as a mirror; so it is told them, and where it fails, pip installs.
LOCKED = --require-hashes --requirement $(LOCKS)
UV = $(BIN)/uv pip install --quiet --python $(BIN)/python --index-strategy unsafe-best-match
PIP_SETTINGS = eval "$$($(BIN)/pip config list | sort -r | sed -n \
	-e 's/.*[.]index-url=/export UV_DEFAULT_INDEX=/p' -e 's/.*[.]extra-index-url=/export UV_INDEX=/p' \
	-e 's/.*[.]find-links=/export UV_FIND_LINKS=/p' -e 's/.*[.]cert=/export SSL_CERT_FILE=/p')"
define INSTALL
	@$(PIP) $(LOCKED)make.txt
	@$(PIP_SETTINGS); $(UV) $(LOCKED)$(1).txt || $(PIP) $(LOCKED)$(1).txt
	@$(INSTALL_PROJECT)
endef
INSTALL_PROJECT = $(PIP) --no-deps --no-build-isolation --editable .

$(VENV)/.installed-cpu: pyproject.toml $(LOCKS)server-cpu.txt $(LOCKS)make.txt | $(BIN)/python
	@echo "Setting up $(VENV), once: about a minute."
	$(call INSTALL,server-cpu)
	@touch $@

$(VENV)/.installed-all: pyproject.toml $(LOCKS)dev.txt $(LOCKS)make.txt | $(BIN)/python
	@echo "Setting up $(VENV), once: about 5 GB, a few minutes."
	$(call INSTALL,dev)
	$(BIN)/python -c 'import torchvision'
	@touch $@ $(VENV)/.installed-cpu

# The tests of the page need Debian's Chromium, those of MQTT its broker Mosquitto. If they cannot be
# installed, these tests skip and say so, or fail with CI=true; the next run tries again.
PROGRAMS := chromium mosquitto
$(VENV)/.programs: | $(VENV)/.installed-all
	@PATH="$$PATH:/usr/sbin"; \
	{ command -v chromium || command -v chromium-browser; } >/dev/null && \
	command -v mosquitto >/dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "Installing $(PROGRAMS), once: a minute." && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $(PROGRAMS) >/dev/null; } && touch $@ || \
		echo "$(PROGRAMS): one is missing and could not be installed: apt install $(PROGRAMS)" >&2
