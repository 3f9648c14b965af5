# Two commands do everything on a fresh Debian machine with root: make demo, make test.
# make help lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

SYSTEM_PYTHON ?= $(shell command -v /usr/bin/python3 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
APT := clang llvm musl-tools linux-libc-dev libbpf1 libbpf-dev libnftables1 nftables conntrack \
	iproute2 iputils-ping iperf3 busybox-static python3-venv shellcheck clang-format \
	containerd runc podman containernetworking-plugins iptables ipset ca-certificates procps kmod tcpdump prometheus \
	user-mode-linux
WORKERS ?= 3
MODES ?= veth datapathv2 exclusive exclusive-ebpf trunk trunk-ebpf

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

build/apt.stamp: Makefile
	@echo "==> installing Debian packages (once)"
	@missing=""; for p in $(APT); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	command -v kubectl >/dev/null || missing="$$missing kubernetes-client"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ]; then echo "make: these packages are missing and need root:$$missing" >&2; exit 1; fi; \
		apt-get update -qq; RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@mkdir -p build && touch $@

$(VENV)/stamp: build/apt.stamp requirements.lock pyproject.toml
	@echo "==> installing Python packages into $(VENV) (once)"
	@[ -x $(BIN)/python ] || $(SYSTEM_PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check wheel
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: install
install: $(VENV)/stamp objects ## install what the rest needs

.PHONY: objects
objects: $(VENV)/stamp ## build the eBPF objects and the CNI plugin
	@$(BIN)/python hatch_build.py

.PHONY: demo
demo: install ## a VPC with three nodes and an application; KEEP=1 leaves it up
	@$(BIN)/terway-lab demo $(if $(KEEP),--keep)

.PHONY: check
check: install ## format, lint, types, imports, C warnings, shell: all without root
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h')
	shellcheck $$(git ls-files '*.sh') .ci/run

.PHONY: format
format: install ## write the format that check wants
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: test
test: install check ## install what it needs and pass every test (root)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: conformance
conformance: install ## all NetworkPolicy cases in packets, in each of MODES (root)
	@status=0; for mode in $(MODES); do \
		$(BIN)/terway-lab policy conformance --name conformance-$$mode --mode $$mode $(ARGS) \
			--folder "$${CONFORMANCE_DIR:-../shared/conformance/netpol}" --folder tests/data/policy_cases || status=1; \
		$(BIN)/terway-lab down --name conformance-$$mode; \
	done; exit $$status

.PHONY: bench
bench: install ## measure against references; ONLY=name for some
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

.PHONY: manifests
manifests: install ## write the values schema, deploy/manifests and the RAM policies
	@$(BIN)/python -m terway.cli.chart.generate deploy

.PHONY: wheel
wheel: install ## build a wheel with the plugin and the eBPF objects inside
	@$(BIN)/python -m hatchling build -t wheel

.PHONY: clean
clean: ## remove what was built
	rm -rf build dist $(VENV) src/terway/bpf_objects/*.o src/terway/cni/bin .mypy_cache .ruff_cache
