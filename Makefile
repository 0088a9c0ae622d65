# Everything below runs with Go, make and a POSIX shell. -race wants a C compiler.
.DEFAULT_GOAL := help

# The modules with code of ours; the others under hack/ only pin tools.
CODE := . hack/controlplane hack/migration/forlife hack/tokens
MODULES = $(shell find . -name go.mod -not -path './.git/*' -exec dirname {} \; | sort)
FUZZTIME := 30s
LINT := $(CURDIR)/hack/tools/golangci-lint

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: controlplane
controlplane: ## Make sure of kube-apiserver and etcd, print their folder last (K8S_VERSION=1.37.2)
	@go run -C hack/controlplane .

# A KUBECONFIG of the environment is not meant for this: only that of the
# command line sends the demo to a cluster that is not its own.
ifeq ($(origin KUBECONFIG),command line)
DEMO_CLUSTER := -kubeconfig '$(KUBECONFIG)'
else
DEMO_ASSETS = assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" &&
endif

.PHONY: demo
demo: ## Three replicas, stopped, killed and frozen (KUBECONFIG=path: on your cluster; DEMOFLAGS=-v)
	@$(DEMO_ASSETS) go build -o bin/demo ./hack/demo && exec bin/demo -svg bin/demo.svg $(DEMO_CLUSTER) $(DEMOFLAGS)

.PHONY: bench
bench: ## Measure beside client-go and controller-runtime, in 10 minutes (BENCHFLAGS='-only handover')
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go build -o bin/bench ./hack/bench && exec bin/bench $(BENCHFLAGS)

.PHONY: test
test: ## Control plane, unit and integration tests with -race, a thousand simulated schedules, a minute's soak (TESTFLAGS=-v)
	@cd hack/controlplane && go test -race -shuffle=on $(TESTFLAGS) ./...
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go test -race -shuffle=on -p 2 -timeout 20m $(TESTFLAGS) ./... && \
	cd hack/migration/forlife && go test -race -shuffle=on $(TESTFLAGS) ./...
	@go test -C hack/tokens $(TESTFLAGS) ./...
	@go test -C leaderelection/simulation -count=1 -timeout 20m -sim.table -sim.schedules=200
	@$(MAKE) -s soak SOAKFLAGS='-duration 1m'

.PHONY: sim
sim: ## Ten thousand simulated schedules, beside client-go's, in half an hour (SIMFLAGS=-sim.schedules=100)
	@go test -C leaderelection/simulation -count=1 -timeout 0 -sim.table \
		-sim.schedules=2000 -sim.clientgo=2000 -sim.mixed=2000 $(SIMFLAGS)

.PHONY: soak
soak: ## Real processes, API servers and networks, harmed for ten minutes (SOAKFLAGS='-duration 1h')
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go build -o bin/soak ./hack/soak && exec bin/soak $(SOAKFLAGS)

.PHONY: fuzz
fuzz: ## Each fuzz test for a while (FUZZTIME=30s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$name" && go test $$dir -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

.PHONY: mutants
mutants: ## Put each mutation into a copy of the code: a test must catch it (MUTANTSFLAGS='-only release' or -check)
	@assets=$$(go run -C hack/controlplane .) && export KUBEBUILDER_ASSETS="$$assets" && \
	go run ./hack/mutants $(MUTANTSFLAGS)

.PHONY: verify
verify: check-format check-vet check-lint check-tidy check-docs check-imports check-size check-rooms check-words check-exported check-links check-alerts ## All checks below

.PHONY: check-format
check-format: ## gofmt has nothing to change
	@files=$$(gofmt -s -l .) && if [ -n "$$files" ]; then echo "not formatted (gofmt -s -w .):" && echo "$$files" && exit 1; fi

.PHONY: check-vet
check-vet: ## go vet
	@for dir in $(CODE); do (cd $$dir && go vet ./...) || exit 1; done

.PHONY: check-lint
check-lint: ## golangci-lint, at the version that hack/tools/go.mod pins
	@for dir in $(CODE); do (cd $$dir && $(LINT) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

.PHONY: check-tidy
check-tidy: ## go.mod and go.sum of every module are tidy
	@for dir in $(MODULES); do (cd $$dir && go mod tidy -diff) || { echo "not tidy: $$dir/go.mod"; exit 1; }; done

.PHONY: check-docs
check-docs: ## Every package and every exported name is documented
	@go test ./hack/check -count=1 -run Docs

.PHONY: check-imports
check-imports: ## Packages depend on what they may depend on
	@go test ./hack/check -count=1 -run Imports

.PHONY: check-size
check-size: ## Files, functions and the README are short, the top level is as designed
	@go test ./hack/check -count=1 -run 'Size|Layout'

.PHONY: check-rooms
check-rooms: ## Formulas, requests and client-go each in their file; nothing blocks while a mutex is held
	@go test ./hack/check -count=1 -run 'Places|Mutex'

.PHONY: check-words
check-words: ## Retired words do not return (hack/check/words.txt)
	@go test ./hack/check -count=1 -run Words

.PHONY: check-exported
check-exported: ## Exported names are recorded (hack/check/exported.txt), no helper exists twice
	@go test ./hack/check -count=1 -run Exported

.PHONY: check-links
check-links: ## Links, files and commands of pages exist, and code of pages compiles
	@go test ./hack/check -count=1 -run 'Links|Readme'

.PHONY: check-alerts
check-alerts: ## Prometheus' own library evaluates the alerts of hack/manifests, and reads the dashboard
	@cd hack/promcheck && go test ./... -count=1
