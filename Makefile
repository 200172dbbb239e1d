# Every target sets up what it needs: Python 3.11 or 3.12 and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: predict test lint train evaluate notebook audit lock

predict: $(READY)  ## name the emotion of the sample clip
	$(BIN)/python predict.py examples/sample.wav

test: $(READY) lint  ## lint, checksums of the weights, and the test suite
	cd weights && sha256sum --check --quiet SHA256SUMS
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

train: $(READY)  ## the recipe by the default protocol, to runs/
	$(BIN)/python -m ser_gpu.train

evaluate: $(READY)  ## the figures of the model card, to weights/
	$(BIN)/python -m ser_gpu.evaluate weights/ser_ravdess.pth

notebook: $(READY)  ## the notebook again from start to end, to notebooks/
	$(BIN)/python -m notebooks.execute

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) else f"Python 3.11 or 3.12 is needed, {v} found: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(READY)

audit:  ## known vulnerabilities of what requirements.lock pins
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet pip-audit
	build/audit/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip

lock:  ## pin what pyproject.toml resolves to today
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet '.[dev]'
	build/lock/bin/python -m pip freeze --exclude ser_gpu | \
	  sed -E '/^(nvidia|cuda|triton)/ s/$$/; sys_platform == "linux"/' > requirements.lock
