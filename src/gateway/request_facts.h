/*
 * What routes may ask about a request, read from its body and headers: user, session, metadata, the
 * prompt's beginning, its size; and what it may cost.
 * The request's task, or whoever has a body.
 * Nothing yields.
 * Facts point into the body and the headers; what must be unescaped lives in the arena.
 * Facts know no errors: what cannot be found is empty or -1.
 */
#ifndef WEIR_GATEWAY_REQUEST_FACTS_H
#define WEIR_GATEWAY_REQUEST_FACTS_H

#include "provider/provider.h"
#include "route/facts.h"
#include "route/route.h"

/* About how many tokens a body is; -1 where it is too large to be words alone. */
int64_t request_tokens(size_t body_bytes);

/* Fills in user, session, metadata and prompt_prefix, which cost a look into the body. It is valid
 * JSON of any dialect. */
void request_facts_read(struct str body, const struct http_headers *headers, struct arena *arena,
                        struct route_facts *facts);

/* What the request may cost there, in USD, with an answer as long as answers usually are; -1 = the
 * model has no price. */
double request_price(const struct provider *provider, struct str model, int64_t input_tokens);

enum { FALLBACKS_MAX = 8 };
/* The names of a list of fallbacks as clients write it: strings, or objects with a "model". They
 * are copied. -ERR_INVALID: it is none, or too long; -ERR_NOMEM. */
int request_fallbacks_read(struct str list, struct arena *arena, struct route_names *out);

#endif
