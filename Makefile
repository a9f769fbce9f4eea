# Squire's tasks; `make` lists them. What they do is in .ci/.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/squire/target
export PATH := $(PATH):$(HOME)/.cargo/bin

# One set of packages and features for all of them, so that nothing is built twice.
BUILD := build --locked --workspace
# The same for tests, which have failpoints besides.
FAILPOINTS := --features squire/failpoints,squire-tests/failpoints
TEST := test --locked --workspace $(FAILPOINTS)
DEBUG := $(CARGO_TARGET_DIR)/debug
RELEASE := $(CARGO_TARGET_DIR)/release

.PHONY: help setup setup-tests build deb demo test matrix chaos fuzz model lint bench clients contended hostile lancedb memory soak year
.DEFAULT_GOAL := help

help: ## Lists the tasks.
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what the build needs from Debian; checks for Rust.
	@.ci/setup

build: setup ## Builds everything. The first time takes a quarter of an hour on two cores.
	@.ci/quietly building $(BUILD)

deb: setup ## Builds with optimisation, and makes the Debian package and its bill of materials: their paths are printed. An hour or more on two cores.
	@.ci/quietly 'building for speed' $(BUILD) --release --bin squire
	@.ci/deb release "$(CARGO_TARGET_DIR)/package"

demo: setup ## Shows Squire at work, in a folder of its own. KEEP=1 leaves it running to look at.
	@.ci/quietly 'building Squire' $(BUILD) --bin squire --bin squire-demo --bin squire-crew
	@"$(DEBUG)/squire-demo"

setup-tests: setup
	@.ci/setup-tests

test: setup-tests ## Checks the format, builds everything and runs all suites.
	@! cargo fmt --version >/dev/null 2>&1 || cargo fmt --all --check
	@.ci/quietly building $(BUILD) $(FAILPOINTS)
	@.ci/quietly 'building the tests' $(TEST) --no-run
	@cargo $(TEST) --quiet

matrix: setup ## Runs the crash matrix alone. ONLY=name runs the kinds of operation with that in their names.
	@.ci/quietly 'building the tests' $(TEST) --no-run
	@SQUIRE_MATRIX="$(ONLY)" cargo $(TEST) --quiet --test faults matrix

lint: setup ## Judges the dependencies, and runs clippy, which compiles all of them once more, for itself.
	@.ci/dependencies
	@.ci/quietly checking clippy --locked --workspace --all-targets -- -D warnings
	@.ci/quietly 'checking the tests' clippy --locked --workspace $(FAILPOINTS) --all-targets -- -D warnings

bench: setup ## Builds with optimisation and measures. ONLY=name measures one thing.
	@.ci/quietly 'building for speed' $(BUILD) --release --bin squire --bin squire-bench
	@"$(RELEASE)/squire-bench" $(ONLY)

contended: setup ## Three LanceDB writers of one table, by who maintains it: make contended [SECONDS=30] [ROUNDS=1] [WITH=none,squire]
	@.ci/quietly 'building Squire' $(BUILD) --bin squire --bin squire-bench
	@"$(DEBUG)/squire-bench" contended $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WITH),--with $(WITH))

lancedb: setup ## LanceDB programs at full speed beside daemons: make lancedb [MINUTES=1]
	@.ci/quietly building $(BUILD) $(FAILPOINTS)
	@MINUTES=$(or $(MINUTES),1) cargo $(TEST) --test lancedb -- --nocapture

clients: setup ## What LanceDB clients of six versions see of maintained tables: make clients [ONLY=0.30.2]
	@.ci/quietly building $(BUILD) $(FAILPOINTS)
	@.ci/quietly 'building the tests' $(TEST) --test clients --no-run
	@SQUIRE_CLIENTS="$(or $(ONLY),all)" cargo $(TEST) --quiet --test clients -- --nocapture

memory: setup ## A daemon keeps to its memory, with a table that is larger.
	@.ci/quietly building $(BUILD) $(FAILPOINTS)
	@SQUIRE_MEMORY_FULL=1 cargo $(TEST) --test memory -- --nocapture

hostile: setup ## Directories made to do harm, kept beside good tables: make hostile [TREES=500] [JUNK=200000]
	@.ci/quietly building $(BUILD) $(FAILPOINTS)
	@.ci/quietly 'building the tests' $(TEST) --no-run
	@SQUIRE_HOSTILE=$(or $(TREES),500) cargo $(TEST) --quiet --test engine whatever_lies_in_a_target -- --nocapture
	@SQUIRE_HOSTILE=$(or $(TREES),500) SQUIRE_HOSTILE_JUNK=$(or $(JUNK),200000) \
		cargo $(TEST) --quiet --test daemon hostile:: -- --nocapture --test-threads=1

soak: setup ## Kills writers and daemons of one graph: make soak [MINUTES=60] [SEED=number]
	@.ci/quietly 'building Squire' $(BUILD) --bin squire --bin squire-soak
	@"$(DEBUG)/squire-soak" $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

chaos: setup ## Lets disks hang, volumes vanish and the clock jump under a daemon: make chaos [SEEDS=0..1000]
	@.ci/quietly building $(BUILD) $(FAILPOINTS)
	@SQUIRE_CHAOS=$(or $(SEEDS),0..1000) cargo $(TEST) --test chaos -- --nocapture --include-ignored --test-threads 1

fuzz: setup ## Hands Squire spoilt inputs: make fuzz [MINUTES=10] [ONLY=name] [SEED=number] [REPLAY=file]
	@.ci/quietly building $(BUILD) $(FAILPOINTS)
	@"$(DEBUG)/squire-fuzz" $(ONLY) $(if $(REPLAY),--replay $(REPLAY),--minutes $(or $(MINUTES),10)) $(if $(SEED),--seed $(SEED))

model: setup ## Explores the large worlds of the protocol's model, for long. ONLY=words picks some.
	@.ci/quietly 'building the tests' $(TEST) --no-run
	@ONLY="$(ONLY)" cargo $(TEST) --test model -- --ignored --nocapture

year: setup ## Loads and maintains a whole year of flights: make year DATA=folder
	$(if $(DATA),,$(error say where the Parquet files are: make year DATA=folder))
	@.ci/quietly 'building Squire' $(BUILD) --bin squire --bin squire-year
	@"$(DEBUG)/squire-year" "$(DATA)"
