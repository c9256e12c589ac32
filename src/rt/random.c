#include "rt/random.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/random.h>

/* xoshiro256** 1.0 (Blackman and Vigna, public domain): fast and well spread, not for secrets. */
static _Thread_local uint64_t state[4];
static _Thread_local bool is_seeded;

static uint64_t rotate(uint64_t x, unsigned k)
{
    return x << k | x >> (64 - k);
}

static void seed_from_kernel(void)
{
    random_secret(state, sizeof(state));
    /* The one state that the generator cannot leave. */
    if ((state[0] | state[1] | state[2] | state[3]) == 0)
        state[0] = 1;
    is_seeded = true;
}

uint64_t random_u64(void)
{
    if (UNLIKELY(!is_seeded))
        seed_from_kernel();
    uint64_t result = rotate(state[1] * 5, 7) * 9;
    uint64_t t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotate(state[3], 45);
    return result;
}

uint64_t random_below(uint64_t bound)
{
    CHECK(bound > 0);
    /* Values below 2^64 mod bound would make the low results more likely: draw again. */
    uint64_t biased = (0 - bound) % bound;
    uint64_t r;
    do {
        r = random_u64();
    } while (r < biased);
    return r % bound;
}

double random_unit(void)
{
    return (double)(random_u64() >> 11) * 0x1.0p-53;
}

void random_secret(void *out, size_t len)
{
    char *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        p += n;
        len -= (size_t)n;
    }
}

void random_id(char *out, size_t len)
{
    /* Crockford's alphabet: no i, l, o or u. */
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        if (i % 12 == 0)
            bits = random_u64();
        out[i] = digits[bits & 31];
        bits >>= 5;
    }
}

void random_fake(uint64_t seed)
{
    is_seeded = seed != 0;
    /* splitmix64, as the generator's authors advise for seeding. */
    for (size_t i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ULL;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        state[i] = z ^ z >> 31;
    }
}
