# The front door. `make` lists what there is; every command sets up .venv by itself.
#
#   PYTHON   the interpreter to set up with     (the first of python3.11 ... that works)
#   VENV     where                              (.venv)
#   PREFIX   where `make install` puts it       (/opt/gatewayd)

.DEFAULT_GOAL := help

VENV ?= .venv
PREFIX ?= /opt/gatewayd
SYSCONFDIR ?= /etc
UNITDIR ?= /etc/systemd/system

# Asked by running it: a name on the PATH may be a shim with nothing behind it.
ifndef PYTHON
PYTHON := $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
	  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	    && { echo "$$name"; break; }; done)
endif

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Root in a container has nobody to warn, and a log no use for a progress bar.
PIP_INSTALL := -m pip --disable-pip-version-check --no-input install --quiet --progress-bar off \
	  --root-user-action ignore -c constraints.txt

.PHONY: help setup run test unit wire contracts live check generate format install clean
.PHONY: bench bench-quick bench-memory

help: ## this list
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{printf "  make %-28s %s\n", $$1, $$2}'

setup: $(STAMP) ## .venv, with all that the other commands need

# $(call venv,WHERE): make a virtual environment, or say what is missing for it.
define venv
	@test -n "$(PYTHON)" || { \
	  echo "There is no Python 3.11 or newer here. On Debian: sudo apt-get install python3 python3-venv"; \
	  echo "If yours is elsewhere: make PYTHON=/path/to/python3.11"; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments here. On Debian and Ubuntu:"; \
	  $(PYTHON) -c 'import sys; print("  sudo apt-get install python%d.%d-venv" % sys.version_info[:2])'; \
	  exit 1; } >&2
	@echo "Setting up $(1) with $(PYTHON); the first time takes a minute."
	@test -x $(1)/bin/pip || $(PYTHON) -m venv $(1)
endef

$(STAMP): setup.py constraints.txt
	$(call venv,$(VENV))
	@$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	@touch $@

run: $(STAMP) ## a gateway in this terminal, and how to try it
	@exec $(BIN)/gatewayctl dev --config etc/gateway.dev.ini

test: $(STAMP) ## every test; installs redis-server and rabbitmq-server if it may
	@exec $(BIN)/python -m tests

unit wire contracts live: $(STAMP) ## one suite of tests
	@exec $(BIN)/python -m tests $@

$(VENV)/.bench: $(STAMP)
	@$(BIN)/python $(PIP_INSTALL) -e '.[bench]'
	@touch $@

bench: $(VENV)/.bench ## all benchmarks beside all peers, an hour; writes docs/benchmarks
	@exec $(BIN)/python -m benchmarks all

bench-quick: $(STAMP) ## a minute or two: the floor, stock Autobahn, the gateway
	@exec $(BIN)/python -m benchmarks quick

bench-memory: $(STAMP) ## fail if a client takes a tenth more memory than is recorded
	@exec $(BIN)/python -m benchmarks memory

check: $(STAMP) ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

generate: $(STAMP) ## the SDKs' types and docs/messages.rst, from docs/asyncapi.yaml
	@$(BIN)/python -m clients.generate

format: $(STAMP) ## put the source in shape
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

install: ## into PREFIX; as root also its configuration and systemd unit
	$(call venv,$(PREFIX))
	@# What an earlier build left there would be installed with it, deleted modules too.
	@rm -rf build
	@$(PREFIX)/bin/python $(PIP_INSTALL) .
	@rm -rf build
	@echo "Installed gatewayd into $(PREFIX):"
	@echo "  $(PREFIX)/bin/twistd gateway --config FILE   $(PREFIX)/bin/gatewayctl --help"
	@if test "$$(id -u)" != 0; then \
	  echo "Not root, so no configuration and no systemd unit: see etc/ and systemd/ here."; exit 0; fi; \
	set -e; \
	install -d "$(SYSCONFDIR)/gatewayd" "$(UNITDIR)"; \
	if test -e "$(SYSCONFDIR)/gatewayd/gateway.ini"; then \
	  echo "Left as it was: $(SYSCONFDIR)/gatewayd/gateway.ini"; \
	else \
	  install -m 644 etc/gateway.ini "$(SYSCONFDIR)/gatewayd/gateway.ini"; \
	  echo "New: $(SYSCONFDIR)/gatewayd/gateway.ini"; \
	fi; \
	sed -e 's|/opt/gatewayd|$(PREFIX)|g' -e 's|/etc/gatewayd|$(SYSCONFDIR)/gatewayd|g' \
	  systemd/gateway.service > "$(UNITDIR)/gateway.service"; \
	echo "New: $(UNITDIR)/gateway.service"; \
	if test -d /run/systemd/system; then systemctl daemon-reload; fi; \
	echo "Next: put a secret where gateway.service says, then: systemctl enable --now gateway"

clean: ## take away all that the other commands made here
	rm -rf clients/js/node_modules clients/js/dist clients/js/build
	rm -rf $(VENV) build dist benchmarks/build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache _trial_temp* twisted/plugins/dropin.cache
	find gatewayd clients tests twisted benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
