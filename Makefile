# Thin: each target is one or two commands. Needs Python 3.11 to 3.13 and a package index, nothing else.
# docs/install.md has the plain commands for Windows, and the longest folder that it takes.

PYTHON ?= python3
BIN := .venv/bin
COURSE := .venv/.installed-course
DEV := .venv/.installed-dev
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --no-header --quiet

# $(call stage,NAME,COMMAND): run a stage of the tests, and say how many seconds it took.
stage = @begun=$$(date +%s); echo "== $(1)"; $(2) || exit 1; echo "== $(1): $$(( $$(date +%s) - begun )) s"

.PHONY: help course check test test-long test-oldest lint bench notebooks tables site audit lock lock-check clean

help:
	@echo "make course      install into .venv, and execute all notebooks on the built-in sample"
	@echo "make check       the quick half: lint, the docstrings' examples, and the tests that train nothing"
	@echo "make test        everything that must hold: ruff, nbval, the course by papermill, the tests"
	@echo "make test-long   tests that take longer"
	@echo "make test-oldest the tests of make check, with the lowest versions that pyproject.toml allows"
	@echo "make lint        ruff; the floors of the package; docstrings; types"
	@echo "make bench       speed and memory against the plain way, into benchmarks/results.md"
	@echo "make notebooks   build and execute the notebooks from notebooks/source/*.py"
	@echo "make tables      write the tables of results/ and README from the runs in results/"
	@echo "make site        make all pages and notebooks one site to read, in build/site; needs no network"
	@echo "make audit       ask for known weaknesses of the pinned packages; needs the network"
	@echo "make lock        renew requirements.txt and requirements-dev.txt"
	@echo "make lock-check  see whether the lock installs on Linux, Windows and macOS"
	@echo "make clean       remove what was built; data/ and .venv stay"

course: $(COURSE)
	@$(BIN)/cxr run

test: $(DEV)
	@rm -rf build/test
	$(call stage,lint and papermill,$(MAKE) lint & lint=$$!; CXR_HOME=$(CURDIR)/build/test/course $(BIN)/cxr run --fresh && wait $$lint)
	@cp -r build/test/course build/test/nbval  # nbval trains one seed of each kind anew: tests/test_notebooks.py compares
	@cd build/test/nbval/runs/sample && rm -r plain_224-s0 trials/*-s0 mistakes/honest-s0
	$(call stage,nbval,CXR_HOME=$(CURDIR)/build/test/nbval $(BIN)/pytest -q -n 2 --dist loadfile --nbval-lax --nbval-current-env \
		--nbval-sanitize-with notebooks/source/nbval_sanitize.cfg notebooks)
	$(call stage,pytest,CXR_TEST_SAMPLE=$(CURDIR)/build/test/course/data/sample \
		$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10)

test-long: $(DEV)
	@rm -rf build/effects
	$(call stage,pytest,$(BIN)/pytest tests -m long --durations=10)

# The lowest versions that pyproject.toml allows, of what it names itself, in an environment of their own.
test-oldest: $(DEV)
	@rm -rf build/oldest && $(BIN)/uv venv --quiet --python 3.11 build/oldest
	@$(BIN)/uv pip install --quiet --python build/oldest --resolution lowest-direct -e '.[dev]'
	@build/oldest/bin/python -c "from cxr_utils import models; [models.load(f'results/models/reference.{form}') for form in ('keras', 'onnx')]"
	$(call stage,oldest,build/oldest/bin/pytest -q -m "not long and not slow" --durations=10)

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/numpydoc lint --ignore EX01 $$(find cxr_utils -name '*.py')
	@$(BIN)/numpydoc lint $$(find cxr_utils -name '*.py' -not -path '*/sources/[a-z]*')  # an example, too
	@$(BIN)/mypy

check: lint
	$(call stage,pytest,$(BIN)/pytest -q -n 2 --dist loadfile -m "not long and not slow" --durations=10)

bench: $(DEV)
	@$(BIN)/python benchmarks/run.py $(PARTS)

notebooks: $(DEV)
	@$(BIN)/python notebooks/source/build.py

tables: $(DEV)
	@$(BIN)/python workflow/tables.py

site: $(DEV)
	@$(BIN)/sphinx-build -qW --keep-going -j 2 -c site -d build/doctrees . build/site
	@echo "open build/site/index.html"

audit: $(DEV)
	@for lock in requirements.txt requirements-dev.txt; do \
		$(BIN)/uv tool run pip-audit@2.10.1 --strict --require-hashes --disable-pip --progress-spinner off -r $$lock || exit 1; done

lock: $(DEV)
	@mkdir -p build && printf "packaging<26\npillow<13\n" > build/bounds.txt  # Snakemake's and Gradio's, so that both locks hold the same versions
	@$(LOCK) -c build/bounds.txt -o requirements.txt
	@$(LOCK) --extra dev -c requirements.txt -o requirements-dev.txt

# connection-pool, of Snakemake, is pure Python and comes as source alone.
lock-check: $(DEV)
	@for python in 3.11 3.12 3.13; do for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 windows macos; do \
		for lock in requirements.txt requirements-dev.txt; do \
			MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip install --dry-run --quiet --require-hashes --only-binary :all: --no-binary connection-pool \
				--python-version $$python --python-platform $$platform --target build/lock-check -r $$lock \
				|| { echo "$$lock does not install: Python $$python, $$platform"; exit 1; }; \
		done; echo "installs: Python $$python, $$platform"; done; done

clean:
	rm -rf build runs .pytest_cache .ruff_cache .hypothesis

$(COURSE): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Python 3.11 to 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "installing into .venv: a few minutes, once"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(DEV): $(COURSE) requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
