/*
 * WebSocket frames (RFC 6455): a reader and a writer of ours. Sans-I/O, for both roles.
 * One connection's direction at a time; nothing yields.
 * The reader unmasks in the caller's bytes and hands out pieces of them; of its own it keeps only
 * a frame's head and a control frame's payload, so no frame is ever gathered.
 * -ERR_PROTOCOL or -ERR_LIMIT with words in the error slot; ws_reader.close_code is what the peer
 * is to be told. An error comes again from every later call. Any cut of the bytes reads the same.
 */
#ifndef WEIR_HTTP_WEBSOCKET_H
#define WEIR_HTTP_WEBSOCKET_H

#include "base/buf.h"

/* RFC 6455 section 5.2. */
enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

/* RFC 6455 section 7.4.1 and the registry of IANA that follows it. */
enum ws_close_code {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NONE = 1005, /* never on the wire: the close frame named none */
    WS_CLOSE_LOST = 1006, /* never on the wire: there was no close frame */
    WS_CLOSE_NOT_UTF8 = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_LARGE = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_TRY_LATER = 1013,
    WS_CLOSE_BAD_GATEWAY = 1014,
};

enum {
    WS_CONTROL_MAX = 125, /* payload of a control frame */
    WS_REASON_MAX = 123,  /* of a close frame, beside its code */
    WS_HEAD_MAX = 14,
    WS_KEY_BYTES = 4,
};

/* Who reads: a server takes masked frames only, a client unmasked ones only (section 5.1). */
enum ws_role { WS_SERVER, WS_CLIENT };

struct ws_reader_settings {
    enum ws_role role;
    bool has_deflate;     /* permessage-deflate was agreed on: RSV1 may stand on a first frame */
    uint64_t message_max; /* bytes of a message as they are on the wire, all its frames; 0 = any */
};

/*
 * A part of a frame. A data frame comes in as many as its bytes were read in; a control frame is
 * always one. A frame without payload is one piece, too.
 */
struct ws_piece {
    enum ws_opcode opcode;  /* of the frame */
    enum ws_opcode message; /* WS_TEXT or WS_BINARY: what a data frame is part of */
    bool is_first;          /* the frame begins with this piece */
    bool is_last;           /* and ends with this one */
    bool is_final;          /* the frame's FIN: the message ends with the frame */
    bool has_rsv1;          /* the frame's RSV1 */
    bool is_compressed;     /* RSV1 stood on the message's first frame */
    uint64_t frame_bytes;   /* payload of the whole frame */
    char *bytes;            /* unmasked: in the input, or the reader's (control frames) */
    size_t len;
};

struct ws_utf8 {
    uint8_t left, low, high; /* bytes that are missing, and what the next of them may be */
};

struct ws_reader {
    struct ws_reader_settings settings;
    uint8_t head[WS_HEAD_MAX];
    uint8_t head_len;
    bool in_frame;
    /* The frame being read. */
    enum ws_opcode opcode;
    bool is_final, has_rsv1, has_begun;
    uint8_t key[WS_KEY_BYTES];
    uint64_t frame_bytes, left;
    char control[WS_CONTROL_MAX];
    /* The message being read; WS_CONTINUATION = none. */
    enum ws_opcode message;
    bool is_compressed;
    uint64_t message_bytes;
    struct ws_utf8 utf8;

    bool is_closed; /* a close frame was read: what follows it is thrown away */
    int error;
    unsigned close_code; /* with an error: what to tell the peer */
};

void ws_reader_init(struct ws_reader *r, const struct ws_reader_settings *settings);
/*
 * Takes the next piece from *bytes and moves *bytes and *len past it. 1 = a piece, 0 = all was
 * taken, or -ERR_x. Call again until 0.
 */
int ws_next(struct ws_reader *r, char **bytes, size_t *len, struct ws_piece *piece);
/* True between two frames: where frames of one's own can be put in. */
bool ws_is_between_frames(const struct ws_reader *r);

/* What a close frame says: its code (WS_CLOSE_NONE for an empty one) and its reason, which points
 * into `payload`. The payload must be of a piece that ws_next gave: that has checked it. */
unsigned ws_close_read(struct str payload, struct str *reason);
/* True for the codes that may stand in a close frame. */
bool ws_close_code_is_valid(unsigned code);
/* The longest head of `text`, at most `max` bytes, that does not cut a character in two. */
struct str ws_cut_text(struct str text, size_t max);

/* XORs `bytes`, which begin at `offset` of their frame's payload, with the key. Twice is nothing.
 */
void ws_mask(char *bytes, size_t len, const uint8_t key[WS_KEY_BYTES], uint64_t offset);

struct ws_frame {
    enum ws_opcode opcode;
    bool is_final;
    bool has_rsv1;
    uint64_t bytes;     /* of the payload */
    const uint8_t *key; /* WS_KEY_BYTES of a client's; NULL = a server's frame, not masked */
};

/* Writes a frame's head in its shortest form and returns its length. */
size_t ws_put_head(char out[WS_HEAD_MAX], const struct ws_frame *frame);
/* Appends a whole unfragmented frame, masked where a key is given. */
void ws_add_frame(struct buf *out, enum ws_opcode opcode, struct str payload, const uint8_t *key);
/* Appends a close frame; WS_CLOSE_NONE gives an empty one. The reason is cut to WS_REASON_MAX. */
void ws_add_close(struct buf *out, unsigned code, struct str reason, const uint8_t *key);

#endif
