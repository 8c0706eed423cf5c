# The only entry points; `make help` lists them. Each creates the virtual environment by itself when it is not there yet.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: demo serve test check format protos clean help

demo: $(VENV)/installed  ## import a real shop, train, evaluate, serve, and ask for recommendations
	$(BIN)/endcap demo

serve: $(VENV)/installed  ## serve what the demo left, or makes first, on 127.0.0.1:50051
	$(BIN)/endcap demo --keep-serving

test: $(VENV)/installed  ## run the test suite
	$(BIN)/pytest -q

check: $(VENV)/installed  ## everything that reads the code instead of running it
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/baseline.binpb
	$(BIN)/python protos/generate.py --check
	$(BIN)/hadolint docker/*.Dockerfile

format: $(VENV)/installed  ## bring the code to the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: $(VENV)/installed  ## generate the Python code of the contract
	$(BIN)/python protos/generate.py

clean:  ## remove the virtual environment, the demo's data and what was built
	rm -rf $(VENV) data build dist

help:  ## what each target does
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand --tabs=10

$(VENV)/installed: pyproject.toml tests/example_plugin/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[server,train,dev]' --editable tests/example_plugin
	touch $@
