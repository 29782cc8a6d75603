# Two targets do everything on a fresh machine: `make demo` and `make test`.
# Each creates what it needs; a second run starts at once.

VENV := .venv
BIN  := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint servers clean

demo: $(READY)
	$(BIN)/healer demo --once $(DEMO_FLAGS)

test: $(READY) servers lint
	$(BIN)/pytest -n 2 --dist loadfile $(TEST_FLAGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

servers: $(READY)
	$(BIN)/python tools/servers.py

$(READY): requirements.lock pyproject.toml tools/make_venv.sh
	sh tools/make_venv.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache build *.egg-info
