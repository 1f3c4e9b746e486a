# make demo    everything embedded, one live room, http://127.0.0.1:8080/
# make test    the whole suite; first what needs no engine, which must reach all of engagement/domain
# make check   format, lint, types, import rules, unit and property tests
# make bench   latency, throughput and fan-out as ratios
# make simulation  300 seeded worlds with everything in memory, and the bugs that they must find
# make faults  250,000 requests, 50,000 of them gifts, while everything is being killed, and a
#              checker; workers that sleep; 100 battles at once; fifty hands in one wallet
# make sync    events on the right frame, measured from the pixels in Chromium; SYNC=glass measures
#              glass to glass
# make faults-full  a million gifts and 500 kills: it takes an hour

SHELL  := /bin/bash
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check
WEB    := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

.PHONY: demo test test-pure test-engines simulation check lint bench sync faults faults-full install dev format clean

demo: $(VENV)/.installed
	@exec $(BIN)/engagement demo

install: $(VENV)/.installed

dev: $(VENV)/.dev

test: test-pure test-engines

test-pure: $(VENV)/.dev
	$(BIN)/coverage run -m pytest -q tests/unit tests/property
	$(BIN)/coverage report

test-engines: $(VENV)/.dev
	@scripts/test-packages
	@$(BIN)/engagement prepare
	$(BIN)/python -m pytest --ignore=tests/unit --ignore=tests/property $(PYTEST)

check: lint test-pure

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(BENCH)

simulation: $(VENV)/.dev
	$(BIN)/python -m tests.simulation --seeds 300 $(SIMULATION)
	$(BIN)/python -m tests.simulation --mutants

sync: $(VENV)/.dev
	@scripts/test-packages
	@$(BIN)/engagement prepare
	$(BIN)/python -m tests.sync $(SYNC)

faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults everything $(FAULTS)
	$(BIN)/python -m tests.faults sleepers $(FAULTS)
	$(BIN)/python -m tests.faults battles $(FAULTS)
	$(BIN)/python -m tests.faults.money.double_spend $(FAULTS)

faults-full: $(VENV)/.dev
	$(BIN)/python -m tests.faults full --results docs/results $(FAULTS)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# A recent pip knows dependency groups (PEP 735). The web page is built by npm, or by the Node
# that PyPI has where there is none.
$(BIN)/pip:
	@scripts/make-venv "$(PYTHON)" "$(VENV)"

$(VENV)/.installed: $(BIN)/pip pyproject.toml constraints.txt hatch_build.py $(WEB)
	@echo "installing (the first time this fetches about 150 MB)"
	@$(PIP) install --quiet --upgrade 'pip>=25.1'
	@set -o pipefail; $(PIP) install -c constraints.txt -e . | sed '/^Requirement already/d'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@set -o pipefail; $(PIP) install -c constraints.txt --group dev | sed '/^Requirement already/d'
	@touch $@

clean:
	rm -rf $(VENV) .data .pytest_cache .mypy_cache .ruff_cache engagement/gateway/static
