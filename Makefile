# aural: `make demo`, `make test`, `make lint`, `make bench`. Each makes .venv and installs by itself.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
# A strict editable install sees a new file only after a reinstall, so it depends on the list of files.
SOURCES := $(sort $(shell find configuration modeling processing training src -name '*.py' -not -path '*/__pycache__/*'; find src/aural/clips src/aural/page -type f; find training -name '*.yaml'; find model_cards -maxdepth 1 -name '*.py' -o -maxdepth 1 -name '*.md'))
LIST := $(VENV)/sources.txt

.PHONY: demo test test-full lint bench install clean
install: $(VENV)/installed

$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	@touch $@

.PHONY: FORCE
$(LIST): FORCE | $(VENV)/torch
	@echo "$(SOURCES)" | cmp -s - $@ || echo "$(SOURCES)" > $@

$(VENV)/installed: $(VENV)/torch $(LIST) pyproject.toml $(wildcard modeling/native/*)
	$(BIN)/python -m pip install --quiet --config-settings editable_mode=strict -e ".[dev]"
	@touch $@

demo: install
	$(BIN)/aural demo --out demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not full and not gpu"

test-full: install
	$(BIN)/python -m pytest -m "full"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p aural

bench: install
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks

# speechbrain asks for a torchaudio that asks for another torch: both come without what they ask for, which is named.
RIVALS := .venv-rivals
.PHONY: bench-rivals
bench-rivals: $(RIVALS)/installed
	OMP_NUM_THREADS=1 $(RIVALS)/bin/python -m tests.benchmarks las

$(RIVALS)/installed: pyproject.toml $(wildcard modeling/native/*)
	$(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/python -m pip install --quiet --upgrade pip
	$(RIVALS)/bin/python -m pip install --quiet "$(TORCH)"
	$(RIVALS)/bin/python -m pip install --quiet -e . "hyperpyyaml>=0.0.1" sentencepiece requests joblib
	$(RIVALS)/bin/python -m pip install --quiet --no-deps "speechbrain==1.1.2" "torchaudio>=2.11"
	@touch $@

clean:
	rm -rf $(VENV) $(RIVALS) build dist src/aural.egg-info modeling/_kernels*.so
