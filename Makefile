# Everything a developer or CI does, in one place. Each target works right after the clone.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PACKAGES := libs/protocol libs/publisher libs/client libs/cli libs/parity services/edge

.PHONY: setup check test test-contract run bench bench-full faults fmt clean system

setup: $(READY)

$(READY): constraints.txt Makefile $(PACKAGES:%=%/pyproject.toml) services/edge/hatch_build.py services/edge/fanwire_edge/sockets.c
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt hatchling editables
	$(BIN)/python -m pip install -q --no-build-isolation -c constraints.txt \
		-e libs/protocol -e libs/publisher -e libs/client -e libs/parity \
		-e "libs/cli[embedded]" -e "services/edge[fast]" \
		coverage hypothesis jsonschema mypy psutil pytest pytest-aiohttp pytest-timeout pytest-xdist \
		ruff websockets
	touch $(READY)

# redis-server and a C compiler, which the tests and the benchmark run for real.
system:
	@sh .ci/system-packages

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy libs services tests
	$(BIN)/pytest -q tests/test_architecture.py

test: system setup check
	$(BIN)/pytest -q -n 2 --dist loadfile
	$(BIN)/python -m tests.coverage_by_twin

# A REST API and an edge that asks it, compared by the plugin that teams use for theirs.
test-contract: system setup
	$(BIN)/pytest -q tests/parity

run: setup
	$(BIN)/fanwire dev

bench: system setup
	$(BIN)/python -m tests.bench.peers
	$(BIN)/python -m tests.bench

# Every scenario with every system that can be installed.
bench-full: system setup
	$(BIN)/python -m tests.bench.peers
	$(BIN)/python -m tests.bench --full

# The long forms of the fault tests, of fuzzing and of tenant isolation; more than half an hour, on a quiet machine.
faults: system setup
	FANWIRE_TEST_LONG=1 $(BIN)/pytest -q -s tests/faults tests/edge/test_fuzz_inbound.py \
		tests/protocol/test_fuzz_parsers.py tests/security/test_isolation.py tests/security/test_logs.py

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
