# Needs Go, git and make; `make test` also wants a C compiler, `make docker` Docker.
# `make help` lists the targets.

MODULE  := github.com/parachute-proxy/parachute
PREFIX  ?= /usr/local
BIN     := bin/parachute

# The version that `parachute version` reports. A source archive or a Docker
# build context has no .git: pass VERSION=v1.2.3 there.
VERSION ?= $(or $(if $(wildcard .git),$(shell git describe --tags --always --dirty 2>/dev/null)),dev)

# go.mod says which Caddy we build on; nothing else does.
CADDY_VERSION := $(shell sed -n 's|.*github.com/caddyserver/caddy/v2 \(v[^ ]*\).*|\1|p' go.mod)

# One set of flags for builds, tests and linters, so that Caddy is compiled once
# and then comes from Go's build cache. The tags are xcaddy's own defaults: they
# leave out the databases that only Caddy's internal CA could be moved to.
TAGS     := nobadger,nomysql,nopgx
GO_FLAGS := -trimpath -tags $(TAGS) -pgo=off
LDFLAGS  := -w -s -X $(MODULE)/internal/version.version=$(VERSION)

# What the compiler optimises bin/parachute for: a profile of the benchmark, which
# `make pgo` renews. PGO=off builds faster, since Caddy is then compiled as for the
# tests and not once more.
PGO ?= $(CURDIR)/caddy/parachute/default.pgo

# Modules of their own, so that nothing they need gets into a Caddy build. The last only
# says how kamal-proxy is built: it has no package.
MODULES := tools bench nats integration/clients integration/acme integration/kamal integration/parsers integration/plugins
ALL_MODULES := $(MODULES) bench/kamal-proxy

# What `make cross` builds for, and what of it: the black-box tests need Linux.
PLATFORMS := linux/arm64,darwin/arm64,windows/amd64
PORTABLE  := . ./internal/... ./caddy/... ./example/...

# What the fuzzers get, each.
FUZZTIME ?= 30s

# More flags for `make reliability`, such as -times 5.
RELIABILITY_FLAGS ?=
# More flags for the benchmark; `make bench BENCH_FLAGS=-h` lists them.
BENCH_FLAGS ?=

# More flags for docker build, such as --network host.
DOCKER_FLAGS ?=

TOOL := go tool -modfile=tools/go.mod

# cgo off as in xcaddy's builds, again for the sake of one cache; no go.work of
# a parent directory may change what is built.
export CGO_ENABLED := 0
export GOWORK := off

.DELETE_ON_ERROR:
.PHONY: build install uninstall test test-integration test-root $(MODULES:%=test-%) test-other-way test-apps lint cross fmt fuzz bench bench-quick bench-go reliability pgo demo docker docker-kamal clean help FORCE

# Only what `run` needs: see caddy/lean. xcaddy always puts all of Caddy's modules in.
LEAN ?=

# With the fleet on NATS: make NATS=1. See docs/FLEET.md.
NATS ?=

build: $(BIN) ## build bin/parachute: Caddy and this plugin, put together by xcaddy

# What goes into the binary: the plugin's sources, and whatever they embed.
SOURCES := go.mod go.sum $(wildcard $(PGO)) $(filter-out %_test.go,$(wildcard *.go caddy/lean/*.go)) \
	$(shell find internal $(if $(NATS),nats) -type f ! -name '*_test.go' ! -path '*/testdata/*' 2>/dev/null)

# The explicit v0.0.0 keeps Go from looking for a published version of the
# plugin; "=." then takes it from here. xcaddy runs on this machine whatever
# GOOS and GOARCH it builds for, which `go tool` alone would not arrange.
$(BIN): $(SOURCES) bin/.inputs
	@[ -z "$(LEAN)" ] || [ -z "$(NATS)" ] || { echo 'LEAN and NATS do not go together.' >&2; exit 1; }
	@set -x; if [ -n "$(LEAN)" ]; then \
		exec go build -buildvcs=false $(GO_FLAGS) -pgo=$(PGO) -ldflags "$(LDFLAGS)" -o $@ ./caddy/lean; \
	fi; \
	xcaddy=$$(GOOS= GOARCH= $(TOOL) -n xcaddy) && \
	XCADDY_GO_BUILD_FLAGS='$(GO_FLAGS) -pgo=$(PGO) -ldflags "$(LDFLAGS)"' \
	$$xcaddy build $(CADDY_VERSION) --with $(MODULE)@v0.0.0=. $(if $(NATS),--with $(MODULE)/nats@v0.0.0=./nats) --output $@

# Inputs that are not files. Written only when they differ, so that a new
# version, toolchain or platform, or a deleted source, makes the binary stale.
bin/.inputs: FORCE
	@mkdir -p bin
	@inputs="$(VERSION) $(LEAN) $(NATS) $(CADDY_VERSION) $(GO_FLAGS) $(PGO) $(SOURCES) $$(go env GOVERSION GOOS GOARCH)"; \
	echo "$$inputs" | cmp -s - $@ || echo "$$inputs" >$@

# What has been built, as it is: root's PATH often has no Go, and root has no business
# in the build cache. The manual and the completions come from the binary, so they are
# left out when that is for another kind of machine.
SHARE := $(DESTDIR)$(PREFIX)/share
COMPLETIONS := bash-completion/completions/parachute zsh/site-functions/_parachute fish/vendor_completions.d/parachute.fish

install: ## install bin/parachute to PREFIX/bin (default /usr/local), and what belongs to it
	@[ -f $(BIN) ] || $(MAKE) build
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/parachute
	@if ! $(BIN) version --admin /nowhere >/dev/null 2>&1; then \
		echo 'bin/parachute does not run here: the manual and the completions are left out.' >&2; exit 0; \
	fi; set -ex; umask 022; \
	install -d $(SHARE)/man/man8 $(dir $(addprefix $(SHARE)/,$(COMPLETIONS))); \
	$(BIN) manpages $(SHARE)/man/man8; \
	for file in $(COMPLETIONS); do \
		shell=$${file%%[-/]*}; $(BIN) completion "$$shell" >$(SHARE)/$$file; \
	done
	@[ "$$(uname -s)" = Linux ] || exit 0; set -ex; umask 022; cd $(DESTDIR)$(PREFIX); \
	install -d lib/systemd/system lib/sysusers.d lib/tmpfiles.d; \
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' $(CURDIR)/docs/parachute.service >lib/systemd/system/parachute.service; \
	install -m 0644 $(CURDIR)/docs/parachute.socket lib/systemd/system/parachute.socket; \
	install -m 0644 $(CURDIR)/docs/parachute.sysusers lib/sysusers.d/parachute.conf; \
	install -m 0644 $(CURDIR)/docs/parachute.tmpfiles lib/tmpfiles.d/parachute.conf

uninstall: ## remove what install has installed; the state stays
	rm -f $(DESTDIR)$(PREFIX)/bin/parachute $(addprefix $(SHARE)/,$(COMPLETIONS)) \
		$(SHARE)/man/man8/parachute.8 $(SHARE)/man/man8/parachute-*.8 \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/parachute.service $(DESTDIR)$(PREFIX)/lib/systemd/system/parachute.socket \
		$(DESTDIR)$(PREFIX)/lib/sysusers.d/parachute.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/parachute.conf

# The race detector needs cgo, and that a C compiler. The proxy that the tests start, which is
# built once for all of them, has it if the tests have it; what runs other commands than `run` has not,
# since it is started a thousand times. The tests run in another order each time; a failure names the
# seed, for -shuffle. Vet is `make lint`'s. Many tests wait more than they compute, so two modules are
# tested at a time, and one package of each: more at once, and what a test gives a proxy time for is not
# enough on a machine with two cores.
test: ## run every test, the integration tests included, under the race detector
	@cc=$$(go env CC); \
	if command -v "$${cc%% *}" >/dev/null; then race=-race; export CGO_ENABLED=1; \
	else echo "WARNING: no C compiler ($$cc): testing WITHOUT the race detector." >&2; fi; \
	set -ex; \
	if [ -z "$$PARACHUTE_BIN" ]; then \
		programs=$$(mktemp -d); trap 'rm -r "$$programs"' EXIT; \
		go build $$race -buildvcs=false $(GO_FLAGS) -o "$$programs/parachute" ./caddy/parachute; \
		export PARACHUTE_BIN="$$programs/parachute"; \
		if [ -n "$$race" ]; then \
			CGO_ENABLED=0 go build -buildvcs=false $(GO_FLAGS) -o "$$programs/command" ./caddy/parachute; \
			export PARACHUTE_COMMAND="$$programs/command"; \
		fi; \
	fi; \
	$(MAKE) --no-print-directory -j2 --output-sync=target test-integration $(MODULES:%=test-%) test-other-way test-root \
		CGO_ENABLED="$$CGO_ENABLED" TEST_FLAGS="$$race -shuffle=on -vet=off $(GO_FLAGS)"

# These take longest, so they are first.
test-integration:
	go test $(TEST_FLAGS) -p 1 -timeout 30m ./integration/...

test-root:
	go test $(TEST_FLAGS) -p 1 -timeout 30m $$(go list $(GO_FLAGS) ./... | grep -v /integration)

$(MODULES:%=test-%): test-%:
	go -C $* test $(TEST_FLAGS) -p 1 -timeout 20m ./...

# What clients have to get, they have to get from services with handlers, and from the server of
# Go's library, too. Races are looked for the other way.
test-other-way:
	PARACHUTE_TEST_HANDLERS=1 PARACHUTE_TEST_EDGE=off PARACHUTE_BIN="$${PARACHUTE_COMMAND:-$$PARACHUTE_BIN}" CGO_ENABLED=0 \
		go -C integration/clients test $(filter-out -race,$(TEST_FLAGS)) -timeout 10m ./...

# The servers that are not installed are skipped. With Debian's packages: gunicorn uvicorn
# python3-django puma ruby-railties ruby-actionpack nodejs php-cli nginx
test-apps: ## deploy to, restart and kill the application servers that are installed
	PARACHUTE_APPS=1 go test -v -count=1 -vet=off $(GO_FLAGS) -timeout 20m ./integration/apps

lint: ## check formatting, vet, staticcheck, tidy go.mod files, what we depend on, and the order of files
	@unformatted=$$($(TOOL) gofumpt -l .) && [ -z "$$unformatted" ] || \
		{ echo 'not formatted (make fmt mends it):'; echo "$$unformatted"; exit 1; }
	go mod tidy -diff
	@set -ex; for module in $(ALL_MODULES); do go -C $$module mod tidy -diff; done
	go -C tools run $(GO_FLAGS) ./checkdeps ..
	go -C tools run $(GO_FLAGS) ./checkorder ../internal/proxy ../internal/forward
	go vet $(GO_FLAGS) ./...
	@set -ex; for module in $(MODULES); do go -C $$module vet $(GO_FLAGS) ./...; done
	GOFLAGS='-trimpath -pgo=off' $(TOOL) staticcheck -tags $(TAGS) ./...
	@set -ex; staticcheck=$$($(TOOL) -n staticcheck); for module in $(MODULES); do \
		(cd $$module && GOFLAGS='-trimpath -pgo=off' $$staticcheck -tags $(TAGS) ./...); \
	done

# What is not of this system, tests included, is at least held by the compiler and by vet.
# A build for each would take two minutes and find nothing more: it is Caddy that takes that long.
cross: ## type-check for the other systems that parachute runs on
	go -C tools run $(GO_FLAGS) ./checkplatforms -tags $(TAGS) .. $(PLATFORMS) $(PORTABLE)

fmt: ## format all Go code
	$(TOOL) gofumpt -l -w .

# `go test -fuzz` takes one target at a time, so each is run in turn. An input counts as new also
# when something else in the process did something new meanwhile, as goroutines of Caddy do. Without
# a bound, the fuzzer would do nothing but minimise such inputs.
fuzz: ## run every fuzz target for FUZZTIME (default 30s) each
	@grep -r -o --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|/[^/]*:func | |' | sort | \
	while read -r dir target; do \
		echo "== $$dir $$target"; \
		go -C "$$dir" test -vet=off $(GO_FLAGS) -run '^$$' -fuzz "^$$target\$$" -fuzzminimizetime 100x -fuzztime $(FUZZTIME) . </dev/null || exit 1; \
	done

bench: build ## measure parachute beside Caddy, kamal-proxy, nginx and HAProxy
	go -C bench run $(GO_FLAGS) . -parachute $(CURDIR)/$(BIN) $(BENCH_FLAGS)

reliability: build ## count what parachute, Caddy, kamal-proxy, nginx and HAProxy lose by reloads, upgrades and restarts
	go -C bench run $(GO_FLAGS) ./reliability -parachute $(CURDIR)/$(BIN) -page $(CURDIR)/docs/RELIABILITY.md $(RELIABILITY_FLAGS)

bench-quick: build ## see whether the benchmark works
	go -C bench run $(GO_FLAGS) . -parachute $(CURDIR)/$(BIN) -quick

# The shares of the scenarios in the profile are those of a busy web application.
pgo: build ## renew the profile that bin/parachute is optimised for
	@profiles=$$(mktemp -d) && \
	go -C bench run $(GO_FLAGS) . -parachute $(CURDIR)/$(BIN) -peers none -rounds 1 -duration 6s -profiles "$$profiles" \
		-run 'get/64|response/10k|response/1m|upload/1m|tls/h1|tls/h2|log/64' && \
	go tool pprof -proto "$$profiles"/*.pprof >$(CURDIR)/caddy/parachute/default.pgo && \
	rm -r "$$profiles"

bench-go: ## run the Go benchmarks of the engine
	go test -vet=off $(GO_FLAGS) -run '^$$' -bench . -benchmem -cpu 1,2,4,8 ./internal/...

demo: build ## watch a deploy under load, on this machine
	PARACHUTE_BIN=$(CURDIR)/$(BIN) go run $(GO_FLAGS) ./integration/demo

docker: ## build the images `parachute` and `parachute-example`
	docker build $(DOCKER_FLAGS) --build-arg VERSION=$(VERSION) -t parachute .
	docker build $(DOCKER_FLAGS) --build-arg VERSION=$(VERSION) --target example -t parachute-example .

docker-kamal: ## build the image `parachute-kamal`, for Kamal in the place of kamal-proxy
	docker build $(DOCKER_FLAGS) --build-arg VERSION=$(VERSION) --target parachute-kamal -t parachute-kamal .

clean: ## remove what was built
	rm -rf bin buildenv_*

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | \
	while read -r target text; do printf '  %-11s %s\n' "$$target" "$$text"; done
