# tests/torture/build.mk: the gateway that can be told where to die (gateway/base/crash.h). Included by the Makefile.
#
# The same sources in a folder of their own, beside the connectors and stores of the usual build: those have no crash points.
CRASH := $(BUILD)/crash
CRASHING := $(CRASH)/bailey $(CRASH)/connectors $(CRASH)/stores

$(CRASH)/gateway/%.o: INCLUDES = -Igateway -DBAILEY_CRASH_POINTS
$(CRASH)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -c -o $@ $<
$(CRASH)/bailey: $(patsubst %.c,$(CRASH)/%.o,gateway/main.c $(CORE))
	$(call say,CC  )$(CC) $(ALL_CFLAGS) -rdynamic -o $@ $^ $(LIBS)
$(CRASH)/connectors $(CRASH)/stores: | $(PLUGS)
	@ln -sfn ../$(@F) $@
