/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who answers to a name.  A program finds the first object of its list that has it.  A sanitizer's runtime stands in front
 * of everybody and hands each call on to the next in the list; behind one, what counts is who that next is.
 */
#include "runtime/hooks/hooks.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

/* The object that has this address, in the dynamic linker's list; NULL if none. */
static const struct link_map *object_of(const void *address)
{
    Dl_info info;
    struct link_map *map = NULL;

    if (address == NULL || dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) == 0)
        return NULL;
    return map;
}

/* Data, so that the address is this object's own whatever the program defines. */
static const char here;

void *fj__green_not_ours(void *found)
{
    return object_of(found) == object_of(&here) ? NULL : found;
}

static bool is_sanitizer(const struct link_map *object)
{
    static const char *const inits[] = { "__tsan_init", "__asan_init", "__msan_init", "__hwasan_init" };

    for (size_t i = 0; i < sizeof inits / sizeof *inits; i++) {
        const void *init = dlsym(RTLD_DEFAULT, inits[i]);

        if (init != NULL && object_of(init) == object)
            return true;
    }
    return false;
}

bool fj__green_is_sanitizers(const void *function)
{
    const struct link_map *object = object_of(function);

    return object != NULL && is_sanitizer(object);
}

bool fj__green_is_hooked(const char *name)
{
    const struct link_map *first = object_of(dlsym(RTLD_DEFAULT, name));
    const struct link_map *ours = object_of(&here);
    const struct link_map *libc = object_of(fj__real_find(name));

    if (first == NULL || ours == NULL || !fj__green_names(name))
        return false;
    if (first == ours)
        return true;
    if (!is_sanitizer(first))
        return false;
    /* The interceptor goes on to the first after itself. */
    for (first = first->l_next; first != NULL && first != libc; first = first->l_next)
        if (first == ours)
            return true;
    return false;
}
