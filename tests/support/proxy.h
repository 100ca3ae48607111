/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_PROXY_H
#define TESTS_SUPPORT_PROXY_H
/*
 * A proxy on a thread of the test's process, at 127.0.0.1 and a port of the system's choice, or beside a socket in the file
 * system, that can break what goes through it.  All functions fail the test when they cannot do what they are to.
 */
#include <stdbool.h>
#include <stdint.h>

typedef struct proxy proxy;

/** @param port  of 127.0.0.1: where connections go on */
proxy *proxy_new(uint16_t port);
uint16_t proxy_port(const proxy *p);
/** The same for a local stream socket.  @param path  where connections go on */
proxy *proxy_new_at(const char *path);
/** Where it listens.  Lends. */
const char *proxy_path(const proxy *p);
/** Break every connection that there is; when it returns they are broken.  @param reset  by RST, so that what is on its way
 *  is lost, too   @param down  and refuse new ones until proxy_up() */
void proxy_cut(proxy *p, bool reset, bool down);
void proxy_up(proxy *p);
/** NULL is fine.  @return NULL */
proxy *proxy_free(proxy *p);

#endif
