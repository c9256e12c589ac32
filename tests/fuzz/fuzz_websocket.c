/* The first byte says who reads and where to cut: any cut must read the same, and what was read,
 * written again, must be the bytes that came. */
#include "base/buf.h"
#include "http/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    struct buf pieces;  /* frames with their payload, without regard to cuts */
    struct buf written; /* the frames again, with the key they came with */
    int error;
    unsigned close_code;
};

static void note(struct reading *got, const struct ws_reader *r, struct ws_piece *p)
{
    if (p->is_first) {
        char head[WS_HEAD_MAX];
        struct ws_frame frame = {
            .opcode = p->opcode,
            .is_final = p->is_final,
            .has_rsv1 = p->has_rsv1,
            .bytes = p->frame_bytes,
            .key = r->settings.role == WS_SERVER ? r->key : NULL,
        };
        buf_add(&got->written, head, ws_put_head(head, &frame));
        buf_printf(&got->pieces, "\n%d %d %d ", p->opcode, p->message, p->is_compressed);
    }
    buf_add(&got->pieces, p->bytes, p->len);
    size_t at = got->written.len;
    uint64_t left = p->is_last ? 0 : r->left;
    buf_add(&got->written, p->bytes, p->len);
    if (r->settings.role == WS_SERVER && p->len > 0)
        ws_mask(got->written.ptr + at, p->len, r->key, p->frame_bytes - left - p->len);
}

static void read_in_steps(const struct ws_reader_settings *settings, struct str stream, size_t step,
                          struct reading *got)
{
    struct ws_reader r;
    struct ws_piece piece;
    ws_reader_init(&r, settings);
    got->error = 0;
    while (stream.len > 0 && got->error == 0) {
        struct buf part = BUF_INIT;
        buf_add_str(&part, str_head(stream, step));
        stream = str_skip(stream, part.len);
        char *at = part.ptr;
        size_t len = part.len;
        while ((got->error = ws_next(&r, &at, &len, &piece)) == 1)
            note(got, &r, &piece);
        CHECK(got->error < 0 || len == 0);
        buf_fini(&part);
    }
    got->close_code = r.close_code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str stream = str_n((const char *)data + 1, size - 1);
    struct ws_reader_settings settings = {
        .role = (data[0] & 1) != 0 ? WS_CLIENT : WS_SERVER,
        .has_deflate = (data[0] & 2) != 0,
        .message_max = (data[0] & 4) != 0 ? 300 : 0,
    };
    struct reading whole = {BUF_INIT, BUF_INIT, 0, 0}, cut = {BUF_INIT, BUF_INIT, 0, 0};
    read_in_steps(&settings, stream, stream.len, &whole);
    read_in_steps(&settings, stream, 1 + (size_t)data[0] / 8, &cut);
    CHECK(whole.error == cut.error && whole.close_code == cut.close_code);
    CHECK((whole.error < 0) == (whole.close_code != 0));
    CHECK(str_starts(stream, buf_str(&whole.written)));
    CHECK(str_starts(stream, buf_str(&cut.written)));
    /* Broken text is told at once, before or behind a cut. */
    if (whole.error == 0)
        CHECK(str_eq(buf_str(&whole.pieces), buf_str(&cut.pieces)));
    else
        CHECK(str_starts(buf_str(&cut.pieces), buf_str(&whole.pieces)));
    buf_fini(&whole.pieces);
    buf_fini(&whole.written);
    buf_fini(&cut.pieces);
    buf_fini(&cut.written);
    return 0;
}
