/*
 * Random numbers: fast ones for ids, jitter and choices; the kernel's for secrets.
 * Per thread; random_fake makes this thread's sequence repeatable (secrets always are real).
 * Nothing yields or owns anything.
 * random_secret aborts when the kernel has no randomness.
 * Ids are lower-case base32 without look-alikes.
 */
#ifndef WEIR_RT_RANDOM_H
#define WEIR_RT_RANDOM_H

#include "base/defs.h"

uint64_t random_u64(void);
/* Uniform in [0, bound); bound > 0. */
uint64_t random_below(uint64_t bound);
/* Uniform in [0, 1). */
double random_unit(void);
void random_secret(void *out, size_t len);
/* Writes `len` characters of an id and no NUL. */
void random_id(char *out, size_t len);
/* From now on this thread's numbers follow from the seed; 0 = real again. */
void random_fake(uint64_t seed);

#endif
