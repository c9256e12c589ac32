/*
 * What would become of a request: its plan under a config, with nothing known of how targets are
 * doing. Nothing is sent anywhere.
 * Main thread.
 * Nothing yields; the config and the request are read from files.
 * The options belong to the caller.
 * Returns an exit status; what went wrong has been told on stderr.
 */
#ifndef WEIR_CONTROL_EXPLAIN_H
#define WEIR_CONTROL_EXPLAIN_H

#include "base/str.h"

struct explain_options {
    const char *config;         /* NULL = the environment */
    const char *request;        /* a file with the body; NULL or "-" = the standard input */
    const char *dialect;        /* NULL = openai_chat */
    const char *model;          /* in place of the body's; Gemini and Bedrock have it in the path */
    const char *key;            /* name of a virtual key; NULL = none */
    const char *const *headers; /* "name: value" */
    unsigned header_count;
    bool is_stream;    /* also where the body does not say so */
    bool wants_reason; /* why each target is where it is; else names alone */
    bool is_json;
};

int explain_plan(const struct explain_options *options);

#endif
