/* ThreadSanitizer takes no notice of fences. A reference count is dropped with Release, and who drops
 * the last share passes an acquire fence before it destroys what was shared: std's Arc does so, in
 * code that std compiled before it could know of the sanitizer, and so does a piece. To the sanitizer
 * each such destruction looks like a race.
 *
 * The linker puts these in the place of the sanitizer's own (--wrap): an acquire fence loads, with
 * Acquire, the atomic which this thread has just brought down to 0. That is what std does itself
 * where it is built for the sanitizer, and less than a fence orders: nothing is hidden by it.
 * One that was brought down with more than Release, as C++ does it, needs no fence, and may be gone
 * when the next one comes. SeqCst fences order nothing here, as before. */
#include <stdint.h>

enum { ACQUIRE = 2, RELEASE = 3, ACQ_REL = 4 };

static __thread volatile void *last;
static __thread int bytes;

uint64_t __tsan_atomic64_load(const volatile uint64_t *at, int order);
uint32_t __tsan_atomic32_load(const volatile uint32_t *at, int order);
uint64_t __real___tsan_atomic64_fetch_sub(volatile uint64_t *at, uint64_t by, int order);
uint32_t __real___tsan_atomic32_fetch_sub(volatile uint32_t *at, uint32_t by, int order);
void __real___tsan_atomic_thread_fence(int order);

uint64_t __wrap___tsan_atomic64_fetch_sub(volatile uint64_t *at, uint64_t by, int order) {
    uint64_t before = __real___tsan_atomic64_fetch_sub(at, by, order);
    last = before == by && order == RELEASE ? at : 0;
    bytes = 8;
    return before;
}

uint32_t __wrap___tsan_atomic32_fetch_sub(volatile uint32_t *at, uint32_t by, int order) {
    uint32_t before = __real___tsan_atomic32_fetch_sub(at, by, order);
    last = before == by && order == RELEASE ? at : 0;
    bytes = 4;
    return before;
}

void __wrap___tsan_atomic_thread_fence(int order) {
    __real___tsan_atomic_thread_fence(order);
    if (last && (order == ACQUIRE || order == ACQ_REL)) {
        if (bytes == 8) {
            __tsan_atomic64_load(last, ACQUIRE);
        } else {
            __tsan_atomic32_load(last, ACQUIRE);
        }
    }
    last = 0;
}
