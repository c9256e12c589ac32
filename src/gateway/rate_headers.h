/*
 * What is left of a rate limit, from one vendor's headers into another's.
 * Any thread; nothing yields.
 * Values live in the arena.
 * false when out of memory; what is not understood is left out.
 * Sources: platform.openai.com/docs/guides/rate-limits (x-ratelimit-*, resets as durations),
 * docs.anthropic.com/en/api/rate-limits (anthropic-ratelimit-*, resets as RFC 3339 times).
 */
#ifndef WEIR_GATEWAY_RATE_HEADERS_H
#define WEIR_GATEWAY_RATE_HEADERS_H

#include "gateway/headers.h"

/* Adds to `out` what `upstream` tells, in the form of way->client; forms that only OpenAI's and
 * Anthropic's SDKs know are given to those. */
bool rate_headers_translate(struct http_headers *out, struct arena *arena,
                            const struct http_headers *upstream, const struct headers_way *way);

#endif
