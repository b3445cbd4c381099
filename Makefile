# kdm's workflow. `make` alone explains itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python
LOCKED := --require-hashes -r requirements/dev.txt
KDM := --no-deps --no-build-isolation --editable .
IMAGE ?= kdm:dev
KIND_CLUSTER ?= kdm

# A KUBECONFIG that merely stands in the environment must not point a trial at somebody's cluster:
# only `make run KUBECONFIG=...` (or REPOSITORY=kubernetes) does.
ifeq ($(origin KUBECONFIG),command line)
REPOSITORY ?= kubernetes
RUN_FLAGS := --kubeconfig $(KUBECONFIG)
endif
REPOSITORY ?= memory

.DEFAULT_GOAL := help
.PHONY: help run test build deploy undeploy certs cluster kind clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Serve kdm over mTLS on demo data; KUBECONFIG=path or REPOSITORY=kubernetes for a real cluster
	@exec $(BIN)/kdm serve --dev --dev-context dev --repository $(REPOSITORY) $(RUN_FLAGS) $(ARGS)

test: $(VENV)/.installed ## Run every check and test: lint, types, imports, unit, integration
	$(BIN)/nox

build: ## Build the container image IMAGE, on BASE if given (best by digest); needs Docker
	@$(PYTHON) deploy/image/build.py --tag '$(IMAGE)' $(if $(BASE),--base '$(BASE)') -- $(BUILD_FLAGS)

deploy: $(VENV)/.installed ## Install kdm on the kind cluster KIND_CLUSTER (kdm), made if missing; needs Docker or root
	@cd tests && exec env KIND_IMAGE='$(KIND_IMAGE)' BASE='$(BASE)' \
	    ../$(BIN)/python -m integration.kind.deploy --cluster '$(KIND_CLUSTER)'

undeploy: $(VENV)/.installed ## Delete the kind cluster KIND_CLUSTER (kdm), and all that was started for it
	@cd tests && exec ../$(BIN)/python -m integration.kind.deploy --delete --cluster '$(KIND_CLUSTER)'

certs: $(VENV)/.installed ## Make a private PKI in ./private-certs (DIR=path for another place)
	$(BIN)/kdm certs init $(or $(DIR),private-certs)

cluster: $(VENV)/.installed ## Run a local Kubernetes control plane until Ctrl-C, and print its kubeconfig
	@cd tests && exec ../$(BIN)/python -m integration.controlplane

kind: $(VENV)/.installed ## Run the end-to-end tests on a kind cluster made for them; needs Docker or root
	$(BIN)/nox -s kind

clean: ## Delete what the other targets made in this directory
	rm -rf $(VENV) .coverage .nox dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# uv, as it is locked, installs the rest in seconds. pip takes a minute, but knows pip.conf and the index named there.
$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kdm needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {wanted = 1} wanted {print} !/\\$$/ {wanted = 0}' requirements/dev.txt > $(VENV)/uv.txt
	$(PIP) --require-hashes -r $(VENV)/uv.txt
	$(UV) $(LOCKED) || $(PIP) $(LOCKED)
	$(UV) $(KDM) || $(PIP) $(KDM)
	@touch $@
