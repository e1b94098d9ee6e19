PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))

.PHONY: help proto lint test bench
help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

proto:  ## Regenerate shortener/gen from protos/
	rm -rf shortener/gen/url shortener/gen/user shortener/gen/analytics
	PATH="$(abspath $(BIN)):$$PATH" $(PYTHON) -m grpc_tools.protoc --proto_path=protos \
	  --python_betterproto_out=shortener/gen --include_imports --include_source_info \
	  --descriptor_set_out=shortener/gen/protos.desc \
	  url.proto user.proto analytics.proto

lint:  ## Style, types and import rules
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy
	$(BIN)lint-imports

test:  ## The whole test suite
	$(PYTHON) -m pytest
