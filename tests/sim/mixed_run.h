/*
 * One life of a streamed answer, as the files of the simulation of mixed failures see it: what the
 * model wanted to say, what its providers make of it, what the client was sent.
 * One thread; nothing yields.
 * A run owns its bufs and its arena; tales and providers' names live in that.
 * What must not happen fails the test at once, with the seed that makes it happen again.
 */
#ifndef WEIR_TESTS_MIXED_RUN_H
#define WEIR_TESTS_MIXED_RUN_H

#include "route/health.h"
#include "stream/ending.h"
#include "support/broken_stream.h"

enum { MIXED_TARGETS_MAX = 4 };

enum mixed_fault {
    FAULT_STATUS,
    FAULT_CALL,
    FAULT_CUT,
    FAULT_EVENT,
    FAULT_CORRUPT,
    FAULT_NOTHING,
};

struct mixed_target {
    const struct dialect *dialect;
    struct str name;
    struct llm_traits traits;
    struct llm_quirks quirks;
    unsigned tries;
    bool is_passed_over;
};

struct mixed_run {
    uint64_t seed;
    struct arena *arena;
    struct tale tale; /* the whole answer */
    struct route_policy policy;
    int64_t now_ns;
    /* Of the attempts. */
    struct mixed_target targets[MIXED_TARGETS_MAX];
    unsigned target_count, at, retries;
    struct health_lease lease;
    struct health_result result;
    struct health_route *route;
    bool is_told, is_unfit, owes_retry, is_last_resort;
    /* Of the relay. */
    const struct dialect *client;
    struct llm_codec_settings codec;
    struct translation *translation;
    struct stream_observer observer;
    struct stream_ending ending;
    bool has_observer, is_as_is, has_begun, keeps_journal;
    struct frame_writer writer;
    struct buf copied, journal, sent, wire;
    size_t journal_limit;
    bool resets; /* after the bytes of `wire`: else they end in order */
    bool was_garbled_as_is;
    bool wants_restart; /* another answer instead of the rest of this one */
    size_t sent_before; /* of `sent`: what the client was told to forget */
    struct continuation *continuation;
    unsigned continued;
    bool is_whole; /* ended well, as far as the relay knows */
};

struct mixed_seen {
    unsigned whole, continued, broken, refused, repeated, restarted, garbled, probes;
};
extern struct mixed_seen mixed_seen;

/* --- mixed_wire.c: what is said, and how it comes --- */

/* All chance of a run comes from its seed. */
void mixed_seed(uint64_t seed);
uint64_t mixed_random(void);
unsigned mixed_below(uint64_t n);

enum mixed_fault mixed_choose_fault(void);
void mixed_make_tale(struct mixed_run *run);
/* What the model says that is asked to go on: the rest, more than that, or something else. */
struct tale mixed_make_rest(struct mixed_run *run, const struct continuation *c);
/* What comes of the target under way once its stream has begun: run->wire, run->resets. */
void mixed_make_wire(struct mixed_run *run, enum mixed_fault fault, const struct tale *tale);

/* --- mixed_judge.c: what the client may see --- */

void mixed_judge(struct mixed_run *run);
void mixed_fail(const struct mixed_run *run, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
