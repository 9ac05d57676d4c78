# The README's commands are `make sweep`, `make new` and `make test`. Each first makes the environment .venv.

PYTHON ?= python3
BIN := .venv/bin
PORT ?= 5000
# In a terminal, one bar for each rule that runs and one for all jobs; elsewhere, as in CI, Snakemake's own lines. What jobs
# print goes to logs/<rule>/ only; warnings and errors are shown too. Snakemake's log of everything is in .snakemake/log/.
SNAKEMAKE = PATH="$(CURDIR)/$(BIN):$$PATH" snakemake $$([ -t 2 ] && echo --logger rich) --quiet host --cores

.PHONY: sweep new test ui rooms verify report site lint audit

sweep: .venv/installed
	@$(SNAKEMAKE) all results/tables/seed_sweep.csv results/figures/seed_sweep.png >/dev/null
	@cat results/tables/seed_sweep.md
	@echo
	@echo "Table:    results/tables/seed_sweep.csv (.md, .tex), figure: results/figures/seed_sweep.png"
	@echo "Runs:     results/<data set>/<protocol>/split<k>/v1/d3_ls5e-4_seed<seed>/ (figures/, metrics.json, history.csv)"
	@echo "Page:     make report, then open results/report/seed_sweep.html"
	@echo "Tracking: make ui"

# A recording of your own: make new RECORDING=data/mouse7.mat. It is checked and config/mine.yaml written before anything runs.
new: .venv/installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m odevae.new_recording "$(RECORDING)"
	@$(SNAKEMAKE) all new --config new_recording="$(RECORDING)" >/dev/null
	@cat logs/new.log

test: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -n auto --dist loadgroup --no-loadscope-reorder

# Starts MLflow and opens the newest study in the browser.
ui: .venv/installed
	@$(BIN)/python -m odevae.tracking.ui --port $(PORT)

# Draws the picture of the rooms in docs/architecture.md again.
rooms: .venv/installed
	$(BIN)/python docs/rooms.py

# Computes every score and table again from the files of the runs.
verify: .venv/installed
	@$(SNAKEMAKE) 1 verify >/dev/null
	@cat logs/verify.log

# One web page about a study or a benchmark: make report, or make report STUDY=e65_quick.
STUDY ?= seed_sweep
report: .venv/installed
	@$(SNAKEMAKE) all results/report/$(STUDY).html >/dev/null
	@echo "Open results/report/$(STUDY).html in a browser."

# The documentation as web pages; with --quiet, MkDocs would let warnings pass. The variable silences a note of the theme.
site: .venv/installed
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open site/index.html in a browser. For the search: $(BIN)/python -m http.server --directory site"

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
