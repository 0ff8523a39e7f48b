# Two commands do everything: `make train` and `make test`. Each sets up .venv by itself (python3 3.11 or
# newer and make are all that is assumed) and is quick the second time.
PYTHON ?= python3
JOBS   ?= 2
TESTERS ?= 3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q

# Where this is set (images of containers do), each of the hundred processes of the suite would compile anew all that it
# imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: train test fuzz recipes lint docs clean

train: $(VENV)/.train
	@$(BIN)/micrornn train $(ARGS)

# Three processes on two cores: each waits now and then for a process that it has started.
test: $(VENV)/.test
	@$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# 10,000 inputs that nobody meant, 1,000 kills and signals at random moments, an interrupt at each line, and all that is
# compiled for a card and for the older one: a few minutes.
fuzz: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m fuzz 10000 $(JOBS)
	@cd tests && ../$(BIN)/python -m fuzz.kills 1000
	@MICRORNN_TEST_CARDS=1 MICRORNN_TEST_KILLS=5 $(BIN)/python -m pytest -q tests/test_cuda_ptx.py tests/test_resume.py

# Every recipe against its band, into docs/recipes.md: some half an hour. ARGS="NAME ..." for some of them.
recipes: $(VENV)/.test
	@$(BIN)/python tests/long_recipes.py $(ARGS)

lint: $(VENV)/.test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# The command reference and the README's tables are generated; a test compares them with what is committed.
docs: $(VENV)/.train
	@$(BIN)/python docs/generate.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "micrornn needs Python 3.11 or newer; this is `$(PYTHON) --version`. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv failed (on Debian: apt-get install python3-venv)"; exit 1; }

$(VENV)/.train: pyproject.toml | $(BIN)/python
	@echo "installing micrornn and its four dependencies (once)"
	@$(PIP) install -e . && touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.train
	@echo "installing the test tools (once)"
	@$(PIP) install -e '.[test]' && touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
