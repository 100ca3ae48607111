/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks (tests/hooks), with a toy runtime: each call blocking, partial, timed out, closed under it, left alone.  Those of
 * locks with the runtime itself. */
#include "tests/hooks/rig.h"
#include "tests/hooks/scene.h"

#include <stdlib.h>

int main(void)
{
    SRunner *r = srunner_create(sockets_suite());
    int failed = 0;

    srunner_add_suite(r, rw_suite());
    srunner_add_suite(r, connect_suite());
    srunner_add_suite(r, close_suite());
    srunner_add_suite(r, poll_suite());
    srunner_add_suite(r, sleep_suite());
    srunner_add_suite(r, dns_suite());
    srunner_add_suite(r, process_suite());
    srunner_add_suite(r, fortified_suite());
    srunner_add_suite(r, state_suite());
    srunner_add_suite(r, matrix_suite());
    srunner_add_suite(r, mutex_suite());
    srunner_add_suite(r, cond_suite());
    srunner_add_suite(r, sem_suite());
    srunner_add_suite(r, rwlock_suite());
    srunner_add_suite(r, join_suite());
    srunner_add_suite(r, cxx_suite());
    srunner_add_suite(r, reports_suite());
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
