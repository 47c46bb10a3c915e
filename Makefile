# What people run. Each target sets up what it needs; everything it makes is below target/.
.PHONY: bench chaos check demo fuzz goodput house test lint build snapshots dist dist-provisioner boot peers clean help

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 16

# Only spotblock's own programs, never what the machine's settings would point them to.
export AWS_EC2_METADATA_DISABLED = true
export AWS_EC2_METADATA_SERVICE_ENDPOINT = http://127.0.0.1:1

build:  ## build everything, for the demo and the tests
	cargo build --locked --workspace --all-targets

demo:  ## see a block live and die on a local cloud; SOURCE=spot-block|spot|on-demand|reservation|capacity-block says where it is bought
	cargo build --locked --workspace --bins
	target/debug/demo $(SOURCE)

test: lint build target/venv/.ready  ## everything: lints, wire protocols, unit tests, whole lives on the local cloud, real boots
	target/venv/bin/python tests/peers/peers.py
	target/venv/bin/python tests/bench/selftest.py
	tests/docs/tutorial.py
	tests/boot/boot.py
	@# One more than there are processors: whole lives mostly wait.
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --locked --workspace --test-threads $$(($$(nproc) + 1)); \
	else cargo test --locked --workspace; fi

# Tests that go through each point of a run take every eighth here, another one each time: `make test` takes all.
check:  ## the quick loop: format, clippy, every test that runs in process; 2 minutes on two cores once all is built
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	SPOTBLOCK_EVERY_NTH=8 cargo nextest run --locked --workspace --lib --bins --test simulation --test chaos \
		--test rules --test crates --test units --test docs

# Up to 5000 blocks take less time than a build that is optimised for more of them.
chaos:  ## whole blocks under every fault there is, on simulated time: BLOCKS=1000 of them, or SEED=n to see one again
	@set -e; blocks=$(or $(BLOCKS),1000); profile=dev; folder=debug; \
	if [ -z "$(SEED)" ] && [ "$$blocks" -gt 5000 ]; then profile=chaos; folder=chaos; fi; set -x; \
	cargo build --locked --package chaos --profile $$profile; \
	target/$$folder/chaos $(if $(SEED),--seed $(SEED),--blocks $$blocks --from $(or $(FROM),1)) $(if $(MUTANT),--mutant $(MUTANT))

peers: target/venv/.ready  ## judged by what others wrote, in one table: botocore's models, boto3, moto's cloud, cloud-init, cfn-lint, ... (docs/peers.md)
	cargo build --locked --workspace --bins
	target/venv/bin/python tests/peers/peers.py

boot:  ## boot real systemd and cloud-init hosts with what `make dist` builds (as root; SKIPPED where that can't be)
	tests/boot/boot.py

lint:  ## formatting and clippy, without a single warning
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check licenses bans sources; \
	else echo "cargo deny is not installed: licences and sources are left to make peers, which brings its own"; fi

snapshots:  ## write help texts, error messages and merged ecs.config files anew into fixtures/, to be looked at in the diff
	SPOTBLOCK_WRITE_SNAPSHOTS=1 cargo test --locked --quiet --package provisioner --lib --test simulation snapshot
	SPOTBLOCK_WRITE_SNAPSHOTS=1 cargo test --locked --quiet --package node-agent --lib odd_files

# What others wrote, to hold ours against: the AWS CLI, botocore's models of each service, parliament, cfn-lint, moto.
target/venv/.ready: tests/peers/requirements.txt
	python3 -m venv target/venv || { apt-get update && apt-get install -y python3-venv && python3 -m venv target/venv; }
	target/venv/bin/pip install --quiet --disable-pip-version-check --requirement tests/peers/requirements.txt
	touch $@

bench: target/venv/.ready  ## spotblock beside its goals and beside the AWS CLI, boto3 and a boot script, in one table (docs/bench.md): ten minutes on an idle machine; RELEASE=1 as it is shipped
	cargo build --locked --workspace --bins $(if $(RELEASE),--release)
	cargo build --locked --package node-agent --profile agent
	$(if $(RELEASE),SPOTBLOCK_BENCH_PROGRAMS=target/release) target/venv/bin/python tests/bench/bench.py

fuzz:  ## give every parser of foreign input RUNS broken inputs (default 100000) each; `make test` does some thousand
	SPOTBLOCK_FUZZ_RUNS=$(or $(RUNS),100000) cargo test --locked --package fuzz --package node-agent --package provisioner --lib fuzz::

goodput:  ## the share of paid block time that ends in finished jobs, by how the end is met (TRACE=file: a trace in the Standard Workload Format)
	cargo build --locked --workspace --bins
	target/debug/goodput $(if $(TRACE),--trace "$(TRACE)")

house:  ## the structure in figures: modules, imports that run back, circles, public items, long lines
	cargo run --locked --quiet --package house

dist:  ## the agent's packages, into target/dist: tarball, .deb, .rpm, SBOM, SHA256SUMS (ARCH=aarch64 for Graviton)
	packaging/dist.sh $(ARCH)
	packaging/check.sh

dist-provisioner:  ## spotblock in release mode, with man pages and completions (a quarter of an hour, 7.5 GB of memory)
	packaging/dist-provisioner.sh $(ARCH)

clean:  ## remove all that was built
	cargo clean
