/* SPDX-License-Identifier: Apache-2.0 */
/* A user's program that loads the hooks when it is too late, and prints what it is told. */
#include <fjord/fjord.h>

#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    fj_error *err = NULL;

    if (argc != 2 || dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == NULL)
        return 2;
    fj_code code = fj_green_patch(FJ_PATCH_DEFAULT, &err);
    puts(code == FJ_OK ? "live" : fj_error_text(err));
    fj_error_free(err);
    return code == FJ_UNSUPPORTED && !fj_is_patched(FJ_PATCH_SOCKET) ? 0 : 1;
}
