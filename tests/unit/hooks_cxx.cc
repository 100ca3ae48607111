/* SPDX-License-Identifier: Apache-2.0 */
/* The C++ half of hooks_test.c: the standard library's locks, which are pthread's by way of libstdc++.so. */
#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <thread>

namespace
{
std::mutex lock;
std::recursive_mutex nested;
std::shared_mutex shared;
std::condition_variable changed;
std::condition_variable_any changed_any;
bool said;
unsigned count;
} // namespace

/* Count as many times under three locks, pausing with all of them held. */
extern "C" void cxx_counts(unsigned times, void (*pause)(void))
{
    for (unsigned i = 0; i < times; i++) {
        std::unique_lock<std::shared_mutex> writes(shared);
        std::scoped_lock both(lock, nested);
        std::lock_guard<std::recursive_mutex> again(nested);
        unsigned seen = count;
        if (i % 3 == 0)
            pause();
        count = seen + 1;
    }
}

extern "C" unsigned cxx_count(void)
{
    std::shared_lock<std::shared_mutex> reads(shared);
    return count;
}

/* Until cxx_says(). */
extern "C" void cxx_waits(bool any)
{
    std::unique_lock<std::mutex> held(lock);
    if (any)
        changed_any.wait(held, [] { return said; });
    else
        changed.wait(held, [] { return said; });
}

extern "C" void cxx_says(void)
{
    {
        std::lock_guard<std::mutex> held(lock);
        said = true;
    }
    changed.notify_all();
    changed_any.notify_all();
}

/* @return whether it timed out, as it should */
extern "C" bool cxx_waits_in_vain(void)
{
    std::unique_lock<std::mutex> held(lock);
    return changed.wait_for(held, std::chrono::milliseconds(3)) == std::cv_status::timeout;
}

extern "C" void cxx_joins(void (*fn)(void *arg), void *arg)
{
    std::thread thread(fn, arg);
    thread.join();
}
