/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULTS_LIFE_H
#define TESTS_FAULTS_LIFE_H
/* What the subject of the fault rows does with its own life: it forks, calls itself, reads its configuration again, begins and ends. */
#include <fjord/fjord.h>

/** What a child of fork has of its parent's.  Lends; any may be NULL.  @param topic is the server's */
void life_has(fj_transport *transport, fj_client *client, fj_server *server, const char *topic);
/** Fork; the child does as @p how says: "use" every handle, "exit" by exit(), "close" every handle, "exec" another program.
 *  @return whether all was as promised there */
bool life_fork(const char *how);

/** The subject's: tells that a method runs, as @p args number it. */
void life_ran(const json_t *args);
/** Methods: fork in the server's process as the name says, and a call of the server to itself. */
fj_code life_fork_use(fj_request *req, json_t *args, json_t **ret, fj_error **err);
fj_code life_fork_exit(fj_request *req, json_t *args, json_t **ret, fj_error **err);
fj_code life_fork_close(fj_request *req, json_t *args, json_t **ret, fj_error **err);
fj_code life_fork_exec(fj_request *req, json_t *args, json_t **ret, fj_error **err);
/** The answer is the number, or the error of the inner call, which has a second. */
fj_code life_nested(fj_request *req, json_t *args, json_t **ret, fj_error **err);

/** Block SIGHUP in every thread that is made from now on; before there are any. */
void life_block_hup(void);
/** A thread that reads the configuration of @p transport again at each SIGHUP, and tells `reloaded` with its code and text. */
void life_reload_at_hup(fj_transport *transport, void (*tell)(json_t *event));

/** @p n times: a transport, a server, a client, a call through them, and the end of all; with @p clients_only the client and the call
 *  alone.  Every tenth part of it tells `cycle` with what the process has: KiB of memory, descriptors, threads.
 *  @return the first failure */
fj_code life_cycles(const fj_conf *conf, const char *executor, const char *url, const char *topic, unsigned n,
                    bool clients_only, void (*tell)(json_t *event), fj_error **err);

#endif
