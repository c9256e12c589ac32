/*
 * What a client's dialect looks like on the wire: the request that the load generator sends, and
 * every event of the answer that must come. The one place that knows.
 * Any thread; pure functions over the caller's memory. Nothing here yields.
 * The caller owns every buffer and promises room for what is written plus FORMAT_SLACK.
 * Only form_find can fail: NULL for a name that no form has.
 *
 * A stream is some openings, the tokens, and some closings, in this order; the last closing is the
 * end of the stream. In what a form expects, the byte FORM_ANY stands for any bytes but a bracket:
 * for figures that are not what a bench is about.
 */
#ifndef WEIR_BENCH_LOAD_FORM_H
#define WEIR_BENCH_LOAD_FORM_H

#include "../format.h"
#include "options.h"

#define FORM_ANY "\1"

struct form {
    const char *name;  /* as `--dialect` has it */
    const char *path;  /* of its requests */
    const char *head;  /* header lines of its requests */
    const char *token; /* what stands in front of the number of a token, in its event */
    const char *ping;  /* an event that says nothing and may come anywhere; NULL: there is none */
    unsigned openings;

    /* Writes the body up to the nonce's digits, and what follows them up to the prompt; the prompt
     * and `tail` come behind. They return the length. */
    size_t (*lead)(char *out, size_t room, const struct options *options);
    size_t (*middle)(char *out, size_t room, const struct options *options);
    const char *tail;

    unsigned (*closings)(bool expects_usage);
    size_t (*opening)(char *out, const struct format_call *call, unsigned step);
    /* `stamp` is what the event itself says; a form without time stamps takes no notice. */
    size_t (*put_token)(char *out, const struct format_call *call, uint64_t seq, uint64_t stamp);
    size_t (*closing)(char *out, const struct format_call *call, unsigned step, bool expects_usage,
                      uint64_t stamp);
    size_t (*answer)(char *out, const struct format_call *call, uint64_t stamp);

    /* Where the time stamp stands in an event and in an answer; 0: there is none. */
    size_t (*event_stamp_at)(const struct format_call *call);
    size_t (*answer_stamp_at)(const struct format_call *call);

    /* Whether an event belongs to another call, as far as it tells. */
    bool (*is_foreign)(const struct format_call *call, const char *event, size_t len);
};

const struct form *form_find(const char *name);

/* Whether `got` is what is expected. */
bool form_equal(const char *got, size_t len, const char *expected, size_t expected_len);

#endif
