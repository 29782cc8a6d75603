# Two targets do everything on a fresh machine: `make demo` and `make test`.
# Each creates what it needs; a second run starts at once.

VENV := .venv
BIN  := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint servers scenarios prove test-failover test-cluster docs generate image-check clean

demo: $(READY)
	$(BIN)/healer demo --once $(DEMO_FLAGS)

test: $(READY) servers lint
	$(BIN)/pytest -n 2 --dist loadfile $(TEST_FLAGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Heavier than `make test`, each with a bounded sample in it.
scenarios: $(READY)
	$(BIN)/healer lab suite $(SUITE_FLAGS)

prove: $(READY)
	$(BIN)/python tools/prove.py $(PROVE_FLAGS)

# Replicas and daemons that are killed at every moment, on PostgreSQL and on SQLite.
test-failover: $(READY) servers
	HEALER_FAILOVER=1 $(BIN)/pytest tests/leader tests/loop/test_killed_anywhere.py $(TEST_FLAGS)

# Against a genuine control plane: KUBECONFIG, or the binaries in KUBEBUILDER_ASSETS.
test-cluster: $(READY) servers
	HEALER_TEST_CLUSTER=1 $(BIN)/pytest tests/contracts -m real_ok $(TEST_FLAGS)

# Everything that is written from something else: schema, permissions, settings page, image lock.
generate: $(READY)
	$(BIN)/python tools/generate.py

# The Dockerfile's steps in a clean folder, where no container engine is at hand.
image-check: $(READY)
	$(BIN)/python tools/try_image.py out/image

docs: $(READY)
	$(BIN)/mkdocs build --strict

servers: $(READY)
	$(BIN)/python tools/servers.py

$(READY): requirements.lock pyproject.toml tools/make_venv.sh
	sh tools/make_venv.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache build *.egg-info
