/*
 * Recorded traffic for tests: found by WEIR_WIRE_DIR, else beside the checkout; read in place.
 * One thread; nothing yields.
 * A recording owns its document; strings point into it until recordings_each goes on.
 * recordings_each returns how many fitted; 0 files at all means that there are none here.
 */
#ifndef WEIR_TESTS_RECORDINGS_H
#define WEIR_TESTS_RECORDINGS_H

#include <yyjson.h>

#include "base/str.h"

struct recording {
    const char *path;
    struct str api; /* "openai.chat" */
    unsigned status;
    struct str framing;
    struct str fidelity;     /* of the response */
    struct str body;         /* of the response; empty where it is not text */
    struct str body_b64;     /* of the response where it is not text */
    struct str error_type;   /* its x-amzn-errortype */
    struct str request_body; /* empty where it was not kept */
    yyjson_val *features;
};

typedef void recording_fn(const struct recording *recording, void *ctx);

/* Calls fn for each recording whose api matches one of the globs (NULL-terminated list). */
unsigned recordings_each(const char *const *apis, recording_fn *fn, void *ctx);
bool recordings_are_here(void);
bool recording_has(const struct recording *recording, const char *feature);

#endif
