# Everything that is done in this repository, by name. Cargo and scripts/ do the work.

export SQLX_OFFLINE ?= true
tools := PATH="$(CURDIR)/target/tools/bin:$$PATH"

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

.PHONY: run
run: postgres ## Build and start the service on 127.0.0.1:50051 (GOLDBOOK_LISTEN), with its own database in .goldbook
	cargo build --release --locked
	scripts/run.sh

.PHONY: test
test: postgres ## Run every test, the properties with the same cases every time
	cargo test --workspace --locked

.PHONY: test-18
test-18: postgres ## Run every test on PostgreSQL 18, or those whose names hold one of TESTS
	GOLDBOOK_OTHER_POSTGRES_BIN="$$(scripts/install-postgres.sh)" GOLDBOOK_POSTGRES_BIN="$$(scripts/install-postgres-18.sh)" \
	cargo test --workspace --locked $(if $(TESTS),--test api --test embedded_postgres -- $(TESTS))

.PHONY: explore
explore: postgres ## Run the properties with new random seeds for GOLDBOOK_EXPLORE_SECONDS (600)
	scripts/explore.sh

.PHONY: fuzz
fuzz: ## Run each target of fuzz/ on random inputs for GOLDBOOK_FUZZ_SECONDS (60), or those in TARGETS
	scripts/install-tools.sh fuzz
	$(tools) scripts/fuzz.sh $(TARGETS)

.PHONY: fuzz-seeds
fuzz-seeds: ## Write the inputs that fuzzing begins with anew, after a change of the interface
	GOLDBOOK_FUZZ_SEEDS=1 cargo test --locked --lib fuzzing

.PHONY: torture
torture: postgres ## Kill the service and its Postgres under load, GOLDBOOK_TORTURE_KILLS times (2000: hours)
	GOLDBOOK_TORTURE_SEED="$${GOLDBOOK_TORTURE_SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}" \
	GOLDBOOK_TORTURE_KILLS="$${GOLDBOOK_TORTURE_KILLS:-2000}" cargo test --locked --test api torture -- --nocapture

.PHONY: bench
bench: postgres ## Measure the service beside pgbench and a bare echo; JSON=file keeps the figures, ARGS adds options
	cargo build --release --locked
	target/release/goldbook bench $(if $(JSON),--json $(JSON)) $(ARGS)

.PHONY: bench-check
bench-check: ## Compare the figures of two measurements by ratio: OLD=file NEW=file
	cargo build --release --locked
	target/release/goldbook bench-check $(ARGS) $(OLD) $(NEW)

.PHONY: web-check
web-check: postgres ## Call a built service from pages in a headless Chromium, by a generated TypeScript client
	scripts/check-web.sh

.PHONY: chart
chart: ## Check the chart: golden files, schemas of Kubernetes, values and what must hold; ARGS=--bless writes golden files
	scripts/check-chart.sh $(ARGS)

.PHONY: rules
rules: postgres ## Check alerts, runbooks and dashboards, and test the alerts
	scripts/check-rules.sh

.PHONY: watch
watch: postgres ## Scrape a driven service, and check that all that alerts and dashboards ask for is there
	scripts/watch-service.sh

.PHONY: rolling-restart-check
rolling-restart-check: postgres ## Restart two replicas under the load of a stock client, which must not notice
	scripts/check-rolling-restart.sh

.PHONY: restore-check
restore-check: postgres ## Restore a backup, fail over to a standby and try PgBouncer, under load; CHECKS names some of them
	scripts/check-restore.sh $(CHECKS)

.PHONY: start-time
start-time: postgres ## Measure how long a start on an existing database takes, STARTS times (21)
	cargo build --release --locked
	scripts/measure-start.sh target/release/goldbook $(STARTS)

.PHONY: sizes
sizes: postgres ## Measure what customers, purchases and grants cost the database, with CUSTOMERS (60000); JSON=file keeps it
	cargo build --release --locked
	scripts/measure-sizes.sh target/release/goldbook $(if $(CUSTOMERS),--customers $(CUSTOMERS)) $(if $(JSON),--json $(JSON))

.PHONY: site
site: ## Build the documentation site into target/site, and check its links
	scripts/build-site.sh

.PHONY: release
release: ## Build target/release/goldbook as it is released, with the commit in it
	GOLDBOOK_COMMIT="$${GOLDBOOK_COMMIT:-$$(git rev-parse HEAD)}" scripts/build-release.sh

.PHONY: reproducible
reproducible: ## Build the last commit twice as it is released, and compare the bytes
	scripts/check-reproducible.sh

.PHONY: sbom
sbom: ## Write the list of all crates in the program, target/sbom/goldbook.cdx.json (CycloneDX), and check it
	scripts/install-tools.sh cyclonedx
	$(tools) scripts/make-sbom.sh

.PHONY: image-check
image-check: ## Build the container image without Docker, look into it and run it as Compose and the chart do; as root
	scripts/check-image.sh

.PHONY: fmt
fmt: ## Format the code
	scripts/install-tools.sh rustfmt
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

.PHONY: lint
lint: ## Check format, lints, documentation and protos
	scripts/install-tools.sh rustfmt clippy buf
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
	$(tools) buf lint

.PHONY: deny
deny: ## Check licences, sources and known vulnerabilities of the crates
	scripts/install-tools.sh deny
	$(tools) cargo deny --locked check bans licenses sources
	$(tools) scripts/check-advisories.sh

.PHONY: breaking
breaking: ## Check that the protos break no client of the last release, and try that check
	scripts/install-tools.sh buf
	$(tools) scripts/check-breaking.sh
	$(tools) scripts/try-breaking.sh

.PHONY: migrations-check
migrations-check: ## Check that new migrations leave the last release alone, and try that check
	scripts/install-tools.sh squawk
	$(tools) scripts/check-migrations.sh
	$(tools) scripts/try-check-migrations.sh

.PHONY: beside-check
beside-check: postgres ## Run the last release beside this version on one database, both ways round
	scripts/check-beside-last-release.sh

.PHONY: migrations-trial
migrations-trial: postgres ## Migrate a database of ENTRIES entries (5,000,000: minutes) under the load of a stock client
	scripts/try-migrations.sh

.PHONY: sqlx-prepare
sqlx-prepare: postgres ## Write .sqlx anew, after a change to a statement or a migration
	scripts/install-tools.sh sqlx
	$(tools) scripts/with-database.sh cargo sqlx prepare -- --all-targets

.PHONY: sqlx-check
sqlx-check: postgres ## Check that .sqlx fits the statements and migrations
	scripts/install-tools.sh sqlx
	$(tools) scripts/with-database.sh cargo sqlx prepare --check -- --all-targets

.PHONY: ci
ci: ## Run all that has to pass before a merge
	.ci/run

.PHONY: postgres
postgres: ## Find PostgreSQL on this machine, or install it
	@scripts/install-postgres.sh >/dev/null

.PHONY: clean
clean: ## Remove what was built, and keep the data in .goldbook
	cargo clean
