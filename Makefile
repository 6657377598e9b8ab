PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo up test check bench chaos format lock clean

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

install: $(STAMP) ## set up .venv with the locked packages (nothing is done when it is up to date)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % v[:2])'
	@echo "Installing the locked packages into .venv: about a minute, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install ## start everything with no account anywhere, run the questions, show answers
	@$(BIN)/ai-provider demo

up: install ## start all processes and keep them running until Ctrl-C
	@$(BIN)/ai-provider up

test: install ## run the test suite, in four processes with a private Redis each
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder

check: install ## lint, format, types, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: install ## measure speed, memory and cost, as ratios to peers in the same run
	@$(BIN)/python -m tests.benchmarks

chaos: install ## kill, freeze and cut what can be, count what is lost or done twice (up to an hour)
	@$(BIN)/python -m tests.chaos

format: install ## format and mend what can be mended by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: install ## renew requirements.lock from pyproject.toml
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --extra dev pyproject.toml -o requirements.lock

clean: ## remove what make install made
	rm -rf .venv build *.egg-info
