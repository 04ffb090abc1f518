# tests/simulation/build.mk: how the simulation is linked. Included by the Makefile.
#
# It takes the very objects of the core and of the connectors' bookkeeping, and is their host itself: of the loop it has nothing but
# the wheel. What they allocate is known by its owner (memory.c).
SIMS    := $(BUILD)/tests/simulation/test_simulation $(BUILD)/tests/simulation/test_ledger
MUTANTS := $(patsubst tests/simulation/mutations/%.sed,$(BUILD)/tests/simulation/mutants/%,$(wildcard tests/simulation/mutations/*.sed))
HUNT    := $(BUILD)/tests/simulation/test_mutations

SIM_CORE := $(call obj,$(wildcard gateway/base/*.c gateway/message/*.c gateway/core/*.c) gateway/loop/wheel.c gateway/config/units.c \
              connectors/kafka/watermark.c connectors/kafka/takeover.c connectors/amqp/acks.c)
SIM_PART := $(call obj,$(filter-out $(wildcard tests/simulation/test_*.c),$(wildcard tests/simulation/*.c)))
SIM_LINK  = $(CC) $(ALL_CFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,--wrap=asprintf
SIM_LIBS := -lcrypto -lsodium -lm -lpthread

$(SIMS): %: %.o $(SIM_PART) $(SIM_CORE)
	$(call say,CC  )$(SIM_LINK) -o $@ $^ $(SIM_LIBS) -lcmocka

# A mutant: one source, named by the first line of a sed script, is changed by it; all else is the same.
$(MUTANTS): $(BUILD)/tests/simulation/mutants/%: tests/simulation/mutations/%.sed $(BUILD)/tests/simulation/test_simulation
	@mkdir -p $(@D)
	$(call say,MUT )source=$$(sed -n '1s/^# \([^:]*\):.*/\1/p' $<); sed -f $< $$source >$@.c; \
	if cmp -s $$source $@.c; then echo "$<: it changes nothing in $$source"; exit 1; fi; \
	$(CC) $(ALL_CFLAGS) -O1 -g0 -w -Igateway -I. -I$$(dirname $$source) -MF /dev/null -c -o $@.o $@.c && \
	$(SIM_LINK) -o $@ $@.o $$(echo $(BUILD)/tests/simulation/test_simulation.o $(SIM_PART) $(SIM_CORE) | \
	  tr ' ' '\n' | grep -vx "$(BUILD)/$${source%.c}.o") $(SIM_LIBS)
$(HUNT): tests/simulation/test_mutations.py $(MUTANTS)
	@install -m 755 $< $@
