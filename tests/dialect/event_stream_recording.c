#include "event_stream_recording.h"

#include <openssl/evp.h>

bool event_stream_recording(const struct recording *recording, struct buf *out)
{
    if (!str_eq(recording->framing, STR("aws-eventstream")))
        return false;
    struct str base64 = recording->body_b64;
    CHECK(base64.len % 4 == 0 && base64.len > 0 && buf_reserve(out, base64.len));
    int len = EVP_DecodeBlock((unsigned char *)out->ptr + out->len,
                              (const unsigned char *)base64.ptr, (int)base64.len);
    CHECK(len > 0);
    size_t padding = str_ends(base64, STR("==")) ? 2 : str_ends(base64, STR("="));
    out->len += (size_t)len - padding;
    return true;
}
