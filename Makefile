# The tasks of contributors and CI. They need Python 3.11 or newer, make, and a package index that pip can reach.

PYTHON ?= python3
VENV   ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.DEFAULT_GOAL := help
.NOTPARALLEL:  # only one pip may run in an environment
.PHONY: help demo test test-all labs bench lint docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed  ## train a network on handwritten digits, and write its report (without PyTorch)
	@$(BIN)/chainrule train digits --hidden 256,128 --dropout 0.3 --label-smoothing 0.05 \
		--schedule cosine --epochs 100 --validation-size 0.1 --seed 0 --out runs/demo --force
	@echo "The report is runs/demo/report.html"

# Tests and benchmarks use one BLAS thread: several threads are slow on a busy machine, and equal bits need the same
# number of threads.
test test-all labs bench: export OMP_NUM_THREADS := 1
test test-all labs bench: export OPENBLAS_NUM_THREADS := 1
test test-all labs bench: export MKL_NUM_THREADS := 1
test test-all labs bench: export BLIS_NUM_THREADS := 1
test test-all labs bench: export VECLIB_MAXIMUM_THREADS := 1
test test-all labs bench: export NUMBA_NUM_THREADS := 1
# The many processes that the tests start share compiled Python files, which the environment may have switched off.
test test-all labs: export PYTHONDONTWRITEBYTECODE :=

test: lint  ## lint, then every test that is not slow
	@echo "Running the tests (without the slow ones) ..."
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-all: lint  ## lint, then every test, with the slow ones
	@echo "Running all tests ..."
	@$(BIN)/python -m pytest -n $(WORKERS)

# In a separate environment, which contains the other programs. Each workload runs with one thread, and then with the
# default threads of each program (the scripts set the threads of the measured processes).
BENCH_VENV ?= .venv-bench
BENCH_WORK := mnist_step table_step tiny_step imdb_epoch wide_step predict mnist_script import_time
bench: $(BENCH_VENV)/.installed  ## compare the speed with other programs, and the optimizers; needs an idle machine
	@for threads in 1 default; do for work in $(BENCH_WORK); do \
		$(BENCH_VENV)/bin/python benchmarks/$$work.py --threads $$threads || exit 1; done; done
	@$(BENCH_VENV)/bin/python benchmarks/busy_machine.py
	@$(BENCH_VENV)/bin/python benchmarks/two_processes.py
	@$(BENCH_VENV)/bin/python benchmarks/gpu.py
	@$(BENCH_VENV)/bin/python benchmarks/scale.py
	@$(BENCH_VENV)/bin/python benchmarks/stream.py
	@$(BENCH_VENV)/bin/python benchmarks/serve.py
	@$(BENCH_VENV)/bin/python benchmarks/export_latency.py
	@$(BENCH_VENV)/bin/python benchmarks/optimizers.py
	@$(BENCH_VENV)/bin/python benchmarks/levenberg_marquardt_damping.py
	@$(BENCH_VENV)/bin/python benchmarks/report.py

$(BENCH_VENV)/.installed: benchmarks/requirements.txt pyproject.toml constraints.txt
	@echo "Installing chainrule and the programs of the comparison (some minutes) ..."
	@$(PYTHON) -m venv $(BENCH_VENV) && echo '*' > $(BENCH_VENV)/.gitignore
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check -q install \
		-c constraints.txt -r benchmarks/requirements.txt -e .
	@touch $@

lint: $(VENV)/.installed-dev  ## style, formatting and types
	@echo "Checking style, formatting and types ..."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## build the documentation: docs/_build/html/index.html
	@$(BIN)/sphinx-build -W -q -b html docs docs/_build/html
	@echo "The documentation is docs/_build/html/index.html"

labs: $(VENV)/.installed-labs  ## run all labs in full (hours), and write their pages; NAMES="05_mnist" runs one
	@$(BIN)/python labs/render.py $(NAMES)
	@echo "The notebooks and HTML pages are in build/labs, and the pages of the documentation in docs/labs"

clean:  ## remove the environments, the caches and the build outputs, but not runs/
	rm -rf $(VENV) $(BENCH_VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. Each stamp file is written when its step has succeeded, so that a failed download is repeated.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "chainrule needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing chainrule (about a minute) ..."
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing chainrule with its test tools, PyTorch among them (a few minutes) ..."
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing chainrule with what the documentation is built with (about a minute) ..."
	@$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-labs: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing chainrule with PyTorch, ONNX and what the labs are rendered with (a few minutes) ..."
	@$(PIP) install -c constraints.txt -e '.[labs,torch,onnx]'
	@touch $(VENV)/.installed $@
