/*
 * Words that every floor uses: the annotation macros and the checks that stay on in release.
 * Any thread may use it; nothing here yields or owns anything.
 * CHECK is for what cannot happen; what a peer can cause is an error path with a test.
 * YIELDS tags a function that may suspend its task, NO_YIELD one that must never do so; both
 * are empty and read by scripts/check-yields.
 */
#ifndef WEIR_BASE_DEFS_H
#define WEIR_BASE_DEFS_H

#include <stddef.h>
#include <stdint.h>

#define YIELDS
#define NO_YIELD

#define PRINTF_LIKE(fmt_index, first) __attribute__((format(printf, fmt_index, first)))
#define NORETURN __attribute__((noreturn))
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* The struct of `type` whose member `member` is at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Reports the failed expression with its place and aborts. Never returns. */
NORETURN void check_failed(const char *expr, const char *file, int line);

/* Stays on in release: a state that would corrupt what follows must stop the process. */
#define CHECK(expr)                                  \
    do {                                             \
        if (UNLIKELY(!(expr)))                       \
            check_failed(#expr, __FILE__, __LINE__); \
    } while (0)

/* A struct whose first member is `uint32_t magic` is checked at each entry point. */
#define CHECK_MAGIC(obj, value) CHECK((obj) != NULL && (obj)->magic == (value))

#endif
