/*
 * What gRPC puts on HTTP/2: frames of messages, deadlines, status codes.
 * Any thread.
 * Nothing yields.
 * Nothing is kept but the counters in the caller's grpc_frames.
 * -ERR_LIMIT for a message that is too large, -ERR_PROTOCOL for a frame that is none.
 */
#ifndef WEIR_HTTP_GRPC_H
#define WEIR_HTTP_GRPC_H

#include "base/buf.h"

/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum grpc_code {
    GRPC_OK,
    GRPC_CANCELLED,
    GRPC_UNKNOWN,
    GRPC_INVALID_ARGUMENT,
    GRPC_DEADLINE_EXCEEDED,
    GRPC_NOT_FOUND,
    GRPC_ALREADY_EXISTS,
    GRPC_PERMISSION_DENIED,
    GRPC_RESOURCE_EXHAUSTED,
    GRPC_FAILED_PRECONDITION,
    GRPC_ABORTED,
    GRPC_OUT_OF_RANGE,
    GRPC_UNIMPLEMENTED,
    GRPC_INTERNAL,
    GRPC_UNAVAILABLE,
    GRPC_DATA_LOSS,
    GRPC_UNAUTHENTICATED,
    GRPC_CODE_COUNT
};
extern const char *const grpc_code_names[GRPC_CODE_COUNT];

/* application/grpc, with a subtype or parameters; not gRPC-Web. */
bool grpc_is_content_type(struct str content_type);

/* What a status of HTTP means: of an upstream that does not answer in gRPC, or of a refusal of our
 * own (401 is UNAUTHENTICATED, 404 UNIMPLEMENTED, 429 RESOURCE_EXHAUSTED, ...). */
enum grpc_code grpc_code_of_http(unsigned status);
/* The other way round, for what judges answers by it. */
unsigned grpc_http_of_code(enum grpc_code code);
/* The value of grpc-status; GRPC_UNKNOWN for what is no code. */
enum grpc_code grpc_code_read(struct str value);

/* "100m", "5S": at most eight digits and a unit. False on anything else. */
bool grpc_timeout_read(struct str value, int64_t *ns);
enum { GRPC_TIMEOUT_BYTES = 9 };
/* The bytes that were written; never zero time. */
size_t grpc_timeout_write(char out[GRPC_TIMEOUT_BYTES], int64_t ns);

/* As grpc-message: percent-encoded where it is no printable ASCII. */
void grpc_message_write(struct buf *out, struct str message);

/* Where in its messages one direction of a call is. */
struct grpc_frames {
    uint64_t messages; /* that are whole */
    uint64_t left;     /* bytes of the message under way */
    uint64_t limit;    /* bytes a message may have */
    unsigned char prefix[5];
    unsigned prefix_len; /* bytes of the prefix that are there, 5 while a message is under way */
};

/* The next bytes. *message gets those of them that belong to one message (may be none), *rest what
 * comes after them; `*is_end`: the message is whole with them. Call it until rest is empty. */
int grpc_frames_next(struct grpc_frames *frames, struct str bytes, struct str *message,
                     struct str *rest, bool *is_end);
/* All of them, to be counted only. */
int grpc_frames_count(struct grpc_frames *frames, struct str bytes);

#endif
