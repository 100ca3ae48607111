# SPDX-License-Identifier: Apache-2.0
# Fjord: one Makefile for everything.  `make help` lists what it can do.
#
#   V=1             show the commands            CC=clang             another compiler
#   SAN=address     ASan and UBSan, build/asan   SAN=thread           TSan, build/tsan
#   FIBRE=ucontext  fibres without assembler, build/ucontext
#   PREFIX= DESTDIR=  where to install           FJ_NO_SETUP=1        install no packages

ifeq ($(origin CC),default)
CC      := gcc
endif
ifeq ($(origin CXX),default)
CXX     := $(if $(findstring clang,$(CC)),clang++,g++)
endif
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
SYSCONF ?= $(PREFIX)/etc
VERSION := $(shell sed -n 's/^.define FJ_VERSION "\(.*\)"/\1/p' base/fjord/base.h)
SONAME  := libfjord.so.0
GREENNAME := libfjord-green.so.0
FUZZ_TIME ?= 30

# Each sanitizer has its own folder, so that switching between them rebuilds nothing; so has the other kind of fibres.
SAN     ?=
FIBRE   ?=
ifeq ($(FIBRE),ucontext)
TOP     ?= build/ucontext
FIBREFLAGS := -DFJ_FIBRE_UCONTEXT
else ifneq ($(FIBRE),)
$(error FIBRE is ucontext or nothing, not "$(FIBRE)")
endif
TOP     ?= build
ifeq ($(SAN),address)
BUILD   ?= $(TOP)/asan
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),thread)
BUILD   ?= $(TOP)/tsan
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer
else ifeq ($(SAN),fuzz)
BUILD   ?= $(TOP)/fuzz
SANFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),)
BUILD   ?= $(TOP)
SANFLAGS :=
else
$(error SAN is address, thread or fuzz, not "$(SAN)")
endif

ROOMS   := base runtime transports transports/fake transports/amqp dispatcher executors messaging
PUBLIC  := base runtime transports dispatcher executors messaging
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wconversion -Werror
INCLUDE := -I. $(addprefix -I,$(PUBLIC))

# pkg-config is asked on first use, not when this file is read: `make check` reads it before scripts/setup has run.
LIBDEPS  := librabbitmq jansson zlib liblzma libssl libcrypto yaml-0.1 libpcre2-8
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(LIBDEPS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(LIBDEPS)))$(PKG_LIBS)
CHECK_LIBS = $(eval CHECK_LIBS := $$(shell pkg-config --libs check))$(CHECK_LIBS)

BASEFLAGS := -std=c11 -D_GNU_SOURCE $(WARN) $(INCLUDE) -fPIC -fvisibility=hidden -pthread $(SANFLAGS) $(FIBREFLAGS)
ALLCFLAGS  = $(BASEFLAGS) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS)
ALLLDFLAGS = -pthread $(SANFLAGS) -Wl,--as-needed $(LDFLAGS)
LIBS       = $(PKG_LIBS) -lbz2 -lev -ldl -lm

# --- What there is -------------------------------------------------------------------------------------------------
comma := ,
objects = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))

# The .S are each empty on another machine than their own.
LIB_SRC   := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c $(r)/*.S))
HEADERS   := $(foreach r,$(PUBLIC),$(wildcard $(r)/fjord/*.h))
ADAPTERS  := $(wildcard runtime/fjord/adapters/*.h)
HOOK_SRC  := $(wildcard runtime/hooks/*.c)
TOOL_SRC  := $(wildcard tools/*.c tools/bench/*.c)
BENCH_PURE := $(addprefix tools/bench/,cargo.c draw.c message.c stats.c targets.c)
CHAOS_SRC := $(wildcard tools/chaos/*.c)
EX_MAIN   := $(wildcard examples/*_server.c examples/*_client.c examples/demo.c)
EX_HELP   := $(filter-out $(EX_MAIN),$(wildcard examples/*.c))
HOST_SRC  := $(wildcard examples/hosts/*.c)
MIG_SRC   := $(wildcard examples/migration/*.c)
BENCH_SRC := $(wildcard bench/*.c)
BENCH_HELP := $(wildcard bench/support/*.c)
COUNT_SRC := $(wildcard bench/count/*.c) bench/support/bodies.c bench/support/plan.c $(wildcard tests/support/broker*.c)
TEST_SRC  := $(wildcard tests/unit/*_test.c tests/conformance/*_test.c tests/regress/*_test.c tests/chaos/*_test.c tests/faults/*_test.c)
SUPPORT   := $(wildcard tests/support/*.c)
CONFORM   := $(filter-out %_test.c,$(wildcard tests/conformance/*.c))
FAULTS    := $(addprefix tests/faults/,cut.c rig.c rows.c)
ALONE     := tests/hooks/plain.c tests/hooks/cost.c tests/hooks/zeros.c
HOOKED    := $(filter-out $(ALONE),$(wildcard tests/hooks/*.c))
PEER_SRC  := $(wildcard tests/interop/*.c tests/fuzz/*_echo.c) tests/faults/subject.c
GREEN_SRC := $(filter-out tests/green/rig.c,$(wildcard tests/green/*.c))
GDB_SRC   := $(wildcard tests/gdb/*.c)
MOD_SRC   := $(wildcard tests/interop/module/*.c)
FUZZ_SRC  := $(wildcard tests/fuzz/*_fuzz.c)
LOAD_SRC  := $(wildcard tests/load/*.c)
PLUGIN_SRC := $(wildcard examples/plugins/*.c)
MAN       := $(wildcard docs/man/*.[1-8])
CONF      := $(wildcard conf/*.conf) docs/executors.md docs/configuration.md docs/rabbit.md docs/hosts.md docs/services.md docs/interceptors.md docs/transport-plugins.md docs/inspect.md docs/logging.md docs/tls.md docs/chaos.md docs/guarantees.md docs/notifications.md

STATIC    := $(BUILD)/lib/libfjord.a
SHARED    := $(BUILD)/lib/libfjord.so.$(VERSION)
LINKS     := $(BUILD)/lib/$(SONAME) $(BUILD)/lib/libfjord.so
GREEN_A   := $(BUILD)/lib/libfjord-green.a
GREEN     := $(BUILD)/lib/libfjord-green.so.$(VERSION)
GREEN_LINKS := $(BUILD)/lib/$(GREENNAME) $(BUILD)/lib/libfjord-green.so
TOOL      := $(if $(TOOL_SRC),$(BUILD)/bin/fjord)
CHAOS     := $(BUILD)/bin/fjord-chaos
EXAMPLES  := $(patsubst examples/%.c,$(BUILD)/bin/%,$(EX_MAIN))
MIGRATION := $(foreach n,0 1 2 3,$(BUILD)/bin/migration-$(n))
MIGRATED  := $(BUILD)/bin/migration-done
# Each needs the library of its host, and is left out without it.
HAS       = $(shell pkg-config --exists $(1) && echo $(2))
HOSTS     := $(call HAS,glib-2.0,glib) $(call HAS,libuv,uv) $(call HAS,libsystemd,sd_event)
HOSTS     := $(addprefix $(BUILD)/hosts/,$(HOSTS))
BENCHES   := $(patsubst bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))
COUNT     := $(BUILD)/bench/count
TESTS     := $(foreach t,$(TEST_SRC),$(BUILD)/tests/$(basename $(notdir $(t))))
PEERS     := $(foreach p,$(PEER_SRC),$(BUILD)/interop/$(basename $(notdir $(p))))
GREENS    := $(patsubst tests/%.c,$(BUILD)/%,$(GREEN_SRC))
GDB       := $(patsubst tests/%.c,$(BUILD)/%,$(GDB_SRC))
MODULES   := $(patsubst tests/interop/module/%.c,$(BUILD)/interop/%.so,$(MOD_SRC))
LOAD      := $(BUILD)/load/mixed
# executor_serial.c makes serial.so.
plugin_of = $(BUILD)/plugins/$(lastword $(subst _, ,$(basename $(notdir $(1))))).so
PLUGINS   := $(foreach p,$(PLUGIN_SRC),$(call plugin_of,$(p)))
UNIX_SRC  := $(addprefix examples/plugins/unix/,driver.c link.c listener.c wire.c)
BROKER_SRC := $(addprefix examples/plugins/unix/,broker.c queues.c wire.c)
UNIX      := $(BUILD)/plugins/unix.so $(BUILD)/plugins/unix-broker
FUZZERS   := $(patsubst tests/fuzz/%.c,$(BUILD)/bin/%,$(FUZZ_SRC))
ALL_SRC   := $(LIB_SRC) $(HOOK_SRC) $(HOOKED) $(ALONE) $(TOOL_SRC) $(CHAOS_SRC) $(EX_MAIN) $(EX_HELP) $(BENCH_SRC) $(BENCH_HELP) $(COUNT_SRC) $(TEST_SRC) $(SUPPORT) $(CONFORM) $(PEER_SRC) $(GREEN_SRC) tests/green/rig.c $(LOAD_SRC) $(GDB_SRC) $(MOD_SRC) $(FUZZ_SRC)
ALL_SRC   += $(MIG_SRC) $(HOST_SRC) tests/chaos/rig.c $(FAULTS) tests/faults/life.c

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all demo check check-asan check-tsan check-idle check-built tests lint headers install uninstall bench fuzz clean help \
	setup setup-build setup-lint setup-bench FORCE

all: $(STATIC) $(SHARED) $(LINKS) $(GREEN_A) $(GREEN) $(GREEN_LINKS) $(TOOL) $(CHAOS) $(EXAMPLES) $(MIGRATION) $(MIGRATED) ## build the libraries, the commands and the examples (default)

# --- Rules ---------------------------------------------------------------------------------------------------------
# Another compiler or other flags rebuild everything; so does valgrind's header, when it comes or goes: without it the
# library tells valgrind nothing of its stacks.
FLAGS_NOW := $(CC) $(BASEFLAGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(wildcard /usr/include/valgrind/valgrind.h)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' >$@

# A source that came or went links the library anew.
$(BUILD)/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_SRC) $(HOOK_SRC)' | cmp -s - $@ || echo '$(LIB_SRC) $(HOOK_SRC)' >$@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALLCFLAGS) $(HOOKFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.S $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(ALLCFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) -std=c++17 -Wall -Wextra -Werror -pthread $(SANFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(STATIC): $(call objects,$(LIB_SRC)) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(SHARED): $(call objects,$(LIB_SRC)) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) $(if $(SAN),,-Wl,-z,defs) $(ALLLDFLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(LINKS): $(SHARED)
	$(Q)ln -sf $(notdir $<) $@

# The hooks, which need libc and nothing else.  They define what fortified headers would have as inline functions.
$(call objects,$(HOOK_SRC)): HOOKFLAGS := -U_FORTIFY_SOURCE -U_FILE_OFFSET_BITS
$(GREEN_A): $(call objects,$(HOOK_SRC)) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

# Where libc has conditions of two kinds, ours have the version of the newer one.
GREENMAP  := runtime/hooks/libfjord-green.map
$(GREEN): private LDFLAGS += $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-Wl$(comma)--version-script=$(GREENMAP))
$(GREEN): $(call objects,$(HOOK_SRC)) $(BUILD)/sources $(GREENMAP)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(GREENNAME) $(if $(SAN),,-Wl,-z,defs) $(ALLLDFLAGS) $(filter %.o,$^) -ldl -o $@

$(GREEN_LINKS): $(GREEN)
	$(Q)ln -sf $(notdir $<) $@

# All of the library is in the command, so that the modules it loads find every public function in it, and so are the
# hooks: what a program exports comes before all libraries, also for the modules.
$(TOOL): $(call objects,$(TOOL_SRC)) $(STATIC) $(GREEN_A)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) -rdynamic $(filter %.o,$^) -Wl,--whole-archive $(STATIC) $(GREEN_A) -Wl,--no-whole-archive $(LIBS) -o $@

$(CHAOS): $(call objects,$(CHAOS_SRC)) $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) $^ $(LIBS) -o $@

# The examples use the shared library, as programs of users do: they see the public API and nothing else.  They find it
# beside them; where /proc is missing, as in a bare chroot, ld.so does not know where that is.
$(EXAMPLES): $(BUILD)/bin/%: $(BUILD)/obj/examples/%.o $(call objects,$(EX_HELP)) $(SHARED) $(LINKS)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) -Wl,-rpath,'$$ORIGIN/../lib:$(abspath $(BUILD)/lib)' $(filter %.o,$^) $(SHARED) $(LIBS) -o $@

# One service in the states of its migration (docs/migration.md): so many of its methods are explicit, and in the end it
# needs no hooks.
$(foreach n,0 1 2 3,$(BUILD)/obj/examples/migration/server-$(n).o): $(BUILD)/obj/examples/migration/server-%.o: \
		examples/migration/server.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,"$< ($* migrated)")
	$(Q)$(CC) $(ALLCFLAGS) -DMIGRATED=$* -MMD -MP -c $< -o $@
-include $(foreach n,0 1 2 3,$(BUILD)/obj/examples/migration/server-$(n).d)
MIG_HELP := $(call objects,$(filter-out %/server.c,$(MIG_SRC)))
$(MIGRATION): $(BUILD)/bin/migration-%: $(BUILD)/obj/examples/migration/server-%.o
$(MIGRATED): $(BUILD)/obj/examples/migration/server-3.o
$(MIGRATION) $(MIGRATED): $(MIG_HELP) $(SHARED) $(LINKS)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) -Wl,-rpath,'$$ORIGIN/../lib:$(abspath $(BUILD)/lib)' $(filter %.o,$^) $(SHARED) $(LIBS) -o $@

# Programs with a loop of their own, and ours in it.  Their libraries' headers are not ours to warn of.
HOST_PKG_glib := glib-2.0
HOST_PKG_uv := libuv
HOST_PKG_sd_event := libsystemd
$(foreach h,glib uv sd_event,$(eval $(BUILD)/obj/examples/hosts/$(h).o: \
	HOOKFLAGS = $$(subst -I,-isystem ,$$(shell pkg-config --cflags $(HOST_PKG_$(h))))))
$(HOSTS): $(BUILD)/hosts/%: $(BUILD)/obj/examples/hosts/%.o $(call objects,examples/hosts/visit.c examples/calc.c) $(SHARED) $(LINKS)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) -Wl,-rpath,'$$ORIGIN/../lib:$(abspath $(BUILD)/lib)' $(filter %.o,$^) $(SHARED) \
		$$(pkg-config --libs $(HOST_PKG_$*)) $(LIBS) -o $@

$(BENCHES): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(call objects,$(BENCH_HELP)) $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) $^ $(BENCH_LIBS) $(LIBS) -o $@
$(COUNT): $(call objects,$(COUNT_SRC)) $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) $^ $(LIBS) -o $@
$(BUILD)/bench/switch: BENCH_LIBS := -lboost_context
$(BUILD)/bench/nats: BENCH_LIBS := -lnats
$(BUILD)/bench/green: BENCH_LIBS = $(GREEN_LIBS)

# A test NAME_test.c may have a half in C++, NAME_cxx.cc.
define test_rule
$(BUILD)/tests/$(basename $(notdir $(1))): $(call objects,$(1) $(2) $(SUPPORT) $(if $(findstring conformance/,$(1)),$(CONFORM)) $(if $(findstring tests/faults/,$(1)),$(FAULTS)) $(if $(findstring tests/chaos/,$(1)),tests/chaos/rig.c $(filter-out tools/chaos/main.c,$(CHAOS_SRC))) $(if $(findstring unit/bench_test,$(1)),$(BENCH_PURE)) $(if $(findstring hooks_test,$(1)),$(HOOKED))) $(STATIC)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$(if $(2),$$(CXX),$$(CC)) $$(ALLLDFLAGS) -rdynamic $$^ $$(CHECK_LIBS) $$(LIBS) -o $$@
endef
$(foreach t,$(TEST_SRC),$(eval $(call test_rule,$(t),$(wildcard $(t:_test.c=_cxx.cc)))))

# All of the library, for the plug-ins that these load.
$(addprefix $(BUILD)/tests/,conformance_test unhooked_test unix_test plugin_test): private LDFLAGS += -Wl,--whole-archive $(STATIC) -Wl,--no-whole-archive

# Programs with the hooks in front of libc, linked as a user's are.  A sanitizer's library is always the first, and its
# functions would be in front of the hooks: there the hooks are in the program itself.
HOOKED_PROGRAMS := $(addprefix $(BUILD)/tests/,hooks_test conformance_test host_test bridged_test bridged_locks_test green_server_test flavours_test) \
	$(addprefix $(BUILD)/bench/,hooks fjord fake parked count) $(EXAMPLES) $(PEERS)
HOOKED_PROGRAMS += $(GREENS) $(BUILD)/bench/green $(LOAD) $(BUILD)/tests/original_hooked_test
HOOKED_PROGRAMS += $(MIGRATION)
ifeq ($(SAN),)
$(HOOKED_PROGRAMS): $(GREEN) | $(GREEN_LINKS)
$(HOOKED_PROGRAMS): private LDFLAGS += -Wl,--no-as-needed $(GREEN) -Wl,--as-needed -Wl,-rpath,'$$ORIGIN/../lib'
else
$(HOOKED_PROGRAMS): $(GREEN_A)
$(HOOKED_PROGRAMS): private LDFLAGS += -Wl,--whole-archive $(GREEN_A) -Wl,--no-whole-archive
endif
$(BUILD)/obj/tests/hooks/fortified.o: HOOKFLAGS := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
# Two that know nothing of Fjord, to be run with the hooks preloaded.
$(BUILD)/tests/hooks_plain $(BUILD)/tests/hooks_cost: $(BUILD)/tests/hooks_%: $(BUILD)/obj/tests/hooks/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) $^ -o $@
$(BUILD)/obj/tests/hooks/zeros.o: HOOKFLAGS := -fno-builtin -fvisibility=default
$(BUILD)/tests/hooks_zeros.so: $(BUILD)/obj/tests/hooks/zeros.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(ALLLDFLAGS) $^ -o $@

# Libraries that know nothing of Fjord, each in a program that calls it from green tasks.
GREEN_LIBS = $(eval GREEN_LIBS := $$(shell pkg-config --libs libpq hiredis libcurl libssl libcrypto))$(GREEN_LIBS)
$(GREENS): $(BUILD)/green/%: $(BUILD)/obj/tests/green/%.o $(call objects,tests/green/rig.c tests/support/leaks.c) $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) -rdynamic $^ $(GREEN_LIBS) $(CHECK_LIBS) $(LIBS) -o $@
GREEN_CFLAGS = $(eval GREEN_CFLAGS := $$(shell pkg-config --cflags libpq hiredis libcurl))$(GREEN_CFLAGS)
# Their headers are not ours to warn of.
$(call objects,$(GREEN_SRC) $(LOAD_SRC) bench/green.c): HOOKFLAGS = $(subst -I,-isystem ,$(GREEN_CFLAGS))

# What is the machine's own of fibres, for another machine: static, and with no library but libc (of jansson only the
# header is read, which is the same everywhere).
CROSS_CC  ?= aarch64-linux-gnu-gcc
CROSS     := $(BUILD)/cross/fibre
CROSS_SRC := tests/cross/fibre.c $(addprefix runtime/,fibre.c stack.c guard.c overflow.c switch_aarch64.S) base/alloc.c base/native.c
cross: $(CROSS) ## build the fibres' test for aarch64, which tests/run runs under qemu-aarch64
$(CROSS): $(CROSS_SRC) $(wildcard runtime/*.h base/*.h base/fjord/*.h) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CROSS,$@)
	$(Q)$(CROSS_CC) -std=c11 -D_GNU_SOURCE $(WARN) $(INCLUDE) -idirafter /usr/include -O2 -g -pthread -static \
		$(CROSS_SRC) -lm -o $@
.PHONY: cross

define peer_rule
$(BUILD)/interop/$(basename $(notdir $(1))): $(call objects,$(1) tests/support/ledger.c $(if $(findstring subject.c,$(1)),tests/faults/life.c)) $(STATIC)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(ALLLDFLAGS) $$^ $$(LIBS) -o $$@
endef
$(foreach p,$(PEER_SRC),$(eval $(call peer_rule,$(p))))

$(LOAD): $(call objects,$(LOAD_SRC)) $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) $^ $(GREEN_LIBS) $(LIBS) -o $@

$(GDB): $(BUILD)/gdb/%: $(BUILD)/obj/tests/gdb/%.o $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) $^ $(LIBS) -o $@

$(MODULES): $(BUILD)/interop/%.so: $(BUILD)/obj/tests/interop/module/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(ALLLDFLAGS) $^ -o $@

# Plug-ins of users: public headers and nothing else, and not linked with the library, which their process has.  Nobody else may be
# able to write to one, whatever the umask.
$(BUILD)/tests/executor_test $(BUILD)/tests/plugin_test $(BUILD)/tests/interceptor_test $(BUILD)/tests/conformance_test: | $(PLUGINS)
$(BUILD)/tests/unix_test $(BUILD)/tests/conformance_test: | $(UNIX)
PLUGIN_CC = $(CC) -std=c11 -D_GNU_SOURCE $(WARN) -I$(BUILD)/plugins/headers $(shell pkg-config --cflags jansson) $(CPPFLAGS) $(CFLAGS) \
	$(SANFLAGS) -fPIC -fvisibility=hidden -pthread
$(BUILD)/plugins/headers/made: $(HEADERS) $(BUILD)/flags
	@mkdir -p $(@D)/fjord && ln -sf $(addprefix $(CURDIR)/,$(HEADERS)) $(@D)/fjord && chmod go-w $(@D)/.. && touch $@
$(foreach p,$(PLUGIN_SRC),$(eval $(call plugin_of,$(p)): $(p)))
$(PLUGINS): $(BUILD)/plugins/headers/made
	$(call say,LINK,$@)
	$(Q)$(PLUGIN_CC) -shared $(filter %.c,$^) -o $@ && chmod go-w $@
$(BUILD)/plugins/unix.so: $(UNIX_SRC) $(wildcard examples/plugins/unix/*.h) $(BUILD)/plugins/headers/made
	$(call say,LINK,$@)
	$(Q)$(PLUGIN_CC) -shared $(UNIX_SRC) -o $@ && chmod go-w $@
$(BUILD)/plugins/unix-broker: $(BROKER_SRC) $(wildcard examples/plugins/unix/*.h) $(BUILD)/plugins/headers/made
	$(call say,LINK,$@)
	$(Q)$(PLUGIN_CC) $(BROKER_SRC) -o $@

$(BUILD)/bin/chaos_fuzz: $(call objects,$(filter-out tools/chaos/main.c,$(CHAOS_SRC)))
$(FUZZERS): $(BUILD)/bin/%: $(BUILD)/obj/tests/fuzz/%.o $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLLDFLAGS) -fsanitize=fuzzer $(filter %.o,$^) $(STATIC) $(LIBS) -o $@

-include $(patsubst %.o,%.d,$(call objects,$(ALL_SRC)))

# --- Trying it -----------------------------------------------------------------------------------------------------
# The targets that install packages first call make again: nothing about compilers or libraries may be asked before.
setup: ## install the Debian packages that building and testing need
	@scripts/setup build check
setup-build:
	@scripts/setup build
setup-lint:
	@scripts/setup build check lint
setup-bench:
	@scripts/setup build check bench

PARALLEL = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
demo: setup-build ## install what is needed, build, and show a call from a client to a server
	@$(MAKE) $(PARALLEL) --no-print-directory all
	@BUILD='$(BUILD)' scripts/demo

check: setup ## install what is needed, build, and run every test; ends with `N passed, N failed`
	@$(MAKE) $(PARALLEL) --no-print-directory check-built
check-built: all tests $(if $(SAN)$(FIBRE),,$(if $(shell command -v $(CROSS_CC)),cross))
	@BUILD='$(BUILD)' SAN='$(SAN)' CC='$(CC)' tests/run
tests: $(TESTS) $(BUILD)/tests/hooks_plain $(BUILD)/tests/hooks_cost $(BUILD)/tests/hooks_zeros.so $(PEERS) $(GREENS) $(LOAD) $(GDB) $(MODULES) $(PLUGINS) $(UNIX) $(HOSTS) ## build the unit tests and the C side of the interop tests

check-asan: ## the same under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory check SAN=address
check-tsan: ## the same under ThreadSanitizer
	@$(MAKE) --no-print-directory check SAN=thread
check-idle: setup ## five minutes without a call over a real broker: the connections are kept (not part of check)
	@$(MAKE) $(PARALLEL) --no-print-directory all tests
	@BUILD='$(BUILD)' tests/interop/run idle

# Sessions of services that are told to end, or crash, at any moment; FJ_SEED= repeats one.
N ?= 200
CRASHES ?= 1000
judge-services: setup ## N (200) SIGTERMs at random moments and CRASHES (1,000) of workers, judged by a ledger (not part of check)
	@$(MAKE) $(PARALLEL) --no-print-directory all tests
	@BUILD='$(BUILD)' FJ_SERVICE_ROUNDS=$(N) FJ_SERVICE_CRASHES=$(CRASHES) tests/interop/run service-full
.PHONY: judge-services

# Three rows at a time, each with a broker; FJ_SEED= repeats a run.
check-all: check ## the same, then every row of faults under all it has to do with, of which docs/guarantees.md is made (an hour)
	@rm -f '$(BUILD)/faults/results.jsonl'
	@BUILD='$(BUILD)' tests/faults/run --all --jobs 3; status=$$?; scripts/guarantees --keep '$(BUILD)/faults/results.jsonl'; exit $$status
judge-faults: setup ## 50 kills of the broker, 200 clients cut off at once, thousands of deadlines, with figures (not part of check-all)
	@$(MAKE) $(PARALLEL) --no-print-directory all tests
	@BUILD='$(BUILD)' tests/faults/run J1 J2 J3; status=$$?; scripts/guarantees --keep '$(BUILD)/faults/results.jsonl'; exit $$status
.PHONY: check-all judge-faults

# The conformance table with many seeds, from one of the moment on, in this build; SEEDS=N.
SEEDS ?= 20
conformance: all tests ## the conformance table over a real broker with SEEDS (20) seeds, in the build that SAN= chooses
	@BUILD='$(BUILD)' FJ_SEED=$${FJ_SEED:-$$(date +%s)} FJ_SEEDS=$(SEEDS) tests/conformance/run
conformance-page: ## run the conformance table plain and under the sanitizers, and write docs/conformance.md
	@scripts/conformance-runs
.PHONY: conformance conformance-page

lint: setup-lint ## check layers, includes, banned functions, layout, and run the static analysers
	@scripts/lint
headers: ## compile each public header alone, as C99 and as C++17
	@CC='$(CC)' tests/unit/headers

bench: setup-bench ## build, and time fibres and calls beside others'; WORKLOADS='calls casts' chooses
	@$(MAKE) $(PARALLEL) --no-print-directory bench-built
bench-built: $(BENCHES)
	@BUILD='$(BUILD)' bench/run $(WORKLOADS)
bench-plots: setup-bench ## draw docs/plots of what bench kept in build/bench/results.jsonl
	@BUILD='$(BUILD)' scripts/bench-plots
# Counted, not timed: it may run beside other work.
bench-check: setup ## instructions of calls and their parts beside bench/instructions.txt; UPDATE=1 writes it
	@$(MAKE) $(PARALLEL) --no-print-directory $(COUNT)
	@BUILD='$(BUILD)' CC='$(CC)' CFLAGS='$(CFLAGS)' bench/check $(if $(UPDATE),--update) $(CELLS)
.PHONY: bench-built bench-plots bench-check

fuzz: setup-lint ## run each fuzz target for FUZZ_TIME seconds (30)
	@$(MAKE) $(PARALLEL) --no-print-directory fuzz-built CC=clang SAN=fuzz
fuzz-built: $(FUZZERS)
	@FUZZ_TIME='$(FUZZ_TIME)' BUILD='$(BUILD)' scripts/fuzz $(FUZZERS)
.PHONY: fuzz-built

# --- Installing ----------------------------------------------------------------------------------------------------
D = $(DESTDIR)
install: all ## install the library, its headers, the command, man pages and sample files under PREFIX
	install -d '$(D)$(LIBDIR)/pkgconfig' '$(D)$(PREFIX)/include/fjord/adapters'
	install -m 644 $(HEADERS) '$(D)$(PREFIX)/include/fjord/'
	install -m 644 $(ADAPTERS) '$(D)$(PREFIX)/include/fjord/adapters/'
	install -m 644 $(STATIC) $(GREEN_A) '$(D)$(LIBDIR)/'
	install -m 755 $(SHARED) $(GREEN) '$(D)$(LIBDIR)/'
	ln -sf $(notdir $(SHARED)) '$(D)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(D)$(LIBDIR)/libfjord.so'
	ln -sf $(notdir $(GREEN)) '$(D)$(LIBDIR)/$(GREENNAME)'
	ln -sf $(GREENNAME) '$(D)$(LIBDIR)/libfjord-green.so'
	$(foreach p,fjord fjord-green,sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' $(p).pc.in \
		>'$(D)$(LIBDIR)/pkgconfig/$(p).pc';)
	$(if $(TOOL),install -D -m 755 $(TOOL) '$(D)$(PREFIX)/bin/fjord')
	install -D -m 755 $(CHAOS) '$(D)$(PREFIX)/bin/fjord-chaos'
	install -D -m 644 scripts/gdb/fjord-gdb.py '$(D)$(PREFIX)/share/fjord/fjord-gdb.py'
	install -D -m 644 scripts/gdb/fjord-gdb.py '$(D)$(PREFIX)/share/gdb/auto-load$(LIBDIR)/$(notdir $(SHARED))-gdb.py'
	$(foreach m,$(MAN),install -D -m 644 $(m) '$(D)$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m))';)
	install -D -m 644 conf/systemd/fjord@.service '$(D)$(PREFIX)/share/doc/fjord/fjord@.service'
	$(foreach c,$(CONF),install -D -m 644 $(c) '$(D)$(PREFIX)/share/doc/fjord/$(notdir $(c))';)

uninstall: ## remove what install put under PREFIX
	rm -f $(foreach h,$(ADAPTERS),'$(D)$(PREFIX)/include/fjord/adapters/$(notdir $(h))')
	rm -f $(foreach h,$(HEADERS),'$(D)$(PREFIX)/include/fjord/$(notdir $(h))')
	rm -f '$(D)$(LIBDIR)/libfjord-green.a' '$(D)$(LIBDIR)/libfjord-green.so' '$(D)$(LIBDIR)/$(GREENNAME)' '$(D)$(LIBDIR)/$(notdir $(GREEN))'
	rm -f '$(D)$(LIBDIR)/libfjord.a' '$(D)$(LIBDIR)/libfjord.so' '$(D)$(LIBDIR)/$(SONAME)' \
		'$(D)$(LIBDIR)/$(notdir $(SHARED))' '$(D)$(LIBDIR)/pkgconfig/fjord.pc' '$(D)$(LIBDIR)/pkgconfig/fjord-green.pc' '$(D)$(PREFIX)/bin/fjord' '$(D)$(PREFIX)/bin/fjord-chaos' '$(D)$(PREFIX)/share/fjord/fjord-gdb.py' \
		'$(D)$(PREFIX)/share/gdb/auto-load$(LIBDIR)/$(notdir $(SHARED))-gdb.py'
	rm -f $(foreach m,$(MAN),'$(D)$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m))')
	rm -f $(foreach c,$(CONF),'$(D)$(PREFIX)/share/doc/fjord/$(notdir $(c))')
	rm -f '$(D)$(PREFIX)/share/doc/fjord/fjord@.service'
	-rmdir '$(D)$(PREFIX)/include/fjord/adapters' '$(D)$(PREFIX)/include/fjord' '$(D)$(PREFIX)/share/doc/fjord' '$(D)$(PREFIX)/share/fjord' 2>/dev/null

clean: ## remove build/
	rm -rf $(TOP)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo '  Variables: V=1, CC=clang, CFLAGS=, SAN=address|thread, PREFIX=, DESTDIR=, FUZZ_TIME=, FJ_NO_SETUP=1'
