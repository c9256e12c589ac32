/*
 * The task that serves a request whose answer goes to a journal: the whole governed way, with a
 * journal where the client's connection would be.
 * Loop threads; a producer stays on the one that started it.
 * producer_start does not yield.
 * The producer is a detached request (detached.h) with a reference to the journal.
 * -ERR_NOMEM.
 */
#ifndef WEIR_GATEWAY_RESUME_PRODUCER_H
#define WEIR_GATEWAY_RESUME_PRODUCER_H

#include "stream/journal_writer.h"

struct exchange;

struct producer_settings {
    struct journal *journal;
    bool adds_ids;
    int64_t grace_ns;   /* how long it goes on when nobody reads */
    size_t event_bytes; /* largest event */
};

/* Hands the exchange's request over, with its body: somebody should read the journal already. */
int producer_start(struct exchange *ex, const struct producer_settings *settings);
/* The store that all threads share; NULL = no memory. */
struct journal_store *producer_store(void);
/* What is in it, for the metrics. Any thread. */
struct metrics_journal;
void producer_figures(struct metrics_journal *out);

#endif
