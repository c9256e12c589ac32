/*
 * Requests to chat completions and completions: what policy needs to know, and the edits that make
 * a request fit its target. The body itself is never rewritten, only spliced.
 * Any thread; nothing yields.
 * Spans point into the body; unescaped text and edits live in the arena.
 * -ERR_INVALID / -ERR_LIMIT with a message for the client; `bad_param` names the field.
 * Source: platform.openai.com/docs/api-reference/chat/create.
 */
#ifndef WEIR_DIALECT_OPENAI_CHAT_REQUEST_H
#define WEIR_DIALECT_OPENAI_CHAT_REQUEST_H

#include "base/arena.h"
#include "base/json.h"

struct openai_request {
    struct str model; /* unescaped */
    bool is_stream;
    bool includes_usage; /* stream_options.include_usage is true */
    struct str bad_param;
    /* Where things stand in the body, for the edits. */
    struct json_span object;
    struct json_span model_span;
    enum json_kind stream_options_kind;
    struct json_span stream_options_span;
    enum json_kind include_usage_kind;
    struct json_span include_usage_span;
    struct json_found fallbacks;
};

int openai_request_scan(struct str body, unsigned max_depth, struct arena *arena,
                        struct openai_request *request);

/* insert.ptr is NULL when out of memory. */
struct json_edit openai_edit_model(const struct openai_request *request, struct arena *arena,
                                   struct str model);
/*
 * Makes stream_options.include_usage true. false where stream_options is of a type that the
 * provider is to complain about: then nothing is to be edited.
 */
bool openai_edit_include_usage(const struct openai_request *request, struct arena *arena,
                               struct str body, struct json_edit *edit);

#endif
