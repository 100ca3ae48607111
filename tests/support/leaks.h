/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_LEAKS_H
#define TESTS_SUPPORT_LEAKS_H
/* Whether a test leaves descriptors or threads behind in its process; /proc tells, where it is mounted. */

/** Remember what there is. */
void leaks_begin(void);
/** Fail the test, naming them, if there is more.  Threads that were joined may still be leaving: they are waited for. */
void leaks_end(const char *where);

#endif
