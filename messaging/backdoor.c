/* SPDX-License-Identifier: Apache-2.0 */
/* The backdoor's life. */
#include "backdoor_impl.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "runtime/profile.h"
#include "runtime/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct client {
    pthread_t thread;
    int fd; /* -1: the place is free */
    atomic_bool over;
};

static struct {
    bool is, ending;
    pthread_t thread;
    int listener, quit; /* an eventfd, readable for ever once it is to end */
    fj__backdoor_file file;
    fj__backdoor_who who;
    struct client clients[FJ__BACKDOOR_CLIENTS];
} door;

/* Of `door`; held over a fork, so that every descriptor is known there. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- forks -------------------------------------------------------------------------------------- */

static void before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

/* The child has no thread of it, and must hold no end of a socket; the file is the parent's. */
static void in_child(void)
{
    if (door.is) {
        (void)fj__native.close(door.listener);
        (void)fj__native.close(door.quit);
        for (size_t i = 0; i < fj__countof(door.clients); i++) {
            if (door.clients[i].fd >= 0)
                (void)fj__native.close(door.clients[i].fd);
        }
    }
    memset(&door, 0, sizeof door);
    after_fork();
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

static void enter(void)
{
    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void leave(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

/* ---- those who are connected -------------------------------------------------------------------- */

static void *serve(void *user)
{
    struct client *c = user;

    fj__backdoor_talk(c->fd, door.quit, &door.who);
    (void)shutdown(c->fd, SHUT_RDWR); /* the descriptor goes with the place */
    atomic_store(&c->over, true);
    return NULL;
}

static void clear(struct client *c)
{
    (void)fj__native.pthread_join(c->thread, NULL);
    enter();
    (void)fj__native.close(c->fd);
    c->fd = -1;
    leave();
}

/* A place that is free, or whose client has gone.  Only the accepting thread fills them. */
static struct client *free_place(void)
{
    struct client *place = NULL;

    for (size_t i = 0; i < fj__countof(door.clients); i++) {
        struct client *c = &door.clients[i];
        if (c->fd >= 0 && atomic_load(&c->over))
            clear(c);
        if (c->fd < 0 && place == NULL)
            place = c;
    }
    return place;
}

static void take(int fd, struct client *place)
{
    const char *why = NULL;

    if (!fj__backdoor_may(fd))
        why = "only the user of the process, and root, may ask";
    else if (place == NULL)
        why = "as many are connected as may be";
    if (why == NULL) {
        atomic_store(&place->over, false);
        if (fj__thread_new(&place->thread, "fj-backdoor", serve, place) == 0) {
            return;
        }
        why = "there is no thread for another connection";
    }
    fj__backdoor_refuse(fd, place == NULL ? FJ_BUSY : FJ_ACCESS, why);
    enter();
    (void)fj__native.close(fd);
    if (place != NULL)
        place->fd = -1;
    leave();
}

static void accept_one(void)
{
    struct client *place = free_place();

    enter();
    int fd = (int)syscall(SYS_accept4, door.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int why = fd < 0 ? errno : 0;
    if (fd >= 0 && place != NULL)
        place->fd = fd;
    leave();
    if (fd >= 0)
        take(fd, place);
    else if (why == EMFILE || why == ENFILE || why == ENOMEM ||
             why == ENOBUFS) /* it waits still: look again, but not at once */
        (void)fj__native.poll(&(struct pollfd){ .fd = door.quit, .events = POLLIN }, 1, 1000);
}

static void *listen_(void *user)
{
    struct pollfd fds[2] = { { .fd = door.quit, .events = POLLIN }, { .fd = door.listener, .events = POLLIN } };

    (void)user;
    for (;;) {
        (void)fj__native.poll(fds, 2, -1);
        if (fds[0].revents != 0)
            return NULL;
        if (fds[1].revents != 0)
            accept_one();
    }
}

/* ---- its life ----------------------------------------------------------------------------------- */

static fj_code open_door(fj_error **err)
{
    fj_code code = fj__backdoor_listen(&door.file, &door.listener, err);

    if (code != FJ_OK)
        return code;
    door.quit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int why = door.quit >= 0 ? fj__thread_new(&door.thread, "fj-backdoor", listen_, NULL) : errno;
    if (why == 0) {
        fj__thread_wakes_nobody(1);
        return FJ_OK;
    }
    fj__backdoor_unlink(&door.file);
    (void)fj__native.close(door.listener);
    if (door.quit >= 0)
        (void)fj__native.close(door.quit);
    return fj__thread_refused(why, "for the backdoor", err);
}

static fj_code start(const char *path, const char *name, const char *worker, fj_error **err)
{
    fj_code code = FJ_OK;

    enter();
    if (door.is || door.ending)
        code = fj_fail(err, FJ_STATE, "the process has a backdoor: %s", door.file.path);
    if (code == FJ_OK) {
        memset(&door, 0, sizeof door);
        for (size_t i = 0; i < fj__countof(door.clients); i++)
            door.clients[i].fd = -1;
        (void)snprintf(door.who.name, sizeof door.who.name, "%s",
                       name != NULL ? name : program_invocation_short_name);
        (void)snprintf(door.who.worker, sizeof door.who.worker, "%s", worker);
        code = fj__backdoor_path(path, &door.who, door.file.path, sizeof door.file.path, err);
    }
    if (code == FJ_OK)
        code = open_door(err);
    if (code == FJ_OK)
        door.is = true;
    leave();
    if (code == FJ_OK)
        fj__log(FJ_LOG_INFO, "backdoor", "fjord inspect %s", door.file.path);
    return code;
}

fj_code fj_backdoor_start(const char *path, const char *name, fj_error **err)
{
    return start(path, name, "", err);
}

void fj__backdoor_configured(const fj_conf *conf, const char *name, const char *worker)
{
    const char *path = fj_conf_str(conf, "fjord", "backdoor");
    fj_error *error = NULL;

    if (path != NULL && path[0] != '\0' && start(path, name, worker, &error) != FJ_OK)
        fj__log(FJ_LOG_ERROR, "backdoor", "there is none: %s", fj_error_text(error));
    fj_error_free(error);
}

void fj_backdoor_stop(void)
{
    enter();
    bool mine = door.is && !door.ending;
    door.ending |= mine;
    leave();
    if (!mine)
        return;
    fj__backdoor_unlink(&door.file);
    ssize_t n = fj__native.write(door.quit, &(uint64_t){ 1 }, sizeof(uint64_t));
    (void)n; /* an eventfd takes its first */
    (void)fj__native.pthread_join(door.thread, NULL);
    fj__thread_wakes_nobody(-1);
    for (size_t i = 0; i < fj__countof(door.clients); i++) {
        if (door.clients[i].fd >= 0)
            clear(&door.clients[i]);
    }
    (void)fj__profile_stop(); /* nobody could turn it off any more */
    enter();
    (void)fj__native.close(door.listener);
    (void)fj__native.close(door.quit);
    door.is = door.ending = false;
    leave();
}
