# PYTHON makes the virtual environment; everything else runs in it.
PYTHON ?= python3
BIN := .venv/bin

# Strict mode, because mypy follows links and not import hooks. It links file by file, so the folders are listed:
# a file that came or went makes their time newer, and the next target links anew.
FOLDERS := $(filter-out %__pycache__,$(patsubst %/,%,$(wildcard gtsearch gtsearch/*/ analysis analysis/*/ search_spaces search_spaces/*/)))
GROUND := pyproject.toml constraints.txt $(FOLDERS)
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --config-settings editable_mode=strict

.PHONY: run test check reference slow generated faults bench docs clean

run: .venv/installed
	$(BIN)/gtsearch run search_spaces/modadd.yaml

# A file is one process's: its fixtures are made once, and its processes of Ray meet no others of the same file.
test: check
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tools/audit.py

# What docstrings, defaults and menus go into: the schema for editors, the tables of docs/experiment-file.md.
reference: .venv/installed
	$(BIN)/gtsearch schema --out search_spaces/schema.json
	$(BIN)/python tools/reference.py

slow: .venv/installed-dev
	$(BIN)/pytest -m slow --timeout 1800

# 10,000 experiment files that nobody wrote, 100 of them through Ray; `make slow` has a part of it.
generated: .venv/installed-dev
	GTSEARCH_ALL_GENERATED=1 $(BIN)/pytest -m slow --numprocesses 2 --timeout 3600 tests/test_generated.py

# Runs broken on purpose, within the hour; the table goes into the page.
faults: .venv/installed
	$(BIN)/python -m faults; code=$$?; $(BIN)/python -m faults --page docs/reliability.md; exit $$code

# The benchmarks that end in some minutes, then one table of all that is kept; it names those that take longer.
bench: .venv/installed
	$(BIN)/python -m benchmarks.table --run

# The pages of docs/ as a site that opens from the disk; a broken link fails. Building it asks no network.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo site/index.html

clean:
	rm -rf .venv build dist site gtsearch.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/installed: $(GROUND) | $(BIN)/python
	$(INSTALL) --editable .
	touch $@

.venv/installed-docs: $(GROUND) | $(BIN)/python
	$(INSTALL) --editable '.[docs]'
	touch $@ .venv/installed

.venv/installed-dev: $(GROUND) | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	touch $@ .venv/installed .venv/installed-docs
