# Every target sets up what it needs: Python 3.11 to 3.14 and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
LOCKED := torch==2.11.0  # what the figures of the pages were measured with

.PHONY: help predict test app test-app test-scale lint docs train evaluate notebook audit dist lock

help:  ## show this list
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

predict: $(READY)  ## name the emotion of the sample clip
	$(BIN)/ser-gpu predict examples/sample.wav

test: $(READY) lint  ## lint, checksums of the weights, and the test suite
	cd weights && sha256sum --check --quiet SHA256SUMS
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

app: $(READY) app/node_modules  ## the page that answers in the browser, on localhost
	$(BIN)/ser-gpu app

test-app: $(READY) app/node_modules  ## the page in a real browser (chromium)
	SER_APP=1 $(BIN)/python -m pytest tests/app -rs -o faulthandler_timeout=3600

test-scale: $(READY)  ## scoring on a local Ray, which is installed for it
	$(BIN)/python $(PIP_INSTALL) -e '.[ray]'
	$(BIN)/python -m pytest tests/scale -rs

app/node_modules: app/package.json app/package-lock.json
	cd app && npm ci --silent
	touch app/node_modules

lint: $(READY)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(READY)  ## the documentation site, to build/docs
	$(BIN)/sphinx-build -W --keep-going -q -b html -c docs -d build/doctrees . build/docs

train: $(READY)  ## train by the default protocol, to runs/
	$(BIN)/ser-gpu train

evaluate: $(READY)  ## score the shipped weights on their test part, to weights/
	$(BIN)/ser-gpu evaluate weights/ser_ravdess.pth

notebook: $(READY)  ## execute the notebook from start to end, to notebooks/
	$(BIN)/python -m notebooks.execute

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v[:2] < (3, 15) else f"Python 3.11 to 3.14 is needed, {v[0]}.{v[1]} found: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) -r requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	touch $(READY)

audit:  ## look up known vulnerabilities of what requirements.lock pins
	$(PYTHON) -m venv build/audit
	build/audit/bin/python $(PIP_INSTALL) pip-audit
	build/audit/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip

dist: app/node_modules  ## build the wheel and the source archive, to dist/, and check their metadata
	$(PYTHON) -m venv build/dist
	build/dist/bin/python $(PIP_INSTALL) build twine
	build/dist/bin/python -m build --outdir dist .
	build/dist/bin/python -m twine check --strict dist/*

lock:  ## pin what pyproject.toml resolves to today
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python $(PIP_INSTALL) $(LOCKED) '.[dev]'
	build/lock/bin/python -m pip freeze --all --exclude pip --exclude ser_gpu | \
	  sed -E '/^(nvidia|cuda|triton)/ s/$$/; sys_platform == "linux"/' > requirements.lock
