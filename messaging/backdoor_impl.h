/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_BACKDOOR_IMPL_H
#define FJORD_MESSAGING_BACKDOOR_IMPL_H
/*
 * What the files of the backdoor know of one another:
 *
 *   backdoor.c         its life: the thread that accepts, and one for each who is connected
 *   backdoor_socket.c  the socket's file
 *   backdoor_lines.c   lines from and to one who is connected
 *   backdoor_ask.c     what can be asked
 *
 * Whoever is connected has a thread, so that one who waits for a blocked loop, or does not read, keeps nobody else waiting.  A
 * request is a line, an answer is a line.
 */
#include <fjord/backdoor.h>
#include <fjord/conf.h>

#include <stdatomic.h>
#include <sys/types.h>

enum {
    FJ__BACKDOOR_CLIENTS = 8,     /* at once; whoever comes then is told so */
    FJ__BACKDOOR_LINE = 65536,    /* bytes of a request */
    FJ__BACKDOOR_WRITE_MS = 5000, /* so long one may not read at all before it is given up */
    FJ__BACKDOOR_IDLE_MS = 600000 /* and so long not ask */
};
#define FJ__BACKDOOR_WAIT 2.0      /* seconds that a loop has to answer, when the request says nothing */
#define FJ__BACKDOOR_WAIT_MAX 10.0 /* and at most */

/** How the process is called there. */
typedef struct {
    char name[64], worker[16]; /* worker: "" outside of a service, "parent", or its number */
} fj__backdoor_who;

/** Open what [fjord] backdoor says, if it says anything; why it cannot be is logged, for nobody is to fail for that.
 *  @param worker  "parent", its number as text, or "" for a program that has no workers */
void fj__backdoor_configured(const fj_conf *conf, const char *name, const char *worker);

/* ---- backdoor_socket.c -------------------------------------------------------------------------- */

typedef struct {
    char path[108]; /* as sockaddr_un has it */
    dev_t dev;
    ino_t ino;
} fj__backdoor_file;

/** What @p pattern stands for.  @errors BAD_VALUE */
fj_code fj__backdoor_path(const char *pattern, const fj__backdoor_who *who, char *ret, size_t size,
                          fj_error **err);
/** Make the socket, listening.  @param file  path is given, the others are filled in   @param ret gives the descriptor */
fj_code fj__backdoor_listen(fj__backdoor_file *file, int *ret, fj_error **err);
/** Remove its file, if it is still that one. */
void fj__backdoor_unlink(const fj__backdoor_file *file);
/** Whether who is at the other end may ask. */
bool fj__backdoor_may(int fd);

/* ---- backdoor_lines.c --------------------------------------------------------------------------- */

/** Answer lines until the other end closes, does not read, or @p quit is readable.  @param fd  not closed */
void fj__backdoor_talk(int fd, int quit, const fj__backdoor_who *who);
/** Write a refusal, without waiting. */
void fj__backdoor_refuse(int fd, fj_code code, const char *text);

/* ---- backdoor_ask.c ----------------------------------------------------------------------------- */

/** The answer to a request, a line without its end.  Gives, with its newline; NULL: no memory.  @blocks as the request says */
char *fj__backdoor_answer(const char *line, size_t n, const fj__backdoor_who *who, size_t *ret_n);
/** An answer that refuses.  Gives; NULL: no memory. */
char *fj__backdoor_refusal(fj_code code, const char *text, size_t *ret_n);

#endif
