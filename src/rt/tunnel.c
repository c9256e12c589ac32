#include "rt/tunnel.h"

#include "base/buf.h"

enum { REPLY_MAX_BYTES = 8 * 1024 };

/* What would end the request line or a header early must not come from a name or a secret. */
static bool is_clean(struct str s, bool spaces_allowed)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == 0x7f || (c == ' ' && !spaces_allowed))
            return false;
    }
    return true;
}

YIELDS static int write_request(struct io *io, struct str host, uint16_t port,
                                struct str authorization, int64_t deadline_ns)
{
    if (!is_clean(host, false) || !is_clean(authorization, true))
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "a host name or proxy credential with a control character");
    bool is_v6 = str_index(host, ':') >= 0 && host.ptr[0] != '[';
    const char *left = is_v6 ? "[" : "", *right = is_v6 ? "]" : "";
    struct buf out = BUF_INIT;
    buf_printf(&out, "CONNECT %s%.*s%s:%u HTTP/1.1\r\nHost: %s%.*s%s:%u\r\n", left, STR_ARG(host),
               right, port, left, STR_ARG(host), right, port);
    if (authorization.len > 0) {
        BUF_LIT(&out, "Proxy-Authorization: ");
        buf_add_str(&out, authorization);
        BUF_LIT(&out, "\r\n");
    }
    BUF_LIT(&out, "\r\n");
    int r = buf_ok(&out) ? io_write(io, out.ptr, out.len, deadline_ns)
                         : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to ask a proxy");
    buf_fini(&out);
    return r;
}

/* Reads up to the empty line that ends the head, and no further than that. */
YIELDS static int read_head(struct io *io, struct buf *head, int64_t deadline_ns)
{
    for (;;) {
        struct str chunk;
        ssize_t n = io_recv(io, &chunk, deadline_ns);
        if (n < 0)
            return (int)n;
        buf_add_str(head, chunk);
        if (!buf_ok(head))
            return err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                           "the proxy's answer is longer than %d bytes", REPLY_MAX_BYTES);
        ptrdiff_t end = str_find(buf_str(head), STR("\r\n\r\n"));
        if (end < 0)
            continue;
        /* Nothing can have come through the tunnel before anything went in. */
        if ((size_t)end + 4 != head->len)
            return err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                           "the proxy sent bytes before the tunnel was used");
        head->len = (size_t)end;
        return 0;
    }
}

/* "HTTP/1.1 200 Connection established" -> 200 */
static bool status_parse(struct str line, unsigned *status)
{
    uint64_t code;
    if (!str_starts(line, STR("HTTP/1.")) || line.len < 12 || line.ptr[8] != ' ' ||
        !str_to_u64(str_n(line.ptr + 9, 3), &code) || code < 100 ||
        (line.len > 12 && line.ptr[12] != ' '))
        return false;
    *status = (unsigned)code;
    return true;
}

/* The proxy's own words, without what could disturb a log. */
static void copy_printable(char *out, size_t size, struct str s)
{
    size_t n = MIN(s.len, size - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = s.ptr[i] >= 0x20 && s.ptr[i] < 0x7f ? s.ptr[i] : '?';
    out[n] = '\0';
}

static int judge(struct str head)
{
    unsigned status;
    struct str line;
    str_cut(&head, '\r', &line);
    if (!status_parse(line, &status))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "the proxy's answer is not HTTP");
    if (status >= 200 && status < 300)
        return 0;
    char words[80];
    copy_printable(words, sizeof(words), str_skip(line, 9));
    int r = err_set(ERR_CONNECT, FAULT_UPSTREAM, "the proxy refused the tunnel: %s%s", words,
                    status == 407 ? " (it wants other credentials)" : "");
    if (status >= 500)
        err_slot()->retry = RETRY_YES;
    return r;
}

YIELDS int tunnel_open(struct io *io, struct str host, uint16_t port, struct str authorization,
                       int64_t deadline_ns)
{
    int r = write_request(io, host, port, authorization, deadline_ns);
    if (r < 0)
        return r;
    struct buf head = BUF_INIT;
    head.limit = REPLY_MAX_BYTES;
    r = read_head(io, &head, deadline_ns);
    if (r == 0)
        r = judge(buf_str(&head));
    buf_fini(&head);
    return r;
}
