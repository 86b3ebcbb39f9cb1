# `make` says what there is. Whatever needs an environment first builds one in .venv, once.

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)
# Options of train.py or pytest: make train ARGS="model=show_tell seed=2", make test ARGS="-k beam"
ARGS ?=
WORKERS ?= 2

VENV := .venv/bin
READY := .venv/ready

# The stamp holds the folder it was made in: an environment does not survive being moved or copied.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

.PHONY: help demo photos train test test-all test-lowest lint format bench docs clean
.DEFAULT_GOAL := help

help: ## print this list
	@echo "captionlab: make TARGET"
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' Makefile
	@echo "Each sets up .venv first where it needs one; with a Python of your choice: make demo PYTHON=python3.12"

demo: $(READY) ## train on the built-in pictures (a CPU will do, minutes), then say what to look at
	$(VENV)/python train.py
	@run=$$(ls -td runs/*/*/ | head -n 1); echo; \
	echo "Look at the captions:       open $${run}gallery.html in a browser"; \
	echo "Caption a picture of yours: $(VENV)/captionlab predict $${run}checkpoints/best.ckpt photo.jpg"

photos: $(READY) ## train on captioned photographs of your own: make photos DATA=folder
	@[ -n "$(DATA)" ] || { echo "make photos DATA=folder: which folder holds your photographs and their captions?" >&2; exit 2; }
	$(VENV)/python train.py experiment=photos data.root='$(DATA)' $(ARGS)
	@run=$$(ls -td runs/*/*/ | head -n 1); echo; \
	echo "Look at the captions:       open $${run}gallery.html in a browser"; \
	echo "Caption a picture of yours: $(VENV)/captionlab predict $${run}checkpoints/best.ckpt photo.jpg"

train: $(READY) ## train what you name: make train ARGS="model=show_tell data=shapes seed=2"
	$(VENV)/python train.py $(ARGS)

# One torch thread a worker: more would fight over the cores.
test: $(READY) ## run the tests that take seconds
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

test-all: $(READY) ## run every test: trainings, notebooks and the wheel too
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n $(WORKERS) $(ARGS)

# What pyproject.toml allows and nobody has any more: a bound that is too low breaks only for others.
test-lowest: $(READY) ## run the tests that take seconds with the oldest versions that are allowed
	$(VENV)/python -m venv --clear .venv-lowest
	UV_HTTP_TIMEOUT=300 $(VENV)/python -m uv pip install --python .venv-lowest/bin/python \
	  --resolution lowest-direct -e '.[dev]'
	OMP_NUM_THREADS=1 PATH="$(CURDIR)/.venv-lowest/bin:$$PATH" \
	  .venv-lowest/bin/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

lint: $(READY) ## check style, types and who imports whom; changes nothing
	$(VENV)/python -m ruff check .
	$(VENV)/python -m ruff format --check .
	$(VENV)/python -m mypy
	$(VENV)/lint-imports --no-logo

format: $(READY) ## rewrite the code in the project's style
	$(VENV)/python -m ruff check --fix .
	$(VENV)/python -m ruff format .

bench: $(READY) ## time every family, then every other benchmarks/*.py; families alone: make bench ARGS=--quick
	$(VENV)/python benchmarks/families.py $(ARGS)
	@[ -n "$(ARGS)" ] || { set -e; for file in $(filter-out benchmarks/families.py,$(wildcard benchmarks/*.py)); do \
	  echo "== $$file"; $(VENV)/python "$$file"; done; }

docs: $(READY) ## build the documentation into site/; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/python -m mkdocs build --strict --quiet

clean: ## remove caches and build leftovers; runs/ and .venv stay
	rm -rf .venv-lowest build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage
	find . \( -name .git -o -name .venv -o -name runs \) -prune -o \
	  \( -name __pycache__ -o -name '*.egg-info' -o -name .ipynb_checkpoints \) -exec rm -rf {} +

# uv installs in seconds what takes pip minutes; pip does it where uv is not to be had, as beside an
# index of one's own that stands in pip's configuration only.
$(READY): pyproject.toml
	@python="$(PYTHON)"; [ -n "$$python" ] && $$python -c '$(NEW_ENOUGH)' || { \
	  echo "captionlab needs Python 3.11 or newer$${python:+, and $$python is not one};" \
	    "name yours: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "[1/3] a virtual environment in .venv"
	@if [ -e $(READY) ] && [ "$$(cat $(READY))" != "$(CURDIR)" ]; then rm -rf .venv; fi
	@$(PYTHON) -m venv .venv
	@echo "[2/3] the installer, uv"
	@$(VENV)/python -m pip install -qq uv || true
	@echo "[3/3] captionlab and what it needs; PyTorch alone is some gigabytes"
	@{ [ -x $(VENV)/uv ] && \
	    UV_HTTP_TIMEOUT=120 $(VENV)/python -m uv pip install --python $(VENV)/python -e '.[dev]'; } || { \
	  echo "not with uv: pip does it, which takes some minutes"; \
	  $(VENV)/python -m pip install -e '.[dev]'; }
	@printf '%s' "$(CURDIR)" > $(READY)
