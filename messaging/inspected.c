/* SPDX-License-Identifier: Apache-2.0 */
/* A transport as it is seen from outside: what its driver says of itself, and what was counted of its clients' calls. */
#include "internal.h"

#include "base/alloc.h"

static void put_url(json_t *one, const fj_transport *t)
{
    if (json_is_object(one) && json_object_get(one, "url") == NULL)
        (void)json_object_set_new(one, "url", json_string(t->url));
}

static json_t *ask_driver(void *user, fj_deadline by)
{
    const fj__shown *shown = user;
    fj_driver *d = shown->transport->driver;
    json_t *said = d->ops->inspect(d, shown->kind, by), *one;
    size_t i;

    put_url(said, shown->transport);
    json_array_foreach(said, i, one)
    {
        put_url(one, shown->transport);
    }
    return said;
}

static json_t *counters(void *user, fj_deadline by)
{
    (void)by;
    return fj__counters_json(((fj_transport *)user)->counters, NULL);
}

void fj__transport_show(fj_transport *t)
{
    static const char *const kinds[] = { "connection", "queue", "call" };

    fj__inspect_add(&t->counted, "counters", counters, t);
    for (size_t i = 0; i < fj__countof(kinds) && fj__driver_has(t->driver, inspect); i++) {
        t->shown[i].transport = t;
        t->shown[i].kind = kinds[i];
        fj__inspect_add(&t->shown[i].source, kinds[i], ask_driver, &t->shown[i]);
    }
}

void fj__transport_hide(fj_transport *t)
{
    fj__inspect_remove(&t->counted);
    for (size_t i = 0; i < fj__countof(t->shown); i++)
        fj__inspect_remove(&t->shown[i].source);
}
