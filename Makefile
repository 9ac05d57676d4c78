# The README's two commands are `make sweep` and `make test`. Each first makes the environment .venv.

PYTHON ?= python3
BIN := .venv/bin
PORT ?= 5000

.PHONY: sweep test ui rooms verify report lint audit

sweep: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores all results/tables/seed_sweep.csv results/figures/seed_sweep.png
	@cat results/tables/seed_sweep.md
	@echo
	@echo "Table:    results/tables/seed_sweep.csv (.md, .tex), figure: results/figures/seed_sweep.png"
	@echo "Runs:     results/<data set>/<protocol>/split<k>/v1/d3_ls5e-4_seed<seed>/ (figures/, metrics.json, history.csv)"
	@echo "Page:     make report, then open results/report/seed_sweep.html"
	@echo "Tracking: make ui"

test: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -n auto --dist loadgroup

# Starts MLflow and opens the newest study in the browser.
ui: .venv/installed
	@$(BIN)/python -m odevae.tracking.ui --port $(PORT)

# Draws the picture of the rooms in docs/architecture.md again.
rooms: .venv/installed
	$(BIN)/python docs/rooms.py

# Computes every score and table again from the files of the runs.
verify: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores 1 verify

# One web page about a study or a benchmark: make report, or make report STUDY=e65_quick.
STUDY ?= seed_sweep
report: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores all results/report/$(STUDY).html
	@echo "Open results/report/$(STUDY).html in a browser."

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/lint-imports --no-cache
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

# Known vulnerabilities of the pinned versions; needs the network. Its tool has a separate environment, so that the tested
# one does not change.
audit: .venv/audit/installed
	.venv/audit/bin/pip-audit --strict --requirement envs/constraints.txt --no-deps --disable-pip

.venv/audit/installed:
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet 'pip-audit>=2.9,<3'
	touch $@

.venv/installed: pyproject.toml envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "odevae needs Python 3.11 or newer; choose one, for example: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[test]'
	touch $@
