/* SPDX-License-Identifier: Apache-2.0 */
/* The C++ half of exceptions_test.c. */
#include <exception>

namespace
{
struct pauses_when_destroyed {
    void (*pause)(void);
    int *uncaught;

    ~pauses_when_destroyed()
    {
        pause();
        *uncaught = std::uncaught_exceptions();
    }
};
} // namespace

/* Throw @p mine and answer what is caught, after pauses while it is being handled and while it is thrown once more. */
extern "C" int rethrows(int mine, void (*pause)(void))
{
    try {
        try {
            throw mine;
        } catch (int) {
            pause();
            throw;
        }
    } catch (int got) {
        pause();
        return got;
    }
}

/* How many exceptions are under way in a destructor that an exception runs, after a pause there. */
extern "C" int unwinds(int mine, void (*pause)(void))
{
    int uncaught = -1;

    try {
        pauses_when_destroyed p = { pause, &uncaught };
        throw mine;
    } catch (int) {
        return uncaught;
    }
}
