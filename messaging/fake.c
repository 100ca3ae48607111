/* SPDX-License-Identifier: Apache-2.0 */
#include <fjord/fake.h>

#include "internal.h"
#include "transports/fake/fake.h"

fj_code fj_fake_disconnect(fj_transport *transport, fj_error **err)
{
    fj_code code = fj__transport_check(transport, err);

    if (code != FJ_OK)
        return code;
    if (strcmp(transport->driver->ops->name, "fake") != 0)
        return fj_fail(err, FJ_BAD_ARGS, "%s is no fake transport", transport->url);
    return fj__fake_lose(transport->driver, err);
}
