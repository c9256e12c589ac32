/*
 * A stream that breaks off and is gone on with, as a gateway would do it: for tests.
 * One thread; nothing yields.
 * `broken` owns its bufs and arenas: broken_fini. Texts of a tale are the caller's.
 * What must not happen fails the test at once.
 */
#ifndef WEIR_TESTS_BROKEN_STREAM_H
#define WEIR_TESTS_BROKEN_STREAM_H

#include "stream/continuation.h"

/* What a model says. NULL = none of it. */
struct tale {
    const char *thinking, *text, *call, *arguments;
    const char *other_call, *other_arguments; /* after the first, of which the id differs */
    const char *id;                           /* of the answer; NULL = "resp_first" */
    size_t piece;                             /* bytes of a delta, at least */
    int64_t input, output;
    bool is_cut_after_text; /* no finish */
};

enum { TOLD_EVENTS_MAX = 4096 };

/* A stream as its events stand in bytes. */
struct told {
    struct buf bytes;
    size_t ends[TOLD_EVENTS_MAX]; /* of each event */
    unsigned count;
};

/* The answer in a dialect, in its usual framing. */
void tell(struct told *told, const struct dialect *dialect, const struct tale *tale);
void told_fini(struct told *told);
enum stream_framing framing_of(const struct dialect *dialect);

/* What the client of that dialect asks, `more_members` (", ..." or nothing) at its end. */
struct str request_of(struct arena *arena, const struct dialect *client, const char *more_members);

struct broken {
    const struct dialect *client, *provider;
    struct llm_codec_settings codec;
    struct arena *arena;
    struct continuation c;
    struct translation t;
    struct llm_quirks quirks;
    struct llm_traits traits;
    struct buf stream;  /* all that the client has been sent */
    struct buf request; /* to the next provider */
    bool has_translation;
};

/* `sent` is what the client has got: the verdict is in b->c. */
void broken_read(struct broken *b, const struct dialect *client, struct str sent);
/* Asks `provider`; what continuation_request gives. */
int broken_ask(struct broken *b, const struct dialect *provider, bool takes_prefill,
               const char *more_members);
/* It answers so: 0, or what the continuation gave. */
int broken_answer(struct broken *b, const struct told *answer);
void broken_fini(struct broken *b);

/* What the client makes of a stream, which must be legal (not looked at without a label). */
void read_back(struct arena *arena, const struct dialect *client, struct str bytes,
               struct llm_answer *answer, const char *label);
/* All text of a kind, plain. */
struct str text_of_kind(struct arena *arena, const struct llm_answer *answer,
                        enum llm_block_kind kind);

#endif
