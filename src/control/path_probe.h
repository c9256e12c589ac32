/*
 * Asks a weir somewhere behind a path for its self-test stream and says what the path does to it.
 * Main thread, which has no loop of its own yet.
 * Nothing yields for the caller: a loop runs until the answer is there.
 * The options belong to the caller.
 * Returns an exit status; what went wrong has been told on stderr.
 */
#ifndef WEIR_CONTROL_PATH_PROBE_H
#define WEIR_CONTROL_PATH_PROBE_H

#include "base/str.h"

/* Exit statuses besides 0 (streams come through) and 1 (there was nothing to judge). */
enum { PATH_PROBE_FAULT = 3 };

struct path_probe_options {
    const char *url;            /* http(s)://host[:port][/path] */
    const char *key;            /* NULL = the environment variable WEIR_PROBE_KEY, or none */
    const char *model;          /* NULL = sim/probe */
    unsigned events;            /* 0 = 50 */
    const char *pace;           /* "50ms"; NULL = that */
    const char *idle;           /* silence before the last event; NULL = none */
    const char *ca_file;        /* PEM; NULL = the system's */
    const char *const *headers; /* "name: value" */
    unsigned header_count;
    bool is_json;
};

int path_probe(const struct path_probe_options *options);

#endif
