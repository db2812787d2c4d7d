# Every target works inside $(VENV), which the first one that needs it makes (tools/setup_env.py).
VENV ?= .venv
JOBS ?= 2
PORT ?= 8000

# What `make grade` takes; see coursework/README.md.
SUBMISSIONS ?=
ASSIGNMENT ?=
ROSTER ?=
DEADLINES ?=
REGRADE ?=
MINUTES ?=

PY := $(VENV)/bin/python
ENV := $(VENV)/.installed

# One thread and a fixed hash seed: sums, and so the stored outputs of the notebooks, repeat digit for digit.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0

# test and book share one execution cache, so make -j may not run them side by side.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help book test serve lab check course grade formgrader lint ledger refresh bench lock check-env clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

book: $(ENV)  ## build the site into _build/html; chapters that have not run yet are executed
	$(PY) tools/build_book.py

test: $(ENV)  ## lint, test the mathematics, execute every chapter and compare it with its stored outputs
	$(PY) -m ruff check
	$(PY) -m pytest -n $(JOBS)

serve: $(ENV)  ## serve the built site on this machine, on PORT (8000)
	@test -f _build/html/index.html || { echo 'make: there is no site yet; run make book first' >&2; exit 1; }
	$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

lab: $(ENV)  ## open the chapters in JupyterLab
	$(PY) -m jupyter lab chapters

check: $(ENV)  ## check the built site: links, alt texts, third parties, every page in a browser
	$(PY) tools/check_site.py
	$(PY) -m pytest tests/test_site.py tests/test_coursework_leaks.py -m site -n $(JOBS) --dist load

course: $(ENV)  ## make the student versions of the coursework from the masters
	$(PY) -m coursework.grader release

grade: $(ENV)  ## grade the folder or zip SUBMISSIONS (of ASSIGNMENT) in a sandbox, write grades.csv and feedback
	@test -n '$(SUBMISSIONS)' || { echo 'make: name the folder or zip: make grade SUBMISSIONS=folder ASSIGNMENT=hw1' >&2; exit 1; }
	$(PY) -m coursework.grader grade '$(SUBMISSIONS)' --jobs $(JOBS) $(and $(ASSIGNMENT),--assignment '$(ASSIGNMENT)') \
	    $(and $(ROSTER),--roster '$(ROSTER)') $(and $(DEADLINES),--deadlines '$(DEADLINES)') $(and $(REGRADE),--regrade) \
	    $(and $(MINUTES),--minutes '$(MINUTES)')

formgrader: $(ENV)  ## open JupyterLab with nbgrader's formgrader, to grade proofs by hand
	cd coursework && $(abspath $(PY)) -m jupyter lab

lint: $(ENV)  ## check the style of the code
	$(PY) -m ruff check

ledger: $(ENV)  ## check every labelled statement, print the table, record the wordings checked
	$(PY) -m ledger
	$(PY) tools/fingerprints.py --write

refresh: $(ENV)  ## execute the chapters again and store their outputs
	$(PY) tools/refresh.py chapters/*.ipynb

bench: $(ENV)  ## time the closed forms against one SVD, and the splines
	$(PY) benchmarks/closed_forms.py

lock: $(ENV)  ## resolve requirements.lock afresh from pyproject.toml
	$(PY) tools/make_lock.py

check-env: $(ENV)  ## prove environment.yml in a fresh virtual environment
	$(PY) tools/check_env.py

clean:  ## remove what was built
	rm -rf _build

distclean: clean  ## remove the virtual environment as well
	rm -rf $(VENV) dualkit.egg-info

# The first Python that is new enough; PYTHON=... names another.
$(ENV): pyproject.toml requirements.lock tools/setup_env.py
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        $$python tools/setup_env.py $(VENV) && touch $@; exit; \
	    fi; \
	done; \
	echo 'make: Python 3.11 or newer is needed and none was found; install it, or name it: make PYTHON=/its/path ...' >&2; \
	exit 1
