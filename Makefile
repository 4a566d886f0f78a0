# Every command of the project; CI calls these and nothing else. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(abspath $(VENV))/bin
DEMO := .venv-demo
# The newest Python that runs and is new enough; `make PYTHON=…` chooses another.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
RUST := $(shell find src -name '*.rs') Cargo.toml Cargo.lock build.rs pyproject.toml
# maturin and the build script take the environment's own Python; cargo finds maturin's zig on the path.
BUILD := env -u CONDA_PREFIX VIRTUAL_ENV=$(abspath $(VENV)) PYO3_PYTHON=$(BIN)/python PATH=$(BIN):$$PATH
# Not target/wheels: `pip install .` leaves its own wheel there.
WHEELS := target/portable
# Another Python than the environment's was asked for, or the environment's is gone.
VERSION := import sys; print(sys.base_prefix, sys.version)
OTHER_PYTHON = $(if $(filter command environment,$(firstword $(origin PYTHON))),$(shell \
	test "$$($(PYTHON) -c '$(VERSION)' 2>&1)" = "$$($(BIN)/python -c '$(VERSION)' 2>&1)" || echo FORCE))
# A module that `develop` did not put there, or none at all.
STRANGE_MODULE := $(shell find python/glowplug -maxdepth 1 -name '*.so' -newer $(VENV)/.developed 2>/dev/null; \
	test -n "$$(find python/glowplug -maxdepth 1 -name '*.so')" || echo none)
# A build that these lead to would win over the environment's.
unexport PYTHONPATH PYTHONHOME

.PHONY: FORCE
FORCE:

.PHONY: help
help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.tools: pyproject.toml $(OTHER_PYTHON)
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; install one, or name it: make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(if $(OTHER_PYTHON),--clear) $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# A module left by another build, under another name, would win over the new one.
$(VENV)/.developed: $(VENV)/.tools $(RUST) $(if $(STRANGE_MODULE),FORCE)
	rm -f python/glowplug/*.so
	$(BUILD) maturin develop --release --quiet
	@touch $@

$(DEMO)/.installed: $(RUST) $(shell find python -name '*.py') README.md
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; install one, or name it: make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall .
	@touch $@

.PHONY: demo
demo: $(DEMO)/.installed  ## install into a fresh environment and score real loan applicants
	cd examples/fraud && ../../$(DEMO)/bin/python demo.py

.PHONY: develop
develop: $(VENV)/.developed  ## set up .venv with the package built from this tree

.PHONY: test
test: test-rust test-python  ## run every test

# With AddressSanitizer where the compiler has it, so that a kernel's read or write beyond its memory ends the run.
.PHONY: test-rust
test-rust:
	@if $(HAS_SANITIZER); then $(MAKE) --no-print-directory memcheck; else cargo test --quiet; fi

# AddressSanitizer knows all instructions, which Valgrind does not. The option is unstable, hence the bootstrap; the target is
# named so that build scripts do without. What lives as long as the process is no leak here.
SANITIZER := env RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# The compiler has it if a read within memory ends well, and one beyond does not.
READ := fn main() { let v = vec![1_u8; 3]; unsafe { v.as_ptr().add(std::env::args().count()).read_volatile(); } }
BEYOND := target/memcheck/beyond
HAS_SANITIZER = mkdir -p $(dir $(BEYOND)) && \
	echo '$(READ)' | RUSTC_BOOTSTRAP=1 rustc -Zsanitizer=address -o $(BEYOND) - 2>$(BEYOND).log && \
	$(SANITIZER) $(BEYOND) && ! $(SANITIZER) $(BEYOND) 2 3 2>>$(BEYOND).log
.PHONY: memcheck
memcheck:  ## run the Rust tests, kernels and readers, with AddressSanitizer
	@$(HAS_SANITIZER) || { echo "this compiler has no AddressSanitizer; take one from rustup on Linux, or run: cargo test"; exit 1; }
	$(SANITIZER) CARGO_TARGET_DIR=target/memcheck CARGO_PROFILE_DEV_DEBUG=line-tables-only \
		cargo test --quiet --lib --target $(HOST)

.PHONY: test-python
test-python: develop wheel
	GLOWPLUG_WHEEL="$$(ls $(WHEELS)/*.whl)" $(BIN)/python -m pytest

# `make fuzz TARGET=trees SECONDS=600` fuzzes another reader, and for longer.
TARGET := graphs
SECONDS := 300
.PHONY: fuzz
fuzz: develop  ## read mutations of the tests' models, to find one that ends in a panic or in another answer
	$(BIN)/python fuzz/seeds.py $(TARGET)
	RUSTC_BOOTSTRAP=1 cargo fuzz run $(TARGET) -- -max_total_time=$(SECONDS) -rss_limit_mb=2048 -timeout=20

# `make long EXAMPLES=3000` takes ten times as many, `make long FIRST=5000` others.
EXAMPLES := 300
FIRST := 0
.PHONY: long
long: develop  ## compare 300 random models of each kind with the libraries that made them
	GLOWPLUG_TEST_EXAMPLES=$(EXAMPLES) GLOWPLUG_TEST_FIRST_SEED=$(FIRST) \
		$(BIN)/python -m pytest $$(grep -lE 'GLOWPLUG_TEST_EXAMPLES|import seeds' tests/test_*.py)

.PHONY: check
check: lint types docs test  ## format, lint, types, docs and tests: what CI runs

.PHONY: format
format: $(VENV)/.tools  ## format Rust and Python
	cargo fmt
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --quiet .

.PHONY: lint
lint: $(VENV)/.tools  ## check format and lint Rust and Python
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	$(BUILD) cargo clippy --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

.PHONY: types
types: develop  ## check the types of the package, and its stub against the module
	$(BIN)/mypy
	cd python && $(BIN)/python -m mypy.stubtest glowplug._core --allowlist ../tests/stubtest-allowed.txt

.PHONY: docs
docs: $(VENV)/.tools  ## build the documentation into target/site
	$(BIN)/mkdocs build --strict --quiet
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps

.PHONY: wheel
wheel: $(WHEELS)/.built  ## build the portable wheel into target/portable

# The version after the name of the platform is the oldest glibc the wheel runs on; Amazon Linux 2023 has 2.34.
$(WHEELS)/.built: $(VENV)/.tools $(RUST) README.md $(shell find python -name '*.py*' -not -path '*/__pycache__/*')
	rm -rf $(WHEELS)
	$(BUILD) maturin build --release --quiet --out $(WHEELS) --interpreter $(BIN)/python \
		$(if $(filter Linux,$(shell uname)),--zig --compatibility manylinux_2_28)
	@touch $@

$(VENV)/.bench: $(VENV)/.tools
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

# `make bench QUICK=1` takes fewer rounds.
MEASURES := cold single throughput quota bodies memory trees trees_cold contributions serving lambda handler
.PHONY: bench
bench: develop $(VENV)/.bench  ## measure everything beside its peers and write docs/benchmarks.md
	cd benches && for measure in $(MEASURES); do $(BIN)/python $$measure.py $(if $(QUICK),--quick) || exit 1; done
	cd benches && $(BIN)/python shared_session.py && $(BIN)/python report.py

.PHONY: clean
clean:  ## remove everything that was built
	rm -rf target $(VENV) $(DEMO) python/glowplug/_lib python/glowplug/*.so
