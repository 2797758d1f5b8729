# Everything an engineer runs. A fresh machine needs Rust (rustup), Python 3.10+, Node 20+ and curl; the rest is set up
# here, pinned by lock files, in this checkout and in the user's caches.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hallpass
TOOLS := $(CACHE)/tools
# Each checkout builds in its own `target/`. A cache that several share saves ten minutes of compiling the dependencies, and
# is right only for checkouts that are newer than all that was built there, such as CI's: Cargo compares times alone.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# cargo-lambda calls the linker by a path that it makes from its own, and with another linker cargo builds all
# dependencies anew: so it has one place, which checkouts share too.
CARGO_LAMBDA := $(TOOLS)/$(shell sed -n 's/^\(cargo-lambda\)==/\1-/p' dev/requirements.in)
# Then the tools of the lock files; cargo-lambda finds its linker, zig, there.
export PATH := $(CARGO_LAMBDA):$(CURDIR)/.venv/bin:$(TOOLS)/bin:$(PATH)

NEXTEST := 0.9.143
DENY := 0.20.2
FUZZ := 0.13.2
MUTANTS := 27.1.0
FUZZ_SECONDS := 10

# What is deployed: a binary for each function of the template.
BINARIES := $(shell sed -n 's/^ *Binary: //p' template.yaml)
# Where sources lie must not be in what is made of them, or each builder would make other bytes. A variable that adds to
# what cargo-lambda asks for, where RUSTFLAGS would replace it.
REMAP := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo --remap-path-prefix=$(CARGO_TARGET_DIR)=/target

, := ,
VENV := .venv/.installed
SAM_VENV := .venv-sam/.installed
NODE := dev/node_modules/.installed
EXAMPLE := examples/browser/node_modules/.installed
# The browser that people's pages are tried in: Debian's, or another one.
export CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
PYTHON_FILES := dev tests/e2e

.PHONY: help
help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

##### Trying it

.PHONY: run up
run: artifact command $(NODE) ## A guided tour: sign in, get credentials, use them, on a local stack that is removed afterwards; about 3 GB of disk
	@python dev/run.py run

up: artifact command person $(NODE) ## The same stack, running until Ctrl-C, with commands to try
	@python dev/run.py up

##### Testing it

# In this order: what is quick and fails often comes first.
CHECKS := fmt typos lint template unit doctest doc deny fuzz-smoke e2e browser-if-chromium sam-local-if-docker
# What was not checked, and why, for the end.
SKIPPED := build/skipped
skip = { mkdir -p build && echo 'SKIPPED $(1)' | tee -a $(SKIPPED); }

.PHONY: test
test: ## Everything that must pass; about 10 GB of disk
	@rm -f $(SKIPPED)
	@for check in $(CHECKS); do \
	  printf '\n##### %s (%s)\n' "$$check" "$$(date +%H:%M:%S)"; $(MAKE) --no-print-directory "$$check"; done
	@$(call skip,arm64: a second release build$(,) and QEMU$(,) which only root installs; `make arm64` runs it)
	@$(call skip,mutants: hours; `make mutants` runs them)
	@printf '\n##### Not checked\n'; cat $(SKIPPED)
	@printf '\nmake test: everything else passed\n'

.PHONY: browser-if-chromium
browser-if-chromium:
	@if [[ -n "$$CHROMIUM" ]]; then $(MAKE) --no-print-directory browser; else $(call skip,browser: no Chromium); fi

.PHONY: sam-local-if-docker
sam-local-if-docker:
	@if docker info >/dev/null 2>&1; then $(MAKE) --no-print-directory sam-local; else $(call skip,sam-local: no Docker engine); fi

.PHONY: fmt
fmt: $(VENV) ## The format of Rust and Python
	cargo fmt --all --check
	ruff format --check --quiet $(PYTHON_FILES)

.PHONY: typos
typos: $(VENV) ## Spelling, and the phrases of dev/phrases.txt in what users read
	typos
	@python dev/phrases.py

.PHONY: lint
lint: $(VENV) $(NODE) ## Clippy on everything, on the core alone, and on the command line without operators' commands; ruff; the portal's types
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo clippy --locked --package hallpass-cli --no-default-features --features person -- -D warnings
	ruff check --quiet $(PYTHON_FILES)
	dev/node_modules/.bin/tsc --project dev/tsconfig.json

.PHONY: unit
unit: cargo-nextest ## Unit and integration tests
	cargo nextest run --locked --workspace --all-features

.PHONY: doctest
doctest: ## The examples in the documentation
	cargo test --locked --workspace --all-features --doc

.PHONY: doc
doc: ## The documentation, without a warning
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --all-features --no-deps

.PHONY: deny
deny: cargo-deny ## Licenses, sources and advisories of the dependencies
	cargo deny --locked check bans licenses sources
	@if curl --silent --fail --location --head --max-time 10 --output /dev/null https://github.com/rustsec/advisory-db; \
	then set -x; cargo deny --locked check advisories; \
	else $(call skip,advisories: github.com$(,) which has their database$(,) cannot be reached); fi

.PHONY: template
template: export SAM_CLI_TELEMETRY := 0
template: $(SAM_VENV) ## Checks of template.yaml: sam, cfn-lint and checkov, which all work without a network
	.venv-sam/bin/sam validate --lint
	.venv-sam/bin/sam validate --region eu-central-1
	.venv-sam/bin/cfn-lint template.yaml
	.venv-sam/bin/checkov --quiet --compact --skip-download --framework cloudformation secrets --file template.yaml

# With a directory of its own: built for the same target with other flags, the dependencies would be built anew each time.
.PHONY: fuzz-smoke
fuzz-smoke: cargo-fuzz ## Each fuzz target for a few seconds; prints only findings
	@mkdir -p build
	@for target in $$(cargo fuzz list); do \
	  mkdir -p "fuzz/corpus/$$target"; \
	  seeds=(); [[ ! -d fuzz/seeds/$$target ]] || seeds=("fuzz/seeds/$$target"); \
	  printf '%-12s ' "$$target"; \
	  if CARGO_TARGET_DIR="$$CARGO_TARGET_DIR/fuzz" RUSTC_BOOTSTRAP=1 cargo fuzz run "$$target" "fuzz/corpus/$$target" $${seeds[@]+"$${seeds[@]}"} -- -max_total_time=$(FUZZ_SECONDS) >build/fuzz.log 2>&1; \
	  then grep '^Done ' build/fuzz.log; else cat build/fuzz.log; exit 1; fi; done

.PHONY: mutants
mutants: cargo-nextest cargo-mutants ## Removes each check of the core in turn, and expects a test to fail; takes hours
	cargo mutants --jobs 2 --output build

# The earlier build has a target directory of its own, or each build would replace the other's broker.
.PHONY: compare
compare: ## Asks the functions of this checkout and of BASE=COMMIT the same, and prints each difference; some minutes
	@[[ -n "$(BASE)" ]] || { echo 'make compare BASE=COMMIT'; exit 2; }
	rm -rf build/base && git clone --quiet . build/base && git -C build/base checkout --quiet "$(BASE)"
	cargo build --locked --manifest-path build/base/Cargo.toml --target-dir "$$CARGO_TARGET_DIR/base" --bin broker
	HALLPASS_COMPARE_BASE="$$CARGO_TARGET_DIR/base/debug/broker" cargo bench --locked --profile dev --bench compare

.PHONY: e2e
e2e: artifact command person $(NODE) ## The whole system, with the artifact that would be deployed
	pytest tests/e2e

.PHONY: browser
browser: artifact command $(NODE) $(EXAMPLE) ## What people see, in a real Chromium, on the local stack; screenshots are in build/browser
	@[[ -n "$$CHROMIUM" ]] || { echo 'CHROMIUM=PATH names the browser: no Chromium is in PATH'; exit 2; }
	@python dev/browser.py

.PHONY: sam-local
sam-local: artifact command $(SAM_VENV) $(NODE) ## The function in containers, as SAM builds and starts it: every event, and some requests
	@python dev/sam_local.py test

.PHONY: sam-up
sam-up: artifact command $(SAM_VENV) $(NODE) ## The same containers for one event at a time, by hand, until Ctrl-C
	@python dev/sam_local.py up

.PHONY: arm64
arm64: artifact artifact-arm64 command $(NODE) ## The function for arm64, built and tried under QEMU
	@python dev/arm64.py

##### Building it

artifact artifact-arm64 static static-arm64 sam-local sam-up: export CARGO_BUILD_RUSTFLAGS := $(REMAP)

.PHONY: artifact
artifact: $(CARGO_LAMBDA)/cargo-lambda ## The function as it is deployed: build/lambda/broker/bootstrap
	@compgen -G "$$CARGO_TARGET_DIR/*/release/deps/libaws_sdk_sts-*" >/dev/null || \
	  echo 'The first release build compiles the AWS SDKs: about ten minutes on two cores. Later ones take seconds.'
	cargo lambda build --release --locked $(BINARIES:%=--bin %) --lambda-dir build/lambda

# With a directory of its own: it shares build scripts and macros with the other build, but not their linker.
.PHONY: artifact-arm64
artifact-arm64: export CARGO_TARGET_DIR := $(CARGO_TARGET_DIR)/arm64
artifact-arm64: $(CARGO_LAMBDA)/cargo-lambda ## The same for arm64: build/lambda-arm64/broker/bootstrap
	@rustup target list --installed | grep -qx aarch64-unknown-linux-gnu || rustup target add aarch64-unknown-linux-gnu
	cargo lambda build --release --locked --arm64 $(BINARIES:%=--bin %) --lambda-dir build/lambda-arm64

.PHONY: cli
cli: ## The command line for operators, hallpass; prints where it is
	cargo build --release --locked --package hallpass-cli
	@printf '\n%s\n' "$$CARGO_TARGET_DIR/release/hallpass"

# As it is released: with musl in it, so that it starts on every Linux, and without the newer instructions that Lambda's
# processors have. cargo-lambda knows how to link it, and calls every binary `bootstrap`.
STATIC = cargo lambda build --profile cli --locked --package hallpass-cli --bin hallpass --disable-optimizations

.PHONY: static
static: $(CARGO_LAMBDA)/cargo-lambda ## The command line as it is released, for any Linux on x86_64: build/cli/hallpass/bootstrap
	@rustup target list --installed | grep -qx x86_64-unknown-linux-musl || rustup target add x86_64-unknown-linux-musl
	$(STATIC) --target x86_64-unknown-linux-musl --lambda-dir build/cli

.PHONY: static-arm64
static-arm64: export CARGO_TARGET_DIR := $(CARGO_TARGET_DIR)/arm64
static-arm64: $(CARGO_LAMBDA)/cargo-lambda ## The same for arm64: build/cli-arm64/hallpass/bootstrap
	@rustup target list --installed | grep -qx aarch64-unknown-linux-musl || rustup target add aarch64-unknown-linux-musl
	$(STATIC) --target aarch64-unknown-linux-musl --lambda-dir build/cli-arm64

# For trying and testing it: quick to build, and not small. With the features of `make unit`, which has built the rest.
.PHONY: command
command:
	cargo build --quiet --locked --workspace --all-features --bin hallpass

# Where `make up` shows it: a build of the whole command line is the same file in the target directory.
.PHONY: person
person: ## The command line for people alone, without an AWS SDK: build/bin/hallpass
	cargo build --release --locked --package hallpass-cli --no-default-features --features person
	@mkdir -p build/bin && cp "$$CARGO_TARGET_DIR/release/hallpass" build/bin/hallpass

.PHONY: package
package: artifact artifact-arm64 static static-arm64 ## A release, in build/package: the functions, templates that are deployed without Rust, the command line, lists of components
	@python dev/package.py

.PHONY: setup
setup: $(VENV) $(SAM_VENV) $(NODE) $(EXAMPLE) cargo-nextest cargo-deny cargo-fuzz ## Sets up everything that other targets need

$(VENV): dev/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or later is needed" if sys.version_info < (3, 10) else 0)'
	@echo 'Installing the Python tools into .venv (about 20 s)'
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement dev/requirements.txt
	@touch $@

$(CARGO_LAMBDA)/cargo-lambda: | $(VENV)
	@mkdir -p $(@D) && cp .venv/bin/cargo-lambda $@.new && mv $@.new $@

$(SAM_VENV): dev/sam-requirements.txt
	@echo 'Installing the AWS SAM command line and the checks of the template into .venv-sam (about a minute)'
	@rm -rf .venv-sam && $(PYTHON) -m venv .venv-sam
	@# The lock file is complete; older versions of pip lose themselves in the extras when they look for more.
	@.venv-sam/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement dev/sam-requirements.txt
	@touch $@

$(NODE): dev/package-lock.json
	@echo 'Installing the identity provider, and what tries pages, into dev/node_modules'
	@npm ci --prefix dev --no-audit --no-fund --silent
	@touch $@

$(EXAMPLE): examples/browser/package-lock.json
	@echo 'Installing the libraries of the sample application into examples/browser/node_modules'
	@npm ci --prefix examples/browser --no-audit --no-fund --silent
	@touch $@

# A tool that the machine has is used: nextest and cargo-fuzz in any version, cargo-deny in ours, since its checks change.
# Debug builds, because compiling them costs more than they ever run.
define cargo_install
{ echo 'Compiling $(1) $(2) into $(TOOLS): some minutes, once'; \
  CARGO_TARGET_DIR=$(TOOLS)/build cargo install --debug --locked --root $(TOOLS) --version $(2) $(1); \
  rm -rf $(TOOLS)/build; }
endef

.PHONY: cargo-nextest cargo-deny cargo-fuzz cargo-mutants
cargo-nextest:
	@command -v cargo-nextest >/dev/null || $(call cargo_install,cargo-nextest,$(NEXTEST))
cargo-deny:
	@[[ "$$(cargo-deny --version 2>/dev/null)" == 'cargo-deny $(DENY)' ]] || $(call cargo_install,cargo-deny,$(DENY))
cargo-fuzz:
	@command -v cargo-fuzz >/dev/null || $(call cargo_install,cargo-fuzz,$(FUZZ))
cargo-mutants:
	@command -v cargo-mutants >/dev/null || $(call cargo_install,cargo-mutants,$(MUTANTS))

.PHONY: lock
lock: ## Updates the lock files, after a change of dev/*requirements.in or a package.json
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv==0.13.9
	@for name in requirements sam-requirements; do \
	  env -u PIP_FIND_LINKS build/lock/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links --output-file "dev/$$name.txt" "dev/$$name.in"; done
	@for package in dev examples/browser; do npm install --prefix "$$package" --package-lock-only --no-audit --no-fund; done

.PHONY: clean
clean: ## Removes what this checkout built; the user's caches stay
	rm -rf .venv .venv-sam .aws-sam build dev/node_modules examples/browser/node_modules examples/browser/dist target
