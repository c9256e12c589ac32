/*
 * What answers of every HTTP version have in common: Date, which headers may pass, when there is no
 * body.
 * The loop's thread.
 * Nothing yields.
 * The date's text is the thread's and lasts for a second.
 * Nothing can fail.
 */
#ifndef WEIR_HTTP_RESPONSE_HEAD_H
#define WEIR_HTTP_RESPONSE_HEAD_H

#include "http/server.h"

/* This second's Date, formatted once for all connections of the thread. */
struct str response_date(void);
/* False for what we write ourselves, what belongs to one hop, and what would break the head. */
bool response_may_pass(const struct http_headers *headers, const struct http_header *h);
/* True when no body follows whatever the handler writes (RFC 9110 section 6.4.1). */
bool response_has_no_body(const struct http_request *r);

#endif
