/*
 * How the gateway itself says no: every reason once, with its status and its words.
 * Loop threads.
 * refuse yields (it writes the answer); refusal_write and refusal_for_bad_http do not.
 * Texts live in the exchange's arena.
 * Before the head is sent a refusal is a whole answer in the client's dialect; afterwards it is the
 * dialect's error event (relay.h).
 */
#ifndef WEIR_GATEWAY_REFUSAL_H
#define WEIR_GATEWAY_REFUSAL_H

#include "base/buf.h"
#include "dialect/error.h"
#include "rt/task.h"

struct arena;
struct exchange;

enum refusal {
    REFUSE_PATH,   /* no such endpoint */
    REFUSE_METHOD, /* the endpoint has other methods */
    REFUSE_KEY_MISSING,
    REFUSE_KEY_UNKNOWN,
    REFUSE_KEY_EXPIRED,
    REFUSE_KEY_DISABLED,
    REFUSE_SIGNATURE,       /* AWS Signature Version 4 that does not hold */
    REFUSE_NOT_ADMIN,       /* an endpoint for operators */
    REFUSE_ORIGIN,          /* a page of another site */
    REFUSE_MODEL_FORBIDDEN, /* the key may not use it */
    REFUSE_MODEL_UNKNOWN,
    REFUSE_MODEL_AMBIGUOUS,
    REFUSE_NO_MATCH,         /* the conditions of a route leave no target */
    REFUSE_RESPONSE_UNKNOWN, /* no response of that id */
    REFUSE_STREAM_UNKNOWN,   /* no stream of that id */
    REFUSE_STREAM_GONE,      /* it is not kept any more, or not all of it */
    REFUSE_STREAM_RANGE,     /* an event that it does not have */
    REFUSE_ONCE_KEY_REUSED,  /* an Idempotency-Key of another request */
    REFUSE_HEADER,           /* a header of the request with a value that it cannot have */
    REFUSE_UPGRADE,          /* an ordinary request to what is a WebSocket */
    REFUSE_SESSIONS,         /* the key has as many as it may */
    REFUSE_HANDSHAKE,        /* of a WebSocket */
    REFUSE_OPERATION,        /* the provider does not offer this operation */
    REFUSE_DIALECT,          /* the provider speaks another dialect */
    REFUSE_UNMAPPABLE, /* the target's dialect has no place for it, and dropping is not wanted */
    REFUSE_BODY,       /* not the JSON that is asked for */
    REFUSE_BODY_TOO_LARGE,
    REFUSE_BODY_ENCODING, /* Content-Encoding unknown or broken */
    REFUSE_BODY_TIMEOUT,
    REFUSE_NO_MEMORY,
    REFUSE_DRAINING, /* cut off by a shutdown */
    REFUSE_UPSTREAM_CONNECT,
    REFUSE_UPSTREAM_FORBIDDEN, /* the dial guard */
    REFUSE_UPSTREAM_TLS,
    REFUSE_UPSTREAM_TIMEOUT,
    REFUSE_UPSTREAM_BROKEN, /* reset, early end, bytes that break HTTP */
    REFUSE_UPSTREAM_LIMIT,  /* answer or event larger than the limit */
    REFUSE_LIMITED,         /* every key of every target is at its limit */
    REFUSE_NO_TARGET,       /* every target is resting */
    REFUSE_UPSTREAM_ERROR,  /* it answered with an error that cannot be passed on as it is */
    REFUSE_INTERNAL,
    REFUSAL_COUNT
};

struct refusal_row {
    unsigned status;
    const char *type;    /* OpenAI's error.type */
    const char *code;    /* error.code: stable, for programs */
    const char *outcome; /* of the record */
};
const struct refusal_row *refusal_row(enum refusal refusal);

/*
 * Answers with the refusal and notes it in the exchange's record. `param` names the field that is
 * to be mended, or is empty. Once the head is sent it only notes it.
 */
YIELDS void refuse(struct exchange *ex, enum refusal refusal, struct str param, const char *format,
                   ...) PRINTF_LIKE(4, 5);
/* "The gateway is out of memory": -ERR_NOMEM. */
YIELDS int refuse_no_memory(struct exchange *ex);
/* The provider's error in the client's dialect; `status` 0 = that of the error. */
YIELDS void refuse_with_error(struct exchange *ex, unsigned status, const struct llm_error *error);
/* The same where the error is in the client's dialect already (an error inside a 200). */
YIELDS void refuse_with_status(struct exchange *ex, unsigned status, enum refusal refusal,
                               struct str body);
/* The refusal as an error of the neutral form, for the dialect's error event. */
struct llm_error refusal_error(enum refusal refusal, struct str param, struct str message);
/* Notes the refusal in the record without answering. */
void refusal_note(struct exchange *ex, enum refusal refusal, struct str message);
/* Which refusal a failed call upstream is, from the error slot. */
enum refusal refusal_of_upstream(int code);

/* For http_server_settings: a request that is not HTTP gets this dialect's error too. */
struct str refusal_for_bad_http(struct arena *arena, unsigned status, const char *message,
                                struct str *content_type);

#endif
