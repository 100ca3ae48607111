# Fjord: one Makefile for everything.  `make help` lists what it can do.
BUILD   ?= build
CC      ?= gcc
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wconversion -Werror
LIBDEPS := librabbitmq jansson
ROOMS   := base runtime transports transports/fake transports/amqp dispatcher executors messaging
INCLUDE := -I. $(foreach r,base runtime transports dispatcher executors messaging,-I$(r))
ALLCFLAGS = -std=c11 -D_GNU_SOURCE $(WARN) $(INCLUDE) -fPIC -fvisibility=hidden -pthread -MMD -MP $(shell pkg-config --cflags $(LIBDEPS)) $(CFLAGS)
LIBS    := $(shell pkg-config --libs $(LIBDEPS)) -ldl -pthread

LIB_SRC := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)

all: $(BUILD)/lib/libfjord.a
$(BUILD)/lib/libfjord.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	rm -f $@; ar rcs $@ $^
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALLCFLAGS) -c $< -o $@
-include $(LIB_OBJ:.o=.d)
