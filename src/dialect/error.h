/*
 * What went wrong, in one form for all dialects: each reads its providers' errors into it and
 * writes it in the shape that its SDKs know.
 * Any thread; nothing yields; a plain value.
 * Texts point into what was read.
 * Cannot fail.
 */
#ifndef WEIR_DIALECT_ERROR_H
#define WEIR_DIALECT_ERROR_H

#include "dialect/text.h"

/* What an SDK tells apart; the order is that of `llm_error_kind_names`. */
enum llm_error_kind {
    LLM_ERROR_INVALID_REQUEST, /* 400, 422, 405, 415 ... */
    LLM_ERROR_AUTHENTICATION,  /* 401 */
    LLM_ERROR_PERMISSION,      /* 403 */
    LLM_ERROR_NOT_FOUND,       /* 404 */
    LLM_ERROR_TOO_LARGE,       /* 413: bytes, not tokens */
    LLM_ERROR_CONTEXT_LENGTH,  /* more tokens than the model takes */
    LLM_ERROR_CONTENT_POLICY,  /* refused for what it says */
    LLM_ERROR_RATE_LIMIT,      /* 429: later */
    LLM_ERROR_QUOTA,           /* 429, 402: not before somebody pays */
    LLM_ERROR_TIMEOUT,         /* 408, 504 */
    LLM_ERROR_OVERLOADED,      /* 503, 529 */
    LLM_ERROR_SERVER,          /* 500, 502 and what is not known */
    LLM_ERROR_KIND_COUNT
};
extern const char *const llm_error_kind_names[LLM_ERROR_KIND_COUNT];

struct llm_error {
    enum llm_error_kind kind;
    unsigned status;        /* HTTP status that it came with or stands for; 0 = not told */
    struct text message;    /* for people */
    struct text type, code; /* as the provider called it: "overloaded_error", "model_not_found" */
    struct text param;      /* the field that is to be mended */
    bool is_own;            /* weir's own: its code is told to whoever has codes, as it is */
    int64_t retry_after_ms; /* -1 = not told (told in the body: Gemini's RetryInfo) */
};
#define LLM_ERROR_NONE            \
    ((struct llm_error){          \
        .kind = LLM_ERROR_SERVER, \
        .retry_after_ms = -1,     \
    })

/* The kind that a status alone says. */
enum llm_error_kind llm_error_kind_of_status(unsigned status);
/* The status of a kind that came without one. */
unsigned llm_error_status_of_kind(enum llm_error_kind kind);

#endif
