#include "http/websocket.h"

#include "base/err.h"

enum {
    FIN = 0x80,
    RSV1 = 0x40,
    RSV23 = 0x30,
    OPCODE = 0x0f,
    MASKED = 0x80,
    LENGTH = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
};

void ws_reader_init(struct ws_reader *r, const struct ws_reader_settings *settings)
{
    *r = (struct ws_reader){.settings = *settings};
}

static int refuse(struct ws_reader *r, unsigned close_code, const char *what)
{
    enum err_fault fault = r->settings.role == WS_SERVER ? FAULT_CLIENT : FAULT_UPSTREAM;
    enum err_code code = close_code == WS_CLOSE_TOO_LARGE ? ERR_LIMIT : ERR_PROTOCOL;
    r->close_code = close_code;
    r->error = err_set(code, fault, "WebSocket: %s", what);
    return r->error;
}

/* --- text --- */

/* How many bytes follow a first one, and what the second may be (Unicode 15, table 3-7). */
static bool utf8_begin(struct ws_utf8 *u, uint8_t c)
{
    if (c < 0x80)
        return true;
    if (c < 0xc2 || c > 0xf4)
        return false;
    u->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return true;
}

/* False as soon as no text could go on like this. */
static bool utf8_take(struct ws_utf8 *u, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t word;
        while (u->left == 0 && i + sizeof(word) <= len) {
            memcpy(&word, bytes + i, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) != 0)
                break;
            i += sizeof(word);
        }
        if (i == len)
            break;
        uint8_t c = (uint8_t)bytes[i];
        if (u->left == 0) {
            if (!utf8_begin(u, c))
                return false;
            continue;
        }
        if (c < u->low || c > u->high)
            return false;
        u->left--;
        u->low = 0x80;
        u->high = 0xbf;
    }
    return true;
}

static bool is_text(struct str s)
{
    struct ws_utf8 u = {0};
    return utf8_take(&u, s.ptr, s.len) && u.left == 0;
}

struct str ws_cut_text(struct str text, size_t max)
{
    if (text.len <= max)
        return text;
    while (max > 0 && ((uint8_t)text.ptr[max] & 0xc0) == 0x80)
        max--;
    return str_head(text, max);
}

/* --- close frames --- */

bool ws_close_code_is_valid(unsigned code)
{
    if (code >= 3000)
        return code <= 4999;
    return code >= 1000 && code <= 1014 && code != 1004 && code != WS_CLOSE_NONE &&
           code != WS_CLOSE_LOST;
}

unsigned ws_close_read(struct str payload, struct str *reason)
{
    *reason = str_skip(payload, 2);
    if (payload.len < 2)
        return WS_CLOSE_NONE;
    return (unsigned)(uint8_t)payload.ptr[0] << 8 | (uint8_t)payload.ptr[1];
}

static int check_close(struct ws_reader *r, struct str payload)
{
    struct str reason;
    unsigned code = ws_close_read(payload, &reason);
    if (payload.len == 1)
        return refuse(r, WS_CLOSE_PROTOCOL, "a close frame with half a code");
    if (payload.len > 0 && !ws_close_code_is_valid(code))
        return refuse(r, WS_CLOSE_PROTOCOL, "a close frame with a code that may not be sent");
    if (!is_text(reason))
        return refuse(r, WS_CLOSE_NOT_UTF8, "the reason of a close frame is not UTF-8");
    return 0;
}

/* --- the head of a frame --- */

static bool is_control(enum ws_opcode opcode)
{
    return (opcode & 8) != 0;
}

static size_t key_bytes(const struct ws_reader *r)
{
    return r->settings.role == WS_SERVER ? WS_KEY_BYTES : 0;
}

/* How long the head is, as far as its first two bytes tell; they may be missing. */
static size_t head_bytes(const struct ws_reader *r)
{
    if (r->head_len < 2)
        return 2;
    unsigned length = r->head[1] & LENGTH;
    size_t more = length == LENGTH_64 ? 8 : length == LENGTH_16 ? 2 : 0;
    return 2 + more + key_bytes(r);
}

static uint64_t read_number(const uint8_t *p, size_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++)
        n = n << 8 | p[i];
    return n;
}

/* What the first two bytes alone tell to be wrong. */
static int check_start(struct ws_reader *r)
{
    uint8_t first = r->head[0];
    enum ws_opcode opcode = (enum ws_opcode)(first & OPCODE);
    bool is_masked = (r->head[1] & MASKED) != 0;
    if ((opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG)
        return refuse(r, WS_CLOSE_PROTOCOL, "a frame of an unknown kind (opcode)");
    if ((first & RSV23) != 0)
        return refuse(r, WS_CLOSE_PROTOCOL, "a frame with a reserved bit");
    if ((first & RSV1) != 0 &&
        (!r->settings.has_deflate || is_control(opcode) || opcode == WS_CONTINUATION))
        return refuse(r, WS_CLOSE_PROTOCOL,
                      "a frame is marked as compressed where it must not be (RSV1)");
    if (r->settings.role == WS_SERVER && !is_masked)
        return refuse(r, WS_CLOSE_PROTOCOL, "a client's frame that is not masked");
    if (r->settings.role == WS_CLIENT && is_masked)
        return refuse(r, WS_CLOSE_PROTOCOL, "a server's frame that is masked");
    if (is_control(opcode)) {
        if ((first & FIN) == 0)
            return refuse(r, WS_CLOSE_PROTOCOL, "a control frame in fragments");
        if ((r->head[1] & LENGTH) > WS_CONTROL_MAX)
            return refuse(r, WS_CLOSE_PROTOCOL, "a control frame of more than 125 bytes");
        return 0;
    }
    if (opcode == WS_CONTINUATION && r->message == WS_CONTINUATION)
        return refuse(r, WS_CLOSE_PROTOCOL, "a fragment that continues no message");
    if (opcode != WS_CONTINUATION && r->message != WS_CONTINUATION)
        return refuse(r, WS_CLOSE_PROTOCOL, "a message begins inside another one");
    return 0;
}

/* The length, which must be in its shortest form, and what it may be. */
static int take_length(struct ws_reader *r)
{
    unsigned length = r->head[1] & LENGTH;
    uint64_t n = length;
    if (length == LENGTH_16)
        n = read_number(r->head + 2, 2);
    else if (length == LENGTH_64)
        n = read_number(r->head + 2, 8);
    if ((length == LENGTH_16 && n < LENGTH_16) || (length == LENGTH_64 && n <= UINT16_MAX))
        return refuse(r, WS_CLOSE_PROTOCOL, "a frame's length is not in its shortest form");
    if (n > INT64_MAX)
        return refuse(r, WS_CLOSE_PROTOCOL, "a frame's length has its highest bit set");
    r->frame_bytes = r->left = n;
    return 0;
}

static int begin_data(struct ws_reader *r)
{
    uint64_t max = r->settings.message_max;
    if (r->opcode != WS_CONTINUATION) {
        r->message = r->opcode;
        r->message_bytes = 0;
        r->is_compressed = r->has_rsv1;
        r->utf8 = (struct ws_utf8){0};
    }
    if (max > 0 && (r->message_bytes > max || r->frame_bytes > max - r->message_bytes))
        return refuse(r, WS_CLOSE_TOO_LARGE, "a message is larger than the limit");
    r->message_bytes += r->frame_bytes;
    return 0;
}

/* The head is whole: the frame begins. */
static int begin_frame(struct ws_reader *r)
{
    int result = take_length(r);
    if (result < 0)
        return result;
    r->opcode = (enum ws_opcode)(r->head[0] & OPCODE);
    r->is_final = (r->head[0] & FIN) != 0;
    r->has_rsv1 = (r->head[0] & RSV1) != 0;
    if (key_bytes(r) > 0)
        memcpy(r->key, r->head + r->head_len - WS_KEY_BYTES, WS_KEY_BYTES);
    r->head_len = 0;
    r->in_frame = true;
    r->has_begun = false;
    return is_control(r->opcode) ? 0 : begin_data(r);
}

/* Takes bytes of the head. 1 = it is whole, 0 = more are needed, or -ERR_x. */
static int take_head(struct ws_reader *r, char **bytes, size_t *len)
{
    for (;;) {
        size_t needed = head_bytes(r);
        if (r->head_len == needed)
            break;
        size_t n = MIN(needed - r->head_len, *len);
        if (n == 0)
            return 0;
        memcpy(r->head + r->head_len, *bytes, n);
        r->head_len = (uint8_t)(r->head_len + n);
        *bytes += n;
        *len -= n;
        /* The length of the head follows from two bytes, which are checked once. */
        int result = needed == 2 && r->head_len == 2 ? check_start(r) : 0;
        if (result < 0)
            return result;
    }
    int result = begin_frame(r);
    return result < 0 ? result : 1;
}

/* --- payload --- */

static void unmask(const struct ws_reader *r, char *bytes, size_t len)
{
    if (key_bytes(r) > 0)
        ws_mask(bytes, len, r->key, r->frame_bytes - r->left);
}

static void fill_piece(const struct ws_reader *r, char *bytes, size_t len, struct ws_piece *piece)
{
    *piece = (struct ws_piece){
        .opcode = r->opcode,
        .message = is_control(r->opcode) ? r->opcode : r->message,
        .is_first = !r->has_begun,
        .is_last = r->left == 0,
        .is_final = r->is_final,
        .has_rsv1 = r->has_rsv1,
        .is_compressed = !is_control(r->opcode) && r->is_compressed,
        .frame_bytes = r->frame_bytes,
        .bytes = bytes,
        .len = len,
    };
}

/* Gathers a control frame. 1, 0 or -ERR_x. */
static int take_control(struct ws_reader *r, char *bytes, size_t n, struct ws_piece *piece)
{
    size_t at = (size_t)(r->frame_bytes - r->left);
    memcpy(r->control + at, bytes, n);
    unmask(r, r->control + at, n);
    r->left -= n;
    if (r->left > 0)
        return 0;
    struct str payload = str_n(r->control, (size_t)r->frame_bytes);
    int result = r->opcode == WS_CLOSE ? check_close(r, payload) : 0;
    if (result < 0)
        return result;
    r->in_frame = false;
    r->is_closed = r->opcode == WS_CLOSE;
    fill_piece(r, r->control, payload.len, piece);
    return 1;
}

static int take_data(struct ws_reader *r, char *bytes, size_t n, struct ws_piece *piece)
{
    if (n == 0 && r->left > 0)
        return 0;
    unmask(r, bytes, n);
    r->left -= n;
    bool ends_message = r->left == 0 && r->is_final;
    if (r->message == WS_TEXT && !r->is_compressed &&
        (!utf8_take(&r->utf8, bytes, n) || (ends_message && r->utf8.left > 0)))
        return refuse(r, WS_CLOSE_NOT_UTF8, "a text message is not UTF-8");
    fill_piece(r, bytes, n, piece);
    r->has_begun = true;
    r->in_frame = r->left > 0;
    if (ends_message)
        r->message = WS_CONTINUATION;
    return 1;
}

int ws_next(struct ws_reader *r, char **bytes, size_t *len, struct ws_piece *piece)
{
    if (r->error < 0)
        return refuse(r, r->close_code, "the connection has failed before");
    int result = 0;
    while (result == 0) {
        if (r->is_closed) {
            *bytes += *len;
            *len = 0;
            return 0;
        }
        if (!r->in_frame) {
            result = take_head(r, bytes, len);
            if (result <= 0)
                return result;
        }
        size_t n = (size_t)MIN(r->left, (uint64_t)*len);
        result = is_control(r->opcode) ? take_control(r, *bytes, n, piece)
                                       : take_data(r, *bytes, n, piece);
        *bytes += n;
        *len -= n;
        if (result == 0 && *len == 0)
            return 0;
    }
    return result;
}

bool ws_is_between_frames(const struct ws_reader *r)
{
    return !r->in_frame;
}

/* --- writing --- */

void ws_mask(char *bytes, size_t len, const uint8_t key[WS_KEY_BYTES], uint64_t offset)
{
    uint8_t pattern[8];
    uint64_t wide, word;
    size_t i = 0;
    for (size_t k = 0; k < sizeof(pattern); k++)
        pattern[k] = key[(offset + k) % WS_KEY_BYTES];
    memcpy(&wide, pattern, sizeof(wide));
    for (; i + sizeof(word) <= len; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        word ^= wide;
        memcpy(bytes + i, &word, sizeof(word));
    }
    for (; i < len; i++)
        bytes[i] = (char)((uint8_t)bytes[i] ^ pattern[i % sizeof(pattern)]);
}

static size_t put_number(char *out, uint64_t n, size_t len)
{
    for (size_t i = len; i > 0; i--, n >>= 8)
        out[i - 1] = (char)(n & 0xff);
    return len;
}

size_t ws_put_head(char out[WS_HEAD_MAX], const struct ws_frame *frame)
{
    unsigned mask = frame->key != NULL ? MASKED : 0;
    size_t len = 2;
    out[0] =
        (char)((frame->is_final ? FIN : 0) | (frame->has_rsv1 ? RSV1 : 0) | (int)frame->opcode);
    if (frame->bytes < LENGTH_16) {
        out[1] = (char)(mask | frame->bytes);
    } else if (frame->bytes <= UINT16_MAX) {
        out[1] = (char)(mask | LENGTH_16);
        len += put_number(out + 2, frame->bytes, 2);
    } else {
        out[1] = (char)(mask | LENGTH_64);
        len += put_number(out + 2, frame->bytes, 8);
    }
    if (frame->key != NULL) {
        memcpy(out + len, frame->key, WS_KEY_BYTES);
        len += WS_KEY_BYTES;
    }
    return len;
}

void ws_add_frame(struct buf *out, enum ws_opcode opcode, struct str payload, const uint8_t *key)
{
    char head[WS_HEAD_MAX];
    struct ws_frame frame = {.opcode = opcode, .is_final = true, .bytes = payload.len, .key = key};
    buf_add(out, head, ws_put_head(head, &frame));
    size_t at = out->len;
    buf_add_str(out, payload);
    if (key != NULL && buf_ok(out))
        ws_mask(out->ptr + at, payload.len, key, 0);
}

void ws_add_close(struct buf *out, unsigned code, struct str reason, const uint8_t *key)
{
    char payload[WS_CONTROL_MAX];
    struct str text = ws_cut_text(reason, WS_REASON_MAX);
    if (code == WS_CLOSE_NONE) {
        ws_add_frame(out, WS_CLOSE, STR_EMPTY, key);
        return;
    }
    put_number(payload, code, 2);
    if (text.len > 0)
        memcpy(payload + 2, text.ptr, text.len);
    ws_add_frame(out, WS_CLOSE, str_n(payload, 2 + text.len), key);
}
