# Thin: each target is one or two commands. Needs Python 3.11 to 3.13 and a package index, nothing else.
# docs/install.md has the plain commands where there is no make, as on Windows, and the longest folder that it takes.

PYTHON ?= python3
BIN := .venv/bin
DEV := install-dev
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --no-header --quiet

# $(call stage,NAME,COMMAND): run a stage of the tests, and say how many seconds it took.
stage = @begun=$$(date +%s); echo "== $(1)"; $(2) || exit 1; echo "== $(1): $$(( $$(date +%s) - begun )) s"

.PHONY: help course lab check test test-long test-oldest test-colab lint $(DEV) bench notebooks teaching tables site links release audit lock lock-check clean

help:
	@echo "make course      install into .venv, and execute all notebooks on the built-in sample"
	@echo "make lab         your own copies of the notebooks, in JupyterLab"
	@echo "make check       the quick half: lint, the docstrings' examples, and the tests that train nothing"
	@echo "make test        everything that must hold: ruff, nbval, the course by papermill, the tests"
	@echo "make test-long   tests that take longer"
	@echo "make test-oldest the tests of make check, with the lowest versions that pyproject.toml allows"
	@echo "make test-colab  notebooks 00 to 04 and the tests of make check, with the versions that Google Colab has"
	@echo "make lint        ruff; the floors of the package; docstrings; types"
	@echo "make bench       speed and memory against the plain way, into benchmarks/results.md"
	@echo "make notebooks   build and execute the notebooks from notebooks/source/*.py"
	@echo "make teaching    build the teacher's pages and the deck from teaching/source and the notebooks"
	@echo "make tables      write the tables of results/ and README from the runs in results/"
	@echo "make site        make all pages and notebooks one site to read, in build/site; needs no network"
	@echo "make links       ask for each address in the pages whether it still leads somewhere; needs the network"
	@echo "make release     build and try the wheel, and pack the archive for Zenodo, into build/release; needs the network"
	@echo "make audit       ask for known weaknesses of the pinned packages; needs the network"
	@echo "make lock        renew requirements.txt and requirements-dev.txt"
	@echo "make lock-check  see whether the lock installs on Linux, Windows and macOS"
	@echo "make clean       remove what was built; data/ and .venv stay"

.PHONY: $(DEV)

# start.py installs, and does these five without make, too.
course lab test check lint:
	@$(PYTHON) start.py $@

$(DEV):
	@$(PYTHON) start.py install --dev

test-long: $(DEV)
	@rm -rf build/effects
	$(call stage,pytest,$(BIN)/pytest tests -m long --durations=10)

# The lowest versions that pyproject.toml allows, of what it names itself, in an environment of their own.
test-oldest: $(DEV)
	@rm -rf build/oldest && $(BIN)/uv venv --quiet --python 3.11 build/oldest
	@$(BIN)/uv pip install --quiet --python build/oldest --resolution lowest-direct -e '.[dev]'
	@build/oldest/bin/python -c "from cxr_utils import models; [models.load(f'results/models/reference.{form}') for form in ('keras', 'onnx')]"
	$(call stage,oldest,build/oldest/bin/pytest -q -m "not long and not slow" --durations=10)

# The versions of Colab's image, in an environment of their own, and without cxr_utils: the notebooks' set-up cell finds it.
# Python 3.13 as there; where this machine has none, 3.11 serves, and is named.
test-colab: $(DEV)
	@rm -rf build/colab
	@UV_PYTHON_DOWNLOADS=never $(BIN)/uv venv --quiet --python 3.13 build/colab/env 2> /dev/null || $(BIN)/uv venv --quiet --python 3.11 build/colab/env
	@$(BIN)/uv pip install --quiet --python build/colab/env -r .ci/colab.txt && build/colab/env/bin/python --version
	$(call stage,notebooks,CXR_HOME=$(CURDIR)/build/colab/home build/colab/env/bin/python -m nbconvert --execute --to notebook \
		--log-level WARN --ExecutePreprocessor.startup_timeout=300 --output-dir build/colab/notebooks notebooks/0[0-4]_*.ipynb)
	$(call stage,light tests,PYTHONPATH=$(CURDIR):$(CURDIR)/tests build/colab/env/bin/python -m pytest -q -p without \
		-m "not long and not slow" --deselect tests/test_environment.py::test_each_import_is_declared)  # it looks up all packages of the project

bench: $(DEV)
	@$(BIN)/python benchmarks/run.py $(PARTS)

notebooks: $(DEV)
	@$(BIN)/python notebooks/source/build.py

teaching: $(DEV)
	@$(BIN)/python teaching/build.py

tables: $(DEV)
	@$(BIN)/python workflow/tables.py

site: $(DEV)
	@$(BIN)/sphinx-build -qW --keep-going -j 2 -c site -d build/doctrees . build/site
	@echo "open build/site/index.html"

links: $(DEV)
	@$(BIN)/sphinx-build -q --keep-going -j 2 -b linkcheck -c site -d build/doctrees . build/links

release: $(DEV)
	@$(BIN)/python workflow/release.py

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
