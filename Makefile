# Needs Go and nothing else, but where a target says so. `make help` lists them.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD    := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
LINT     := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
RELEASES := linux/amd64 linux/arm64 darwin/arm64
FUZZTIME ?= 20s
# Tests at once in each package, and packages at once: most tests wait for something and need no
# processor.
PARALLEL ?= 8
PACKAGES ?= 3
# What to pass on: make run ARGS="--break second", make bench ARGS="...".
ARGS     ?=

.PHONY: help build run demo test race bench pgo lint torture fuzz interop release packages clean

help: ## What there is to make.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do printf '  %-9s %s\n' "$$name" "$$what"; done

build: ## ./akubra, a static binary.
	$(BUILD) -o akubra .

run: build ## Build, and serve in front of two S3 backends in ./data, to try it out. ARGS="--listen :9090" is elsewhere.
	@./akubra demo $(ARGS)

demo: run ## The same as run.

test: ## All tests that need only Go.
	go vet ./...
	go test -vet=off -shuffle=on -p $(PACKAGES) -parallel $(PARALLEL) -timeout 20m ./...

race: ## The same tests with the race detector. Needs a C compiler.
	CGO_ENABLED=1 go test -race -shuffle=on -parallel $(PARALLEL) -timeout 20m ./...

bench: build ## Load against stub backends, beside nginx where it is installed. ARGS="-scenario mix" is another one.
	go run ./bench $(ARGS)

pgo: build ## A new default.pgo, the profile by which the compiler optimises, from the production mix.
	go run ./bench -scenario mix -peers akubra -rounds 1 -duration 30s -profile default.pgo

lint: ## Formatting, vet, golangci-lint with the import rules (.golangci.yml). The first time takes minutes.
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "not gofmt'ed:" $$unformatted; exit 1; fi
	go vet ./...
	$(LINT) run

torture: ## 10,000 random histories of repair's model; kill the proxy 200 times under load, repair, and compare; 160 times beside conditional writes; 20 restarts and reloads under load. Minutes.
	go test -run 'TestR35(Random|Overlapping)' -timeout 60m ./internal/model -seeds 10000
	go test -run 'Torture' -v -timeout 30m ./internal/cli -full
	go test -run 'Torture' -v -timeout 30m ./internal/linear -full
	go test -run 'TestBinary/R22' -v -timeout 30m ./internal/cli -full

fuzz: ## Each fuzz target for FUZZTIME (20s).
	@targets=$$(go test -list '^Fuzz' ./...) && echo "$$targets" | \
	awk '/^Fuzz/ { names[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, names[i]; n = 0 }' | \
	while read -r pkg name; do \
		echo "$$pkg $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$pkg" || exit 1; \
	done

interop: build ## Real S3 clients through the proxy to real S3 servers. Installs Debian packages that are missing.
	AKUBRA=$(CURDIR)/akubra ./interop/run.sh

release: ## Everything that is released, in dist/: binaries, deb, rpm, image, Helm chart, SBOMs, checksums. Linux, macOS.
	rm -rf dist
	VERSION=$(VERSION) RELEASES="$(RELEASES)" deploy/release.sh dist

packages: release ## Makes the release again, compares, and installs, runs and removes it. Debian, as root.
	deploy/test.sh dist $(ARGS)

clean: ## What was built here. ./data, the demo's objects, stays.
	rm -rf akubra dist
