# tools/targets.mk: everything a developer can ask for besides `all`. Included by the Makefile; listed by `make help`.
#
# What needs packages of the system (test, demo, check, asan, tsan) calls tools/setup by itself. What only builds never
# installs: it names what is missing and stops.

PYTHON ?= /usr/bin/python3
CLANG  ?= clang
FUZZ_SECONDS ?= 60
JOBS   ?= $(shell nproc)

# ---- Before a build: what is missing? (0.05 s; skipped where setup comes first, or nothing is built)
no_build := setup preflight demo test check asan tsan system torture bench format help clean
ifneq ($(filter-out $(no_build),$(or $(MAKECMDGOALS),all)),)
  ifeq ($(MAKELEVEL),0)
    missing := $(shell tools/setup missing build)
    ifneq ($(missing),)
      $(error missing: $(missing). To install: make setup)
    endif
  endif
endif

# As many jobs as cores unless told otherwise (-jN reaches sub-makes through the environment).
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
  MAKEFLAGS += -j$(JOBS)
endif

.PHONY: setup preflight
setup:  ## install what building and testing need (root or sudo; quick when done)
	@tools/setup test
preflight:  ## name what is missing for a build
	@tools/setup missing build

# ---- Tests without a broker
CONFORMANCE := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/conformance/test_*.c))
ON_BROKERS  := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/conformance/conformance_*.c))
FUZZERS     := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
JUDGE       := $(BUILD)/tests/rig/judge_kafka

ifeq ($(FUZZING),)
$(FUZZERS): $(BUILD)/tests/fuzz/replay.o
else
$(FUZZERS): private CFLAGS += -fsanitize=fuzzer
endif

# A client of Kafka that is not ours: librdkafka and nothing of bailey.
$(JUDGE): tests/support/rig/judge_kafka.c
	@mkdir -p $(@D)
	$(CC) -std=c17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-ignored-qualifiers $(if $(DEV),-Werror) -MMD -MP \
	  $(shell $(PKG_CONFIG) --cflags rdkafka) -o $@ $< $(shell $(PKG_CONFIG) $(RDKAFKA_STATIC) --libs rdkafka)

# These sweep failures and sizes of a library that the thread sanitizer cannot see into, on one thread, and take minutes under it.
UNSEEN := $(if $(filter thread,$(SAN)),test_store_faults test_store_rocksdb)
UNIT_RUN = $(filter-out $(UNSEEN:%=$(BUILD)/tests/unit/%),$(UNITS))

.PHONY: test unit system tests
tests: all $(UNITS) $(SIMS) $(CONFORMANCE) $(ON_BROKERS) $(FUZZERS) $(JUDGE) $(CRASHING)
unit: all $(SIMS) $(UNIT_RUN) $(CONFORMANCE) $(FUZZERS) $(if $(SAN),,$(HUNT))  ## tests that need no broker
	@$(PYTHON) tests/support/run_units.py --build $(BUILD) $(if $(SAN),--jobs $(JOBS)) $(SIMS) $(if $(SAN),,$(HUNT)) tests/torture/test_ledger.py $(UNIT_RUN) $(CONFORMANCE) --replay $(FUZZERS)
system: all $(JUDGE) $(ON_BROKERS) $(if $(SAN),,$(CRASHING))  ## tests on real brokers (STORY=name for one)
	@$(PYTHON) tests/system/run.py --build $(BUILD) $(STORY)
test:  ## all tests: unit, then system (calls setup)
	@tools/setup test
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory system

# ---- The simulation: SEED alone replays one seed (TRACE=1: all that happens in it); without SEED it begins anywhere
.PHONY: sim sim-mutations
sim: $(SIMS)  ## simulate faults on virtual time: RUNS=20000 new seeds, or SEED=n [TRACE=1]
	@$< --seed $(or $(SEED),$(shell date +%s)00000) --runs $(or $(RUNS),$(if $(SEED),1,20000)) --jobs $(JOBS) $(if $(TRACE),--trace)
sim-mutations: $(HUNT)
	@$(HUNT)

# ---- The torture: run n of RUNS has seed SEED + n - 1, and tells how it is run again
.PHONY: torture
torture:  ## kill bailey between real brokers, and count: ROUTE=kafka-amqp RUNS=10 SEED=n ORDER=key POISON=1; docs/evidence.md
	@tools/setup test >&2
	@$(MAKE) --no-print-directory all $(JUDGE) $(CRASHING) >&2
	@$(PYTHON) tests/torture/main.py --build $(BUILD) $(if $(ROUTE),--route $(ROUTE)) $(if $(RUNS),--runs $(RUNS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) $(if $(RATE),--rate $(RATE)) $(if $(DEDUP),--dedup $(DEDUP)) \
	  $(if $(ORDER),--order $(ORDER)) $(if $(POISON),--poison $(POISON)) $(if $(JSON),--json)

# ---- Checks
SOURCES := $(wildcard gateway/*.c gateway/*/*.[ch] include/bailey/*.h connectors/*/*.[ch] stores/*/*.[ch] bench/*.[ch] \
             tests/*/*.[ch] tests/support/rig/*.[ch])
TIDIED  := $(patsubst %.c,$(BUILD)/tidy/%,$(filter gateway/%.c connectors/%.c stores/%.c,$(SOURCES)))

.PHONY: check format tidy
check:  ## format, warnings as errors, clang-tidy, layers, generated files, examples (calls setup)
	@tools/setup test
	@tools/check
format:  ## rewrite all C files as .clang-format says
	clang-format -i $(SOURCES)
tidy: $(TIDIED)
$(BUILD)/tidy/gateway/%: INCLUDES = -Igateway
$(BUILD)/tidy/connectors/% $(BUILD)/tidy/stores/%: INCLUDES = $(call module_cflags,$(@:$(BUILD)/tidy/%=%))
$(BUILD)/tidy/%: $(BUILD)/%.o .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy --quiet $*.c -- -std=c17 -D_GNU_SOURCE -Iinclude $(INCLUDES) 2>$@.log >$@.out || { cat $@.out $@.log; exit 1; }
	@touch $@

# ---- Sanitizers: the unit tests, and one real pair with a kill
export ASAN_OPTIONS  ?= detect_leaks=1:abort_on_error=0:strict_string_checks=1
export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS  ?= suppressions=$(CURDIR)/tests/support/tsan.supp:halt_on_error=0:exitcode=66:second_deadlock_stack=1
.PHONY: asan tsan
asan:  ## unit tests and a real pair with a kill, under address and undefined behaviour sanitizers
	@tools/setup test
	@$(MAKE) --no-print-directory BUILD=build/asan SAN=address,undefined unit
	@$(MAKE) --no-print-directory BUILD=build/asan SAN=address,undefined STORY=sanitized system
tsan:  ## the same under the thread sanitizer
	@tools/setup test
	@$(MAKE) --no-print-directory BUILD=build/tsan SAN=thread unit
	@$(MAKE) --no-print-directory BUILD=build/tsan SAN=thread STORY=sanitized system

# ---- Fuzzing
.PHONY: fuzz fuzzers
fuzz:  ## run each fuzz target for FUZZ_SECONDS (60); crashes become regression inputs
	@$(MAKE) --no-print-directory BUILD=build/fuzz CC=$(CLANG) SAN=fuzzer-no-link,address,undefined FUZZING=1 fuzzers
	@tools/fuzz build/fuzz $(FUZZ_SECONDS)
fuzzers: $(FUZZERS)

# ---- Seeing it work
.PHONY: demo bench bench-store bench-dedup bench-schedule bench-wheel
demo:  ## 20,000 messages around real brokers, with kills on the way (calls setup)
	@tools/setup demo
	@$(MAKE) --no-print-directory all $(JUDGE)
	@$(PYTHON) tools/demo --build $(BUILD)
bench:  ## CPU, memory and rate against the bare client libraries
	@tools/setup test
	@$(MAKE) --no-print-directory all $(JUDGE) $(BUILD)/bench/bare
	@$(PYTHON) bench/run --build $(BUILD)
STORE_IDS ?= 10000,1000000,10000000
STORE_DIR ?= $(BUILD)
bench-dedup:  ## what deduplication costs by the number of ids, without brokers (STORE=rocksdb IDS=10000000)
	@$(MAKE) --no-print-directory all $(BUILD)/bench/dedup
	@BAILEY_STORE_PATH=$(BUILD)/stores $(BUILD)/bench/dedup $(or $(STORE),rocksdb) $(or $(IDS),10000000) $(or $(STATE),$(BUILD)/bench-state)
	@rm -rf $(BUILD)/bench-state
bench-schedule:  ## what it costs to keep messages until their time, without brokers (N=10000000)
	@$(MAKE) --no-print-directory all $(BUILD)/bench/schedule
	@rm -rf $(BUILD)/bench-schedule
	@BAILEY_STORE_PATH=$(BUILD)/stores $(BUILD)/bench/schedule $(or $(N),10000000) $(or $(STATE),$(BUILD)/bench-schedule)
	@rm -rf $(BUILD)/bench-schedule
bench-wheel: $(BUILD)/bench/wheel  ## what a timer costs
	@$<
bench-store: $(BUILD)/bench/store $(filter $(BUILD)/stores/%,$(PLUGS))  ## each state store with ids of deduplication (STORE_IDS=n,n STORE_DIR=dir)
	@$(BUILD)/bench/store $(STORE_DIR) $(STORE_IDS) $(abspath $(filter %.so,$^))

# ---- Documentation and installation
.PHONY: docs install clean help
docs: all  ## generate docs/options.md, docs/metrics.md and conf/bailey.schema.json
	@tools/gen_docs.sh $(BUILD)/bailey .

share := $(DESTDIR)$(PREFIX)/share
install: all  ## install below DESTDIR and PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/bailey \
	  $(share)/doc/bailey $(share)/bailey/conf/examples $(share)/man/man5 $(share)/man/man8
	install -m 755 $(BUILD)/bailey $(DESTDIR)$(PREFIX)/bin/
	for module in $(MODULES); do \
	  install -D -m 755 $(BUILD)/$$module.so $(DESTDIR)$(PREFIX)/lib/bailey/$$module.so || exit 1; done
	install -m 644 include/bailey/*.h $(DESTDIR)$(PREFIX)/include/bailey/
	install -m 644 $(wildcard README.md CHANGELOG.md docs/*.md) $(share)/doc/bailey/
	install -m 644 $(wildcard conf/*.yaml conf/*.json) $(share)/bailey/conf/
	install -m 644 conf/examples/*.yaml $(share)/bailey/conf/examples/
	install -m 644 docs/man/*.5 $(share)/man/man5/
	install -m 644 docs/man/*.8 $(share)/man/man8/
clean:  ## remove everything that was built
	rm -rf build
help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#=]*##  *\(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo; echo "  BUILD=DIR  SAN=address,undefined|thread  DEV=1 (warnings are errors)  PREFIX=DIR DESTDIR=DIR"
