# One word for each thing a developer wants: make help.
BUILD  ?= build/release
SAN    ?=
PREFIX ?= /usr/local
comma  := ,
V      ?=
say     = $(if $(V),,@echo '  $(1) $@';)# make V=1 shows the commands

CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bailey
# librdkafka: the system's if it is 2.6.1 or newer, else the static one that tools/setup built into the cache.
RDKAFKA_MIN := 2.6.1
RDKAFKA_DIR := $(CACHE)/librdkafka-2.15.1-pthread
RDKAFKA_ENV := $(shell pkg-config --atleast-version=$(RDKAFKA_MIN) rdkafka 2>/dev/null || echo PKG_CONFIG_PATH=$(RDKAFKA_DIR)/lib/pkgconfig)
RDKAFKA_STATIC := $(if $(RDKAFKA_ENV),--static)
PKG_CONFIG := $(RDKAFKA_ENV) pkg-config

ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -O2 -g -fPIC -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes \
             -Wmissing-prototypes -Wwrite-strings -Wno-missing-field-initializers -fno-common -MMD -MP -Iinclude \
             $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) $(if $(DEV),-Werror) $(INCLUDES) $(CFLAGS)
GATEWAY_PKGS := yaml-0.1 libwebsockets openssl libsodium
LIBS       = $(shell pkg-config --libs $(GATEWAY_PKGS)) -lpthread -ldl -lm

obj     = $(patsubst %,$(BUILD)/%.o,$(basename $(1)))
CORE   := $(wildcard gateway/*/*.c)
# A module is a folder with its `pkgs`: connectors/NAME or stores/NAME.
MODULES := $(patsubst %/pkgs,%,$(wildcard connectors/*/pkgs stores/*/pkgs))
PLUGS  := $(MODULES:%=$(BUILD)/%.so)
UNITS  := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
pkgs    = $(shell cat $(1)/pkgs)
module_libs = $(if $(call pkgs,$(1)),$(shell $(PKG_CONFIG) $(if $(filter connectors/kafka,$(1)),$(RDKAFKA_STATIC)) --libs $(call pkgs,$(1))))
# Of a module's file.
module_cflags = $(shell $(PKG_CONFIG) --cflags $(call pkgs,$(patsubst %/,%,$(dir $(1)))) 2>/dev/null)

.PHONY: all
all: $(BUILD)/bailey $(PLUGS)  ## build bailey, its connectors and its stores into build/release

include tests/simulation/build.mk
include tests/torture/build.mk
-include tools/targets.mk

$(BUILD)/libgateway.a: $(call obj,$(CORE))
	$(call say,AR  )rm -f $@; ar rcs $@ $^
$(BUILD)/bailey: $(call obj,gateway/main.c) $(BUILD)/libgateway.a
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -rdynamic -o $@ $< -Wl,--whole-archive $(BUILD)/libgateway.a -Wl,--no-whole-archive $(LIBS)

.SECONDARY:
.SECONDEXPANSION:
$(PLUGS): $(BUILD)/%.so: $$(call obj,$$(wildcard $$*/*.c $$*/*.cc)) %/pkgs
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -shared -o $@ $(filter %.o,$^) -Wl,--exclude-libs,ALL $(call module_libs,$*) $(if $(wildcard $*/*.cc),-lstdc++) -lpthread
$(PLUGS:.so=.a): $(BUILD)/%.a: $$(call obj,$$(wildcard $$*/*.c))
	$(call say,AR  )rm -f $@; ar rcs $@ $^

# A test links the whole gateway, and of the modules just the objects whose functions it calls.
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(call obj,$(wildcard tests/support/*.c)) $(BUILD)/libgateway.a $(PLUGS:.so=.a)
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -rdynamic -o $@ $(filter %.o,$^) -Wl,--whole-archive $(BUILD)/libgateway.a \
	  -Wl,--no-whole-archive $(PLUGS:.so=.a) -Wl,--as-needed $(foreach m,$(MODULES),$(call module_libs,$m)) $(LIBS) -lcmocka

# The measure of make bench: the client libraries, and nothing of Bailey.
BARE := bench/bare.c bench/bare_stomp.c
$(BUILD)/bench/bare: $(BARE) bench/bare_stomp.h
	@mkdir -p $(@D)
	$(call say,CC  )$(CC) -std=c17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-ignored-qualifiers $(shell $(PKG_CONFIG) --cflags rdkafka) \
	  -o $@ $(BARE) $(shell $(PKG_CONFIG) $(RDKAFKA_STATIC) --libs rdkafka librabbitmq)

$(BUILD)/bench/dedup $(BUILD)/bench/schedule $(BUILD)/bench/wheel: $(BUILD)/bench/%: bench/%.c bench/bench.h $(BUILD)/libgateway.a | $(PLUGS)
	@mkdir -p $(@D)
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -Igateway -MF /dev/null -rdynamic -o $@ $< -Wl,--whole-archive $(BUILD)/libgateway.a \
	  -Wl,--no-whole-archive $(LIBS)

# The measure of make bench-store: a store, and nothing else of the gateway but its errors.
$(BUILD)/bench/store: $(call obj,bench/store.c gateway/base/error.c $(wildcard gateway/state/table_options.c))
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -rdynamic -o $@ $^ -ldl -lpthread

$(BUILD)/gateway/%.o: INCLUDES = -Igateway
# Hidden: nothing of a module but its entry point meets the gateway's or another module's names.
$(BUILD)/connectors/%.o $(BUILD)/stores/%.o: INCLUDES = -fvisibility=hidden $(call module_cflags,$(@:$(BUILD)/%=%))
$(BUILD)/tests/%.o: INCLUDES = -Igateway -Itests/support -I.
$(BUILD)/tests/simulation/%.o: INCLUDES = -Igateway -Itests/simulation -I.
$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -c -o $@ $<
# Where a library's C interface does not reach.
$(BUILD)/%.o: %.cc Makefile
	@mkdir -p $(@D)
	$(call say,CXX )$(CXX) -std=c++17 -fno-rtti -O2 -g -fPIC -Wall -Wextra -MMD -MP $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) \
	  $(if $(DEV),-Werror) $(INCLUDES) -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
