/*
 * Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}, and the reading of
 * errors that providers of this dialect send, whose shapes differ.
 * Any thread; nothing yields.
 * The writer appends to the caller's buf; what is read points into the input.
 * Writing fails only by the buf's own flag; reading fails by returning false.
 * Source: platform.openai.com/docs/guides/error-codes and recorded answers of some thirty
 * providers.
 */
#ifndef WEIR_DIALECT_OPENAI_CHAT_ERROR_H
#define WEIR_DIALECT_OPENAI_CHAT_ERROR_H

#include "base/buf.h"

/* `param` and `code` empty = null. */
void openai_error_write(struct buf *out, struct str type, struct str param, struct str code,
                        struct str message);

/* What an answer with an error inside says. */
struct openai_error {
    struct str raw;     /* the whole error value as it stands in the document */
    struct str message; /* JSON-escaped text without its quotes; may be empty */
    struct str type;    /* the same */
    struct str code;    /* string or number as text */
    unsigned status;    /* 4xx or 5xx where the body tells one or its type implies one; else 0 */
};

/*
 * True when the document (one JSON object: an answer's body, or an event's data) is an error:
 * "error" is an object or a text, or it is of object type "error", and there are no choices with
 * content beside it.
 */
bool openai_error_read(struct str document, struct openai_error *error);

#endif
