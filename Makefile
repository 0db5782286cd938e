# Everything runs in .venv, which is made from pyproject.toml and constraints.txt. Only Python ≥ 3.11 is needed.
PYTHON ?= python3
ARGS ?=
TORCH_INDEX_URL ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
INSTALLED := $(VENV)/.installed
NATIVE := $(VENV)/.native

.PHONY: help native serve test chaos check examples examples-full bench bench-report docker-test sbom clean

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile
	@echo 'ARGS="…" is passed on; PYTHON=… picks the interpreter; TORCH_INDEX_URL=… picks where torch comes from.'

native: $(INSTALLED)  ## build the C++ kernel; needs a C++ compiler
	$(BIN)/python -m attnloss.kernels.build

serve: $(INSTALLED) $(NATIVE)  ## start the service on 127.0.0.1:8000
	$(BIN)/attnloss serve $(ARGS)

test: $(INSTALLED) $(NATIVE)  ## run every test that needs no Docker
	$(BIN)/python -m pytest -m "not docker" $(ARGS)

check: $(INSTALLED)  ## lint, format, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(INSTALLED) $(NATIVE)  ## measure; fails where a bar is missed
	@missed=0; \
	$(BIN)/python -m benchmarks.ops || missed=1; \
	$(BIN)/python -m benchmarks.losses || missed=1; \
	$(BIN)/python -m benchmarks.language || missed=1; \
	$(BIN)/python -m benchmarks.probe || missed=1; \
	$(BIN)/python -m benchmarks.text || missed=1; \
	$(BIN)/python -m benchmarks.lm_eval_http || missed=1; \
	$(BIN)/python -m benchmarks.http $(ARGS) || missed=1; \
	$(BIN)/python -m benchmarks.batching $(ARGS) || missed=1; \
	$(BIN)/python -m benchmarks.scale $(ARGS) || missed=1; \
	exit $$missed

bench-report: $(INSTALLED) $(NATIVE)  ## measure and write benchmarks/README.md and the figures of docs/scale.md
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.scale --into docs/scale.md

examples: $(INSTALLED) $(NATIVE)  ## redraw docs/article.md from its results and run small sizes, minutes
	$(BIN)/python -m examples --draw
	rm -rf build/examples
	$(BIN)/python -m examples $(ARGS)

examples-full: $(INSTALLED) $(NATIVE)  ## make the results of docs/article.md, hours; goes on where it stopped
	$(BIN)/python -m examples --full $(ARGS)

chaos: $(INSTALLED) $(NATIVE)  ## kill, overload and starve real servers; writes the figures of docs/reliability.md
	rm -f $(VENV)/chaos.jsonl
	ATTNLOSS_CHAOS_FIGURES=$(VENV)/chaos.jsonl $(BIN)/python -m pytest tests/chaos $(ARGS)
	$(BIN)/python -m tests.chaos.report $(VENV)/chaos.jsonl --into docs/reliability.md

docker-test: $(INSTALLED)  ## build the image, run it, call it, stop it
	$(BIN)/python -m pytest -m docker -s tests/docker $(ARGS)

sbom:  ## build the image and copy its bill of materials and licences into build/sbom
	docker compose build attnloss
	rm -rf build/sbom && mkdir -p build
	container=$$(docker create $${ATTNLOSS_IMAGE:-attnloss:cpu}) && \
	docker cp $$container:/usr/share/attnloss build/sbom; status=$$?; docker rm $$container >/dev/null; exit $$status

clean:  ## delete .venv, builds and caches
	rm -rf attnloss/kernels/_native.so $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without a compiler all works on torch's own kernels, and answers say which backend ran.
$(NATIVE): $(INSTALLED) $(wildcard attnloss/kernels/*.?pp) attnloss/kernels/build.py
	@$(BIN)/python -m attnloss.kernels.build || echo "going on without the native kernel; make native says more"
	@touch $@

# The stamp is written last: an interrupted install is taken up again by the next make.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "make: $(PYTHON) is not Python 3.11 or newer; say which to use: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@rm -f $@
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing torch and the rest into $(VENV), a few minutes the first time"
	@$(if $(TORCH_INDEX_URL),$(PIP) --no-deps --index-url $(TORCH_INDEX_URL) torch)
	@$(PIP) torch hatchling editables
	@$(PIP) --no-build-isolation -e '.[dev]'
	@touch $@
