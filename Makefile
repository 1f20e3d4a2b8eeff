# Two commands do everything on a fresh Debian 12: `make run` and `make test`.
JOBS ?= 2
BUILD := build
SANITIZE := build-sanitize

.PHONY: run test build setup sanitize bench clean
run: build
	$(BUILD)/bin/yado image build debian
	$(BUILD)/bin/yado run debian

build: setup
	cmake --preset release
	cmake --build $(BUILD) -j $(JOBS)

# Tests share two cores with the guests that they start: labels run one after the other, guests one at a time.
test: build
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -L 'unit|cpu|fuzz'
	$(BUILD)/bin/yado image build debian
	ctest --test-dir $(BUILD) --output-on-failure -j 1 -L guest
	$(MAKE) sanitize

# The unit tests again, under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: setup
	cmake --preset sanitize
	cmake --build $(SANITIZE) -j $(JOBS) --target unit_tests
	ctest --test-dir $(SANITIZE) --output-on-failure -j $(JOBS) -L unit

bench: build
	tests/guest/prepare.sh $(BUILD)/guest
	python3 bench/bench.py --yado $(BUILD)/bin/yado --guest-dir $(BUILD)/guest

setup:
	@tools/setup.sh

clean:
	rm -rf $(BUILD) $(SANITIZE)
