/* SPDX-License-Identifier: Apache-2.0 */
/* A program with a loop of its own, whose tasks call: `loop_client service.conf tea milk` asks for each price at once and
 * says them as they come, on one thread. */
#include "calc.h"

#include <stdio.h>

struct asking {
    fj_client *client;
    char **items;
    int n, next;
};

/* Each call suspends its task, and the loop runs the others meanwhile. */
static fj_code ask(void *user, json_t **ret, fj_error **err)
{
    struct asking *a = user;
    const char *item = a->items[a->next++];
    json_t *price = NULL;

    (void)ret;
    fj_code code = fj_client_call(a->client, "price", json_pack("{s:s}", "item", item), NULL, &price, err);
    if (code == FJ_OK)
        printf("%s %lld\n", item, (long long)json_integer_value(price));
    json_decref(price);
    return code;
}

/* The first that fails cancels the others; after ten seconds all that are left are. */
static fj_code ask_all(void *user, json_t **ret, fj_error **err)
{
    struct asking *a = user;
    fj_task_group *group = NULL;
    fj_code code = fj_task_group_new(&group);

    (void)ret;
    for (int i = 0; code == FJ_OK && i < a->n; i++)
        code = fj_task_group_spawn(group, ask, a, NULL, NULL, err);
    if (code == FJ_OK)
        code = fj_task_group_wait(group, fj_in_ms(10000), err);
    fj_task_group_free(group);
    return code;
}

static fj_code run(struct asking *a, fj_error **err)
{
    fj_loop *loop = NULL;
    fj_task *task = NULL;
    fj_code code = fj_loop_current(&loop, err); /* of this thread; made now */

    if (code == FJ_OK)
        code = fj_task_spawn(ask_all, a, NULL, &task, err);
    if (code == FJ_OK)
        code = fj_loop_run_until_complete(loop, fj_task_future(task), NULL, err);
    fj_task_unref(task);
    return code;
}

int main(int argc, char **argv)
{
    fj_target shop = FJ_TARGET(.topic = "shop");
    struct asking a = { .items = argv + 2, .n = argc - 2 };
    fj_conf *conf = NULL;
    fj_transport *transport = NULL;
    fj_error *err = NULL;
    fj_code code = fj_conf_load(argc > 1 ? argv[1] : "service.conf", &conf, &err);

    if (code == FJ_OK)
        code = fj_transport_open(conf, NULL, &transport, &err);
    if (code == FJ_OK)
        code = fj_client_new(transport, &shop, NULL, &a.client, &err);
    if (code == FJ_OK)
        code = run(&a, &err);
    fj_client_free(a.client);
    fj_transport_free(transport);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("loop_client", err);
}
