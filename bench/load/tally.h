/*
 * What a run of the load generator has seen: counts, times, and everything that was wrong.
 * One thread; nothing yields; cannot fail.
 * The caller owns the struct, which starts as zeros and is too large for a stack.
 * A run is good if tally_faults is 0.
 * Only the first fault is kept as text; all are counted by kind.
 */
#ifndef WEIR_BENCH_LOAD_TALLY_H
#define WEIR_BENCH_LOAD_TALLY_H

#include <stdbool.h>

#include "hist.h"

enum fault {
    FAULT_LOST,      /* a token is missing */
    FAULT_DOUBLED,   /* a token came twice */
    FAULT_REORDERED, /* a token came after a later one */
    FAULT_FOREIGN,   /* a token of another stream */
    FAULT_CORRUPT,   /* other bytes than those that were sent */
    FAULT_UNENDED,   /* the answer stopped before its end */
    FAULT_FRAMING,   /* not well-formed HTTP, or bytes behind the end */
    FAULT_STATUS,    /* another status than 200 */
    FAULT_CONNECT,   /* no connection */
    FAULT_RESET,     /* the connection broke before the answer began */
    FAULT_TIMEOUT,
    FAULT_KINDS,
};

struct tally {
    uint64_t requests; /* answered in full */
    uint64_t tokens;
    uint64_t comments; /* heartbeats between events */
    uint64_t connects;
    uint64_t bytes; /* received */
    uint64_t faults[FAULT_KINDS];
    char first_fault[320];
    struct hist latency;  /* from the (scheduled) start to the last byte */
    struct hist ttft;     /* from the (scheduled) start to the first token */
    struct hist gap;      /* between two tokens of a stream */
    struct hist transit;  /* from the mock's sending of a token to its arrival */
    struct hist lateness; /* of the load generator itself: start after the scheduled time */
};

/* Counts a fault; the text says what was seen. */
void tally_fault(struct tally *tally, enum fault kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* All faults together. */
uint64_t tally_faults(const struct tally *tally);

/* Prints everything as one line of JSON. */
void tally_print(const struct tally *tally, const char *mode, double seconds);

#endif
