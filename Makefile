# Everything here is one command that could be typed by hand; what takes more is in scripts/.
GO ?= go

# Kernel clients need root and the packages of scripts/deps.sh. Where both are to be had, a test that cannot run is a failure.
ifeq ($(shell id -u),0)
ifneq ($(shell command -v apt-get),)
export HOLDFAST_NO_SKIP = 1
endif
endif

# All but the tests that only run a program, in which the race detector of the test sees nothing.
PACKAGES = $(shell $(GO) list ./... | grep -v -e /conformance/kernel -e /conformance/cluster -e /conformance/containers -e /conformance/mutants -e /conformance/peers)

FUZZTIME ?= 10m
KILLS ?= 50
FAULTS ?= 500
ROUNDS ?= 100000
OPERATIONS ?= 100000
LOCKS ?= 1000000

.PHONY: build deps test conformance mutants conformance-peers containers soak fuzz bench lint

build:
	$(GO) build -o bin/holdfast ./cmd/holdfast

deps:
	scripts/deps.sh

# Kernel tests build and run the program, which go's cache of test results does not see: hence -count=1.
test: deps
	$(GO) vet ./...
	$(GO) test -race -timeout 30m $(PACKAGES)
	$(GO) test -timeout 20m ./statesync/sim
	cd conformance/example && $(GO) vet ./... && $(GO) test -count=1 ./...
	$(GO) test -run 'TestParse|TestDescribed|TestCompose|TestApply|TestFollow' ./conformance/mutants
	$(GO) test -run 'TestRows|TestTables' ./conformance/peers
	HOLDFAST_CONFORMANCE=1 $(GO) test -count=1 -parallel 4 -timeout 40m -run 'TestHoldfast(Redis|Spread|Chaos)' ./conformance/suite
	$(GO) test -count=1 -p 1 -parallel 3 -timeout 40m ./conformance/kernel/... ./conformance/cluster/...

# The whole suite against a gateway on Redis, three gateways with requests spread over them, and three of which one is killed every
# 20 tests.
conformance: deps
	HOLDFAST_CONFORMANCE=1 $(GO) test -count=1 -p 1 -parallel 4 -timeout 2h -v -run 'TestHoldfast' ./conformance/suite

# Deliberate faults in the server: which test of the conformance suite notices each.
mutants:
	$(GO) test -count=1 -parallel 4 -timeout 1h -v ./conformance/mutants

# The conformance suite against Linux' own server and NFS-Ganesha.
conformance-peers: deps
	$(GO) test -count=1 -timeout 2h -v ./conformance/peers

# docker-compose.yml, brought up as it is, with images made here.
containers: deps
	command -v dockerd >/dev/null || scripts/deps.sh docker.io docker-compose iptables
	$(GO) test -count=1 -timeout 30m -v ./conformance/containers

# Kills of a gateway under each load and minor version, KILLS in a row. Of several gateways: FAULTS of all kinds under load, and as many
# whose stalls are measured; ROUNDS of clients that race for names; OPERATIONS whose results one server could have given; takeovers with LOCKS locks held.
soak: deps
	HOLDFAST_SIM_SEEDS=1000000 $(GO) test -count=1 -parallel 3 -timeout 5h -v -run TestSeeds ./statesync/sim
	HOLDFAST_KILLS=$(KILLS) HOLDFAST_FAULTS=$(FAULTS) HOLDFAST_STALLS=$(FAULTS) HOLDFAST_GATEWAY_LEASE=5s HOLDFAST_NATS_GONE=1m \
		HOLDFAST_ROUNDS=$(ROUNDS) HOLDFAST_LOCKS=$(LOCKS) HOLDFAST_OPERATIONS=$(OPERATIONS) \
		$(GO) test -count=1 -parallel 3 -timeout 8h -v -p 1 -run 'Kill|Soak|Faults|Stalls|Mutex|Takeover|Linear' ./conformance/...

# Each fuzz target of each package for FUZZTIME.
fuzz:
	scripts/fuzz.sh $(FUZZTIME)

bench: deps build
	scripts/bench.sh

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "lint: these files are not gofmt'ed"; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
