PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))

.PHONY: help proto lint lock sbom test torture bench fuzz
help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

proto:  ## Regenerate shortener/gen from protos/
	rm -rf shortener/gen/url shortener/gen/user shortener/gen/analytics
	PATH="$(abspath $(BIN)):$$PATH" $(PYTHON) -m grpc_tools.protoc --proto_path=protos \
	  --python_betterproto_out=shortener/gen --include_imports --include_source_info \
	  --descriptor_set_out=shortener/gen/protos.desc \
	  url.proto user.proto analytics.proto
	$(PYTHON) -m grpc_tools.protoc --proto_path=protos --descriptor_set_out=shortener/gen/grpc.desc \
	  grpc/health/v1/health.proto grpc/reflection/v1/reflection.proto grpc/reflection/v1alpha/reflection.proto

lint:  ## Style, types and import rules
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy
	$(BIN)lint-imports

LOCK := pip-compile -q --generate-hashes --no-annotate --strip-extras --allow-unsafe --no-header \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
GROUP = $(PYTHON) -c "import sys, tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups'][sys.argv[1]], sep='\n')"

lock:  ## Pin the newest allowed versions by hash (needs pip-tools); without network addresses
	$(GROUP) build > build.in && $(GROUP) dev > dev.in
	$(BIN)$(LOCK) -U -o requirements.lock pyproject.toml build.in
	$(BIN)$(LOCK) -U -c requirements.lock -o requirements-dev.lock pyproject.toml build.in dev.in
	rm build.in dev.in

sbom:  ## Write sbom.json: what requirements.lock pins, as CycloneDX; the same bytes each time, without network
	$(BIN)cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json

test:  ## The whole test suite
	$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadfile

torture:  ## The long forms of the tests of promises, an hour or so; ARGS="-k crash" for a part
	$(PYTHON) -m pytest tests/promises --torture --timeout 7200 -p no:randomly $(ARGS)

bench:  ## Measure beside nginx, aiohttp, grpcio and grpclib (needs wrk, h2load and nginx)
	$(PYTHON) -m tests.bench

fuzz:  ## Fuzz every reader, ten minutes each (needs atheris)
	for target in frames hpack connection protobuf json head journal destination; do \
	  $(PYTHON) -m tests.fuzz $$target --seconds 600 || exit 1; \
	done
