# Two commands do everything on a fresh Debian 12: `make run` and `make test`.
JOBS ?= 2
BUILD := build
SANITIZE := build-sanitize

.PHONY: run test build setup sanitize bench clean
run: build
	$(BUILD)/bin/yado image build debian
	$(BUILD)/bin/yado run debian

build: setup
	cmake --preset release -DYADO_PRECOMPILE=ON
	cmake --build $(BUILD) -j $(JOBS)

# Tests share two cores with the guests that they start: labels run one after the other.
test: build
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -L 'unit|cpu|fuzz'
	$(BUILD)/bin/yado image build debian
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -L guest
	$(MAKE) sanitize

# The unit tests again, under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: setup
	cmake --preset sanitize -DYADO_PRECOMPILE=ON
	cmake --build $(SANITIZE) -j $(JOBS) --target unit_tests
	ctest --test-dir $(SANITIZE) --output-on-failure -j $(JOBS) -L unit

# The whole comparison, about an hour: start, idle and memory (bench.py), then the programs (suite.py), then guests side by side (consolidation.py). Parts of it: docs/performance.md.
bench: build
	tests/guest/prepare.sh $(BUILD)/guest
	bench/prepare.sh $(BUILD)/bench
	$(BUILD)/bin/yado image build debian
	python3 bench/bench.py --yado $(BUILD)/bin/yado --guest-dir $(BUILD)/guest
	python3 bench/suite.py --yado $(BUILD)/bin/yado --files $(BUILD)/bench --kernel $(BUILD)/guest/vmlinuz --out bench/results
	python3 bench/consolidation.py --yado $(BUILD)/bin/yado --files $(BUILD)/bench --out bench/results
	python3 bench/report.py bench/results/programs.json --svg docs/programs.svg --document docs/performance.md

setup:
	@tools/setup.sh

clean:
	rm -rf $(BUILD) $(SANITIZE)
