# The targets that people and CI use. `make test` is the one command that tests everything, and all that CI runs.

.DEFAULT_GOAL := build
.PHONY: build test check unit fuzz integration bench proof

# build makes the static binary, ./kbroker.
build:
	CGO_ENABLED=0 go build -trimpath -o kbroker ./cmd/kbroker

# test installs what the tests need (Debian packages, as root or with sudo) and runs every check and every test.
# Its last line is "N passed, N failed"; it fails if anything did, was skipped or was missing.
test:
	go run ./integration/suite

# check, unit, fuzz and integration are the parts of test, for the loop of change and look. Each installs what it needs.
check:
	go run ./integration/suite format vet staticcheck govulncheck
unit:
	go run ./integration/suite unit
fuzz:
	go run ./integration/suite fuzz
integration:
	go run ./integration/suite setup integration

# bench measures kbroker against Apache Kafka and the limit server: half an hour; see integration/bench/RESULTS.md.
bench:
	go run ./integration/bench/run

# proof is the long form of integration/power, as root: 50 power cuts of two kinds, 100 kills, and the negative controls.
# What it shows is appended to integration/PROOF.md; with the seed of a run that was stopped it goes on there.
SEED ?= 1
POWER = go test -count=1 -v -timeout 0 ./integration/power -seed $(SEED) -proof ../PROOF.md
proof:
	$(POWER) -run TestPowerCuts -rounds 5
	$(POWER) -run TestKills -rounds 10
	$(POWER) -run TestNegativeControls
