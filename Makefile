# Two commands matter: `make serve` and `make test`. Each sets up whatever it needs first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Photographs for the tests, where there are some beside the checkout.
ifeq ($(wildcard ../shared/data),)
else
export PHOTOS_DIR ?= $(abspath ../shared/data)
endif

# The native engine is compiled again whenever its sources change.
NATIVE := native/CMakeLists.txt native/pyproject.toml $(wildcard native/src/*) locks/requirements-native.txt

# Nothing is installed but what a lock names, in files with the hashes that it names: docs/dependencies.md.
PIP_INSTALL := python -m pip install --disable-pip-version-check --progress-bar on
LOCKED := $(PIP_INSTALL) --require-hashes -r locks
BUILD = PYTHONPATH=$(abspath $(VENV))/wheel python -m build --no-isolation --outdir $(DIST)

# Where `make wheel` puts what it builds.
DIST ?= dist

# What `make image` builds, and with what: docker where its service answers, else podman. Without the format of Docker
# podman would leave out the health check.
VERSION = $(shell sed -nE 's/^VERSION = "(.*)"/\1/p' utils/version.py)
IMAGE ?= facet
IMAGE_BUILD ?= $(if $(shell docker info > /dev/null 2>&1 && echo yes),docker build,podman build --format docker)
IMAGE_FLAGS ?=

COMPILER = $$(command -v "$${CXX:-c++}" || command -v g++ || command -v clang++)

.PHONY: help serve test test-system test-heavy setup wheel image protos docs manifests lock sbom soak bench clean

help:  ## Show this list.
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

serve: $(VENV)/serve.done $(VENV)/native.done  ## Start the backend and the gateway; Ctrl-C stops them.
	@exec python -m cli serve

test: $(VENV)/dev.done $(VENV)/native.done  ## Run linters, types, import contract and every test.
	@python -m scripts.check

test-system: $(VENV)/dev.done $(VENV)/native.done  ## Test with a browser, other languages, public clients, a short soak.
	@python -m pytest tests/system

test-heavy: $(VENV)/dev.done $(VENV)/native.done  ## Try containers and systemd; writes docs/heavy-tests.md. NAME=image picks.
	@python -m pytest -o timeout=1800 --write-results $(if $(NAME),$(NAME:%=tests/heavy/test_%.py),tests/heavy)
	@python -m scripts.document_heavy_tests

setup: $(VENV)/dev.done $(VENV)/native.done  ## Make the whole environment, TensorFlow and test tools included.

wheel: $(VENV)/wheel.done  ## Build what docs/install.md installs: wheels and source distributions, into dist/.
	@rm -f $(DIST)/facet_*
	@$(BUILD) .
	@cxx=$(COMPILER); if [ -z "$$cxx" ]; then \
	  echo "No C++ compiler: there is no wheel of the native engine. On Debian: apt-get install g++ python3-dev"; \
	else CXX="$$cxx" $(BUILD) native; fi

image:  ## Build the container's image, facet, by docker or podman; IMAGE_FLAGS="--build-arg BASE=..." goes to it.
	$(IMAGE_BUILD) -f deploy/Dockerfile -t $(IMAGE):$(VERSION) -t $(IMAGE):latest --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$$(git rev-parse HEAD) $(IMAGE_FLAGS) .

protos: $(VENV)/dev.done  ## Generate the wire's code from protos/*.proto.
	python -m scripts.generate_protos

docs: $(VENV)/dev.done  ## Write the generated parts of the documentation.
	python -m scripts.document_settings
	python -m scripts.document_security
	python -m scripts.document_heavy_tests

manifests: $(VENV)/dev.done  ## Write what is rendered of deploy/kubernetes; needs kubectl 1.30 or later.
	@python -m scripts.render_kubernetes

lock: $(VENV)/dev.done  ## Write locks/ from requirements*.txt; make lock UPGRADE="idna six" upgrades these.
	@python -m scripts.write_locks $(UPGRADE)

sbom: $(VENV)/dev.done  ## Write sbom.cdx.json: what serves, with versions and licences, as CycloneDX.
	@python -m scripts.write_sbom

soak: $(VENV)/dev.done $(VENV)/native.done  ## Break everything again and again under load: ten minutes, or SOAK_SECONDS.
	@python -m tests.soak

bench: $(VENV)/bench.done $(VENV)/native.done  ## Measure: make bench NAME="balance tail", or everything.
	@python -m benchmarks $(NAME)

clean:  ## Remove the environment and what tools left behind.
	rm -rf $(VENV) dist sbom.cdx.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@echo "Making a Python environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  "Facet needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % v)'
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/serve.done: locks/requirements-serve.txt | $(VENV)/bin/python
	@echo "Installing what serves faces (about 270 MB; a minute or so) ..."
	@$(LOCKED)/requirements-serve.txt
	@touch $@

$(VENV)/dev.done: locks/requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing everything, TensorFlow and test tools included (about 700 MB; a few minutes) ..."
	@$(LOCKED)/requirements-dev.txt
	@touch $@ $(VENV)/serve.done

$(VENV)/bench.done: locks/requirements-bench.txt $(VENV)/dev.done
	@echo "Installing what Facet is measured beside and what plots (about 100 MB) ..."
	@$(LOCKED)/requirements-bench.txt
	@touch $@

# Build tools, in a folder of their own.
$(VENV)/wheel.done: locks/requirements-wheel.txt | $(VENV)/bin/python
	@echo "Installing what builds distributions (about 50 MB) ..."
	@$(LOCKED)/requirements-wheel.txt --upgrade --target $(VENV)/wheel
	@touch $@

# Its build tools are in a folder of their own, so that they are not installed where it runs.
# Where it cannot be compiled, the service runs with ONNX Runtime, and says so when it starts. Then there is no
# native.done either, so that the next make tries again.
$(VENV)/native.done: $(NATIVE) | $(VENV)/bin/python
	@python -m pip uninstall --quiet --yes facet-native 2> /dev/null || true
	@cxx=$(COMPILER); if [ -z "$$cxx" ]; then \
	  echo "No C++ compiler: the native engine, several times faster, is left out. On Debian: apt-get install g++ python3-dev"; \
	else \
	  echo "Compiling the native engine (half a minute) ..."; \
	  if { $(LOCKED)/requirements-native.txt --upgrade --target $(VENV)/build \
	    && CXX="$$cxx" PYTHONPATH=$(abspath $(VENV))/build $(PIP_INSTALL) --no-build-isolation --no-deps ./native; \
	    } > $(VENV)/native.log 2>&1; then touch $@; \
	  else echo "The native engine could not be compiled, and is left out. The reason is in $(VENV)/native.log:"; \
	    grep -iE "error: |CMake Error" $(VENV)/native.log | grep -v subprocess | head -n 3; fi; \
	fi
