# All targets need Go, make and a POSIX shell. The flag -race also needs a C compiler.
.DEFAULT_GOAL := help

# The modules that "go vet" and golangci-lint check. Of the other modules under hack/,
# promcheck contains only tests, and the rest only pin the versions of tools.
CODE := . leaderelection/otel hack/controlplane hack/migration/leaderforlife hack/tokens hack/upstream
MODULES = $(shell find . -name go.mod -not -path './.git/*' -exec dirname {} \; | sort)
FUZZTIME := 30s
LINT := $(CURDIR)/hack/tools/golangci-lint

.PHONY: help
help: ## List all targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: controlplane
controlplane: ## Get kube-apiserver and etcd, and print their folder (K8S_VERSION=1.37.2)
	@go run -C hack/controlplane .

# The demo does not use KUBECONFIG from the environment, because that cluster may not be
# meant for a demo. It uses the user's cluster only if KUBECONFIG is set on make's command
# line, and otherwise starts a cluster of its own.
ifeq ($(origin KUBECONFIG),command line)
DEMO_CLUSTER := -kubeconfig '$(KUBECONFIG)'
else
DEMO_ASSETS = assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" &&
endif

.PHONY: demo
demo: ## Run three replicas, and stop, kill and freeze the leader (KUBECONFIG=path uses your cluster; DEMOFLAGS=-v)
	@$(DEMO_ASSETS) go build -o bin/demo ./hack/demo && exec bin/demo -svg bin/demo.svg $(DEMO_CLUSTER) $(DEMOFLAGS)

.PHONY: bench
bench: ## Compare with client-go and controller-runtime, in 10 minutes (BENCHFLAGS='-only handover')
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go build -o bin/bench ./hack/bench && exec bin/bench $(BENCHFLAGS)

.PHONY: test
test: ## Run unit and integration tests, a thousand simulated schedules and a soak test of one minute (TESTFLAGS=-v)
	@cd hack/controlplane && go test -race -shuffle=on $(TESTFLAGS) ./...
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go test -race -shuffle=on -p 2 -timeout 20m $(TESTFLAGS) ./... && \
	cd hack/migration/leaderforlife && go test -race -shuffle=on $(TESTFLAGS) ./...
	@go test -C leaderelection/otel -race -shuffle=on $(TESTFLAGS) ./...
	@go test -C hack/tokens $(TESTFLAGS) ./...
	@go test -C hack/upstream $(TESTFLAGS) ./...
	@go test -C leaderelection/simulation -count=1 -timeout 20m -sim.table -sim.schedules=200
	@$(MAKE) -s soak SOAKFLAGS='-duration 1m'

.PHONY: test-matrix
test-matrix: ## Run the tests with each pair of Kubernetes modules and controller-runtime, against each API server (MATRIXFLAGS='-pair 0.35 -server 1.37')
	@go run ./hack/matrix $(MATRIXFLAGS)

.PHONY: dist
dist: ## Build what a release consists of: notes, kubectl-lease for each platform, checksums, SBOM (VERSION=v0.1.0)
	@.ci/dist $(VERSION)

.PHONY: sim
sim: ## Run ten thousand simulated schedules and compare with client-go, in half an hour (SIMFLAGS=-sim.schedules=100)
	@go test -C leaderelection/simulation -count=1 -timeout 0 -sim.table \
		-sim.schedules=2000 -sim.clientgo=2000 -sim.mixed=2000 $(SIMFLAGS)

.PHONY: soak
soak: ## Run real processes and API servers, with faults, for ten minutes (SOAKFLAGS='-duration 1h')
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go build -o bin/soak ./hack/soak && exec bin/soak $(SOAKFLAGS)

# The image for the Pods contains the program bin/node, which therefore must be static.
NODE = assets=$$(go run -C hack/controlplane .) && programs=$$(go run -C hack/controlplane . node) && \
	export KUBEBUILDER_ASSETS="$$assets" NODE_ASSETS="$$programs" && CGO_ENABLED=0 go build -o bin/ ./hack/node ./leaderelection/kubectl-lease

.PHONY: node
node: ## Start a real Kubernetes node in namespaces of its own; needs Linux, root and apt-get
	@$(NODE) && exec bin/node

.PHONY: node-test
node-test: ## Kill, evict, drain and freeze leaders on a real node, beside controller-runtime (NODEFLAGS='-only oom -n 20')
	@$(NODE) && exec bin/node test $(NODEFLAGS)

.PHONY: upstream
upstream: ## Run controller-runtime's own test suites with manager.New, in three minutes (UPSTREAMFLAGS='-only builder' or -v)
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	cd hack/upstream && go run . $(UPSTREAMFLAGS)

.PHONY: fuzz
fuzz: ## Run each fuzz test for a limited time (FUZZTIME=30s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$name" && go test $$dir -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

.PHONY: mutants
mutants: ## Put faults into a copy of the code and check that a test catches each (MUTANTSFLAGS='-only release' or -check)
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go run ./hack/mutants $(MUTANTSFLAGS)

.PHONY: verify
verify: check-format check-vet check-lint check-tidy check-docs check-imports check-size check-rooms check-words check-exported check-links check-alerts check-cross check-api ## Run all checks below

.PHONY: check-format
check-format: ## Check that gofmt has nothing to change
	@files=$$(gofmt -s -l .) && if [ -n "$$files" ]; then echo "not formatted (gofmt -s -w .):" && echo "$$files" && exit 1; fi

.PHONY: check-vet
check-vet: ## Run go vet
	@for dir in $(CODE); do (cd $$dir && go vet ./...) || exit 1; done

.PHONY: check-lint
check-lint: ## Run golangci-lint, at the version that hack/tools/go.mod pins
	@for dir in $(CODE); do (cd $$dir && $(LINT) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

.PHONY: check-tidy
check-tidy: ## Check that go.mod and go.sum of every module are tidy
	@for dir in $(MODULES); do (cd $$dir && go mod tidy -diff) || { echo "not tidy: $$dir/go.mod"; exit 1; }; done

.PHONY: check-docs
check-docs: ## Check that every package and every exported name is documented
	@go test ./hack/check -count=1 -run Docs

.PHONY: check-imports
check-imports: ## Check that packages import only what they may import
	@go test ./hack/check -count=1 -run Imports

.PHONY: check-size
check-size: ## Check the size of files, functions and the README, and the layout of the repository
	@go test ./hack/check -count=1 -run 'Size|Layout'

.PHONY: check-rooms
check-rooms: ## Check that formulas, requests and client-go stay in their files, and that nothing blocks while it holds a mutex
	@go test ./hack/check -count=1 -run 'Places|Mutex'

.PHONY: check-words
check-words: ## Check that retired words are not used (hack/check/words.txt)
	@go test ./hack/check -count=1 -run Words

.PHONY: check-exported
check-exported: ## Check that exported names are recorded (hack/check/exported.txt) and that no helper function exists twice
	@go test ./hack/check -count=1 -run Exported

.PHONY: check-links
check-links: ## Check that links, files and commands in Markdown exist, and that its Go code compiles
	@go test ./hack/check -count=1 -run 'Links|Readme'

.PHONY: check-alerts
check-alerts: ## Test the alerts and the dashboard of hack/manifests with Prometheus' own library
	@cd hack/promcheck && go test ./... -count=1

# Each entry is a pair of GOOS and GOARCH. The packages under hack/ need not build elsewhere.
PLATFORMS := linux/arm64 linux/arm darwin/arm64 windows/amd64

.PHONY: check-cross
check-cross: ## Check that the libraries and kubectl-lease compile for other platforms (PLATFORMS=linux/arm)
	@for p in $(PLATFORMS); do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build ./leaderelection/... ./manager/... ./envtest/... || { echo "does not compile for $$p"; exit 1; }; \
	done

# Before the first tag, the diff of hack/check/exported.txt shows what changes.
.PHONY: check-api
check-api: ## Compare the API with the last tag, and print the version that a release needs
	@tag=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || { echo "no tag yet, nothing to compare"; exit 0; }; \
	go run golang.org/x/exp/cmd/gorelease@v0.0.0-20261113113407-e3970619a1a4 -base=$$tag
