/*
 * The command line of the load generator.
 * One thread, at start; nothing yields.
 * The strings are those of argv, which outlive everything.
 * options_read prints what is wrong, or the usage, on stderr and returns false.
 * Every option has a default that options.c tells in the usage.
 */
#ifndef WEIR_BENCH_LOAD_OPTIONS_H
#define WEIR_BENCH_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *mode;         /* run, hold, hangup, start */
    const char *target;       /* ADDRESS:PORT */
    const char *dialect;      /* of the client: a form's name */
    const char *path;         /* of the request; NULL the dialect's */
    const char *key;          /* sent as Authorization: Bearer; NULL none */
    const char *model;        /* a name of the mock's grammar */
    const char *model_prefix; /* put before it on the wire, such as "mock/" */
    bool is_stream;
    bool is_even;    /* open loop: equal pauses between arrivals, not random ones */
    bool is_fresh;   /* a new connection for every request */
    bool asks_usage; /* stream_options.include_usage */
    uint64_t prompt; /* bytes of the prompt */
    uint64_t connections;
    uint64_t sources;  /* loopback addresses to connect from */
    uint64_t requests; /* stop after so many; 0 no limit */
    uint64_t rate;     /* open loop: new requests a second; 0 closed loop */
    uint64_t duration_ms;
    uint64_t ramp_ms;    /* over which the connections of a closed loop begin */
    uint64_t timeout_ms; /* without any byte for a request under way */
    uint64_t child_cpu;  /* mode start: the core for the started program, plus 1; 0 any */
    char **command;      /* mode start: what to start */
};

bool options_read(struct options *options, int argc, char **argv);

#endif
