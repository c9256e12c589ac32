/*
 * The same exchanges in all six dialects, hand-written after the providers' references
 * (tests/data/matrix/): what test_matrix.c translates.
 * One thread; nothing yields. Tests run in the root of the tree.
 * What is loaded stays until the program ends.
 * A file that cannot be read ends the program.
 */
#ifndef WEIR_TESTS_MATRIX_DATA_H
#define WEIR_TESTS_MATRIX_DATA_H

#include "dialect/dialect.h"

enum matrix_ask {
    ASK_TEXT,     /* instructions, three turns, length, temperature, stop */
    ASK_TOOLS,    /* a tool that must be called, and a turn with a call and its result */
    ASK_PARALLEL, /* two calls and their results */
    ASK_IMAGE,
    ASK_DOCUMENT,
    ASK_THINKING,
    ASK_STRUCTURED,
    ASK_COUNT
};

enum matrix_say {
    SAY_TEXT, /* tokens of the prompt came from a cache */
    SAY_CALL,
    SAY_CALLS,    /* two; interleaved where the dialect can */
    SAY_THINKING, /* with a signature where the dialect has one */
    SAY_COUNT
};

enum { MATRIX_EVENTS_MAX = 24 };

struct matrix_event {
    struct str type, data;
};

struct matrix_dialect {
    struct str asks[ASK_COUNT]; /* empty = its clients cannot ask that */
    struct str answers[SAY_COUNT];
    struct matrix_event streams[SAY_COUNT][MATRIX_EVENTS_MAX];
    unsigned stream_lengths[SAY_COUNT];
    struct str signatures[SAY_COUNT];    /* what must come back to the provider in the next turn */
    struct str error, error_type_header; /* "Slow down." */
    unsigned error_status;
    struct matrix_event stream_error; /* comes after so many events of SAY_TEXT */
    unsigned error_after;
    bool model_in_path;
    struct str model; /* that the provider is asked for */
};

const struct matrix_dialect *matrix_dialect(enum dialect_id id);

#endif
