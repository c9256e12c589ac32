/*
 * What the mock says to a request, step by step: each step writes bytes and tells what comes next.
 * One thread at a time; knows no socket and reads no clock.
 * Nothing here yields.
 * The caller owns the struct and the output, which has room for answer_room() bytes.
 * A fault that the model name asks for is carried out here; nothing else can go wrong.
 */
#ifndef WEIR_BENCH_MOCK_ANSWER_H
#define WEIR_BENCH_MOCK_ANSWER_H

#include "../format.h"

enum answer_next {
    ANSWER_PAUSE, /* the next step is due at due_ns */
    ANSWER_HOLD,  /* the next step follows POST /release */
    ANSWER_END,   /* the answer is complete */
    ANSWER_CUT,   /* close the connection at once */
};

struct answer {
    struct format_call call;
    bool is_stream;
    bool wants_usage;
    bool is_last; /* announce Connection: close */
    bool was_held;
    uint64_t seq; /* the next token */
    uint64_t due_ns;
};

/* Room that one step may need. */
size_t answer_room(const struct answer *answer);

/* Writes what is due at `now_ns` to `out`; *len is its length. `random` spreads the pauses. */
enum answer_next answer_step(struct answer *answer, uint64_t now_ns, uint64_t random, char *out,
                             size_t *len);

/* Writes a whole JSON response with the given status line ("404 Not Found") and body. */
size_t answer_plain(char *out, const char *status, const char *body, bool is_last);

#endif
