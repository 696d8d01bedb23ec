# drctl: `make help` lists what there is.
SHELL := /bin/bash
GO ?= go
export GOFLAGS ?= -buildvcs=false

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

FUZZTIME ?= 10m
TEST_TIMEOUT ?= 60m

.PHONY: help build demo test check lab bench fuzz matrix docs lint vuln fmt release clean deps parts

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

build: ## build bin/drctl, and bin/kubectl-dr beside it
	@$(GO) build -ldflags '$(LDFLAGS)' -o bin/drctl ./cmd/drctl
	@ln -sf drctl bin/kubectl-dr

demo: ## the main job on real input: builds drctl and the lab, shows, and removes what it started
	@echo 'Building the demo itself (about 3 minutes from cold on two cores) …'
	@$(GO) build -o bin/drlab ./internal/lab/cmd/drlab
	@./bin/drlab demo

lab: ## start the whole lab and keep it until Ctrl-C
	@$(GO) build -o bin/drlab ./internal/lab/cmd/drlab
	@./bin/drlab up

deps: ## install the Debian packages that the lab needs (root), or say which are missing
	@./scripts/deps.sh

parts: deps
	@$(GO) build -o bin/drlab ./internal/lab/cmd/drlab
	@./bin/drlab build

test: deps parts build ## everything: unit, golden, fuzz seeds, lab, peers, lint, known vulnerabilities
	$(GO) vet ./...
	$(GO) test -timeout $(TEST_TIMEOUT) ./...
	@$(MAKE) --no-print-directory lint vuln

check: ## format, lint, vet, and the tests that need no lab
	@test -z "$$(gofmt -l cmd internal scripts)" || { echo 'gofmt:'; gofmt -l cmd internal scripts; exit 1; }
	$(GO) vet ./...
	@$(MAKE) --no-print-directory lint
	$(GO) test $$($(GO) list -f '{{.ImportPath}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}' ./... | grep -v 'drctl/internal/lab' | cut -d' ' -f1)

lint: ## golangci-lint, with the import directions
	@$$(./scripts/tool.sh golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0) run ./...

vuln: ## known vulnerabilities in what drctl calls
	@./scripts/vuln.sh

fmt: ## format
	@gofmt -w cmd internal scripts

bench: build parts ## compare with the tools that an operator would use instead; writes bench/*.json
	@$(GO) build -o bin/drbench ./internal/bench/cmd/drbench
	@./bin/drbench -drctl bin/drctl -out bench $(WORK)

OP ?=
matrix: build parts ## kill and spoil drctl at every request; OP=cnpg-recover, pvc-restore or bootstrap; takes hours (QUICK=1: minutes)
	@$(GO) build -o bin/drmatrix ./internal/lab/cmd/drmatrix
	@./bin/drmatrix -op "$(OP)" -program bin/drctl $(if $(QUICK),-quick)

fuzz: ## fuzz every parser for FUZZTIME each
	@FUZZTIME=$(FUZZTIME) ./scripts/fuzz.sh

docs: ## write docs/ and the goldens anew from the commands
	$(GO) test ./internal/cli -update

release: ## static binaries for six platforms with checksums, in dist/
	@VERSION='$(VERSION)' LDFLAGS='$(LDFLAGS)' ./scripts/release.sh

clean: ## remove what was built here
	@rm -rf bin dist
