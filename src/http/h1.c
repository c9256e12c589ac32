#include "http/h1.h"

#include "base/err.h"

/*
 * Heads go through llhttp, whole: they are gathered until their empty line is there, so that its
 * spans point into one copy in the arena. Bodies go through a chunk decoder of our own, no less
 * strict than llhttp's, that costs less per event: see docs/internals/http1.md.
 */

enum h1_state {
    STATE_HEAD,
    STATE_LENGTH,
    STATE_UNTIL_CLOSE,
    STATE_CHUNK_SIZE_FIRST, /* a digit must come */
    STATE_CHUNK_SIZE,
    STATE_CHUNK_EXTENSION,
    STATE_CHUNK_SIZE_LF,
    STATE_CHUNK_DATA,
    STATE_CHUNK_DATA_CR,
    STATE_CHUNK_DATA_LF,
    STATE_TRAILER,
    STATE_DONE,
    STATE_FAILED,
};

enum {
    /* Empty lines that are skipped before a request line. */
    LEADING_BYTES_MAX = 16,
    /* Method, spaces and version around the request target. */
    REQUEST_LINE_EXTRA = 32,
    /* As many as 64 bits need: leading zeros could go on for ever otherwise. */
    CHUNK_SIZE_DIGITS_MAX = 16,
    GATHER_FIRST_BYTES = 128,
};

static int fail(struct h1_parser *p, unsigned status, enum err_code code, const char *why)
{
    p->state = STATE_FAILED;
    p->status = p->side == H1_REQUESTS ? status : 502;
    return err_set(code, p->side == H1_REQUESTS ? FAULT_CLIENT : FAULT_UPSTREAM, "%s", why);
}

/* --- llhttp's callbacks --- */

static struct h1_parser *parser_of(llhttp_t *llhttp)
{
    return CONTAINER_OF(llhttp, struct h1_parser, llhttp);
}

/* Spans of one element are side by side, for the head is fed as one piece. */
static void extend(struct str *s, const char *at, size_t len)
{
    *s = str_n(s->len == 0 ? at : s->ptr, s->len + len);
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    extend(&parser_of(llhttp)->head->target, at, len);
    return 0;
}

static int on_method(llhttp_t *llhttp, const char *at, size_t len)
{
    extend(&parser_of(llhttp)->head->method_name, at, len);
    return 0;
}

static int on_field(llhttp_t *llhttp, const char *at, size_t len)
{
    extend(&parser_of(llhttp)->name, at, len);
    return 0;
}

static int on_value(llhttp_t *llhttp, const char *at, size_t len)
{
    extend(&parser_of(llhttp)->value, at, len);
    return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
    struct h1_parser *p = parser_of(llhttp);
    struct http_headers *headers = &p->head->headers;
    if (headers->count >= p->limits->header_count) {
        fail(p, 431, ERR_LIMIT, "too many headers");
        return HPE_USER;
    }
    if (!http_headers_add(headers, p->arena, p->name, str_trim(p->value))) {
        fail(p, 503, ERR_NOMEM, "no memory for the headers");
        return HPE_USER;
    }
    p->name = STR_EMPTY;
    p->value = STR_EMPTY;
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    (void)llhttp;
    return HPE_PAUSED;
}

static const llhttp_settings_t callbacks = {
    .on_url = on_url,
    .on_method = on_method,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
};

/* --- the gate: what llhttp lets through and a gateway must not --- */

static enum http_method method_of(struct str name)
{
    for (enum http_method m = METHOD_GET; m < METHOD_OTHER; m++) {
        if (str_eq(http_method_name(m), name))
            return m;
    }
    return METHOD_OTHER;
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A run of letters, digits and characters of `others`, at least one. */
static bool is_run_of(struct str s, const char *others)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!is_alphanumeric(c) && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return s.len > 0;
}

/* host [":" port] (RFC 9110 section 7.2), the host a name or a literal in brackets. */
static bool is_valid_host(struct str host)
{
    struct str name;
    struct str port = host;
    uint64_t number;
    bool has_port;
    if (str_starts(host, STR("["))) {
        bool is_closed = str_cut(&port, ']', &name);
        if (!is_closed || !is_run_of(str_skip(name, 1), ":.%-_~") ||
            (port.len > 0 && port.ptr[0] != ':'))
            return false;
        has_port = port.len > 0;
        port = str_skip(port, 1);
    } else {
        has_port = str_cut(&port, ':', &name);
        if (!is_run_of(name, ".-_~%"))
            return false;
    }
    return !has_port || port.len == 0 || (str_to_u64(port, &number) && number <= 65535);
}

/* Absolute form (RFC 9112 section 3.2.2): its authority must be the Host; it becomes origin form.
 */
static int take_absolute_form(struct h1_parser *p, struct str host)
{
    struct h1_head *head = p->head;
    ptrdiff_t scheme = str_find(head->target, STR("://"));
    struct str rest = str_skip(head->target, (size_t)scheme + 3);
    ptrdiff_t slash = str_index(rest, '/');
    struct str authority = slash < 0 ? rest : str_head(rest, (size_t)slash);
    if (!str_ieq(authority, host))
        return fail(p, 400, ERR_PROTOCOL, "the request target and the Host header disagree");
    head->target = slash < 0 ? STR("/") : str_skip(rest, (size_t)slash);
    return 0;
}

/* What the gate wants to know of the headers, from one pass over them. */
struct gated {
    struct str value; /* of the first */
    unsigned count;
};

struct gate_facts {
    struct gated host, expect, coding, length;
    bool says_close, says_keep, says_upgrade;
};

static void note_connection(struct gate_facts *facts, struct str list)
{
    for (struct str item; str_next(&list, ',', &item);) {
        item = str_trim(item);
        facts->says_close |= str_ieq(item, STR("close"));
        facts->says_keep |= str_ieq(item, STR("keep-alive"));
        facts->says_upgrade |= str_ieq(item, STR("upgrade"));
    }
}

static void note_if(struct gated *gated, const struct http_header *header, struct str name)
{
    if (!str_ieq(header->name, name))
        return;
    if (gated->count++ == 0)
        gated->value = header->value;
}

static void collect_facts(const struct http_headers *headers, struct gate_facts *facts)
{
    *facts = (struct gate_facts){0};
    for (uint32_t i = 0; i < headers->count; i++) {
        const struct http_header *header = &headers->items[i];
        note_if(&facts->host, header, STR("host"));
        note_if(&facts->expect, header, STR("expect"));
        note_if(&facts->coding, header, STR("transfer-encoding"));
        note_if(&facts->length, header, STR("content-length"));
        if (str_ieq(header->name, STR("connection")))
            note_connection(facts, header->value);
    }
}

static int gate_target(struct h1_parser *p, const struct gated *host)
{
    struct h1_head *head = p->head;
    if (host->count > 1 || (host->count == 0 && head->version_minor > 0))
        return fail(p, 400, ERR_PROTOCOL, "exactly one Host header is needed");
    if (host->count == 1 && !is_valid_host(host->value))
        return fail(p, 400, ERR_PROTOCOL, "the Host header is not a host");
    if (head->target.len > p->limits->target_bytes)
        return fail(p, 414, ERR_LIMIT, "the request target is too long");
    if (head->method == METHOD_CONNECT)
        return fail(p, 501, ERR_PROTOCOL, "CONNECT is not supported");
    if (str_starts(head->target, STR("/")))
        return 0;
    if (str_istarts(head->target, STR("http://")) || str_istarts(head->target, STR("https://")))
        return take_absolute_form(p, host->value);
    if (str_eq(head->target, STR("*")) && head->method == METHOD_OPTIONS)
        return 0;
    return fail(p, 400, ERR_PROTOCOL, "the request target is not a path");
}

static int gate_expect(struct h1_parser *p, const struct gated *expect)
{
    if (expect->count == 0)
        return 0;
    if (expect->count > 1 || !str_ieq(expect->value, STR("100-continue")))
        return fail(p, 417, ERR_PROTOCOL, "the only expectation that can be met is 100-continue");
    p->head->expects_continue = p->head->version_minor > 0;
    return 0;
}

/* Transfer-Encoding and Content-Length: exactly one way to tell where the body ends. */
static int gate_framing(struct h1_parser *p, const struct gated *coding, const struct gated *length)
{
    struct h1_head *head = p->head;
    if (coding->count > 0) {
        if (length->count > 0)
            return fail(p, 400, ERR_PROTOCOL,
                        "Transfer-Encoding and Content-Length exclude each other");
        if (head->version_minor == 0)
            return fail(p, 400, ERR_PROTOCOL, "HTTP/1.0 has no Transfer-Encoding");
        if (coding->count > 1 || !str_ieq(coding->value, STR("chunked")))
            return fail(p, 501, ERR_PROTOCOL, "the only Transfer-Encoding supported is chunked");
        head->framing = H1_CHUNKED;
        return 0;
    }
    if (length->count > 1)
        return fail(p, 400, ERR_PROTOCOL, "more than one Content-Length");
    if (length->count == 1) {
        if (!str_to_u64(length->value, &head->content_length) || head->content_length > INT64_MAX)
            return fail(p, 400, ERR_PROTOCOL, "Content-Length is not a number of bytes");
        head->framing = head->content_length > 0 ? H1_LENGTH : H1_NO_BODY;
        return 0;
    }
    head->framing = p->side == H1_REQUESTS ? H1_NO_BODY : H1_UNTIL_CLOSE;
    return 0;
}

static int gate(struct h1_parser *p)
{
    struct h1_head *head = p->head;
    struct gate_facts facts;
    int r = 0;
    collect_facts(&head->headers, &facts);
    if (p->side == H1_REQUESTS) {
        head->method = method_of(head->method_name);
        r = gate_target(p, &facts.host);
        if (r == 0)
            r = gate_expect(p, &facts.expect);
    }
    if (r == 0)
        r = gate_framing(p, &facts.coding, &facts.length);
    if (r < 0)
        return r;
    head->is_keep_alive = !facts.says_close && (head->version_minor > 0 || facts.says_keep);
    head->upgrades = head->status == 101 || facts.says_upgrade;
    bool is_interim = head->status >= 100 && head->status < 200;
    if (p->side == H1_RESPONSES &&
        (p->response_to_head || is_interim || head->status == 204 || head->status == 304))
        head->framing = H1_NO_BODY;
    if (head->framing == H1_UNTIL_CLOSE)
        head->is_keep_alive = false;
    return 0;
}

/* --- heads --- */

void h1_parser_init(struct h1_parser *p, enum h1_side side, const struct http_limits *limits)
{
    *p = (struct h1_parser){.side = side, .limits = limits, .state = STATE_DONE};
    llhttp_init(&p->llhttp, side == H1_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE, &callbacks);
}

void h1_parser_begin(struct h1_parser *p, struct arena *arena, struct h1_head *head,
                     bool response_to_head)
{
    enum h1_side side = p->side;
    const struct http_limits *limits = p->limits;
    h1_parser_init(p, side, limits);
    *head = (struct h1_head){0};
    p->state = STATE_HEAD;
    p->arena = arena;
    p->head = head;
    p->response_to_head = response_to_head;
}

/* Bytes up to and with the empty line, counted from the end of what is gathered already; 0 when it
 * is not there yet. A bare LF ends a line too: llhttp will refuse it, but at once. */
static size_t find_head_end(const struct h1_parser *p, struct str bytes)
{
    char before[2] = {'x', 'x'}; /* the two bytes in front of bytes.ptr[i] */
    struct str had = p->gathered;
    for (size_t i = had.len >= 2 ? had.len - 2 : 0; i < had.len; i++) {
        before[0] = before[1];
        before[1] = had.ptr[i];
    }
    const char *at = bytes.ptr;
    const char *end = bytes.ptr + bytes.len;
    /* The empty line may have begun in what is gathered. */
    for (int i = 0; i < 2 && at < end; i++, at++) {
        if (*at == '\n' && (before[1] == '\n' || (before[1] == '\r' && before[0] == '\n')))
            return (size_t)(at - bytes.ptr) + 1;
        before[0] = before[1];
        before[1] = *at;
    }
    for (at = bytes.ptr; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) {
        const char *next = at + 1;
        if (next < end && *next == '\r')
            next++;
        if (next < end && *next == '\n')
            return (size_t)(next - bytes.ptr) + 1;
    }
    return 0;
}

static int gather(struct h1_parser *p, struct str bytes)
{
    size_t len = p->gathered.len + bytes.len;
    if (len > p->gathered_cap) {
        size_t cap = MAX(MAX(len, p->gathered_cap * 2), (size_t)GATHER_FIRST_BYTES);
        char *grown = arena_alloc(p->arena, cap);
        if (grown == NULL)
            return fail(p, 503, ERR_NOMEM, "no memory for the headers");
        if (p->gathered.len > 0)
            memcpy(grown, p->gathered.ptr, p->gathered.len);
        p->gathered.ptr = grown;
        p->gathered_cap = cap;
    }
    memcpy((char *)(uintptr_t)p->gathered.ptr + p->gathered.len, bytes.ptr, bytes.len);
    p->gathered.len = len;
    return 0;
}

/*
 * What must hold of every byte of a head, so that no two readers can see other lines in it: lines
 * end with CRLF, and neither half nor a NUL is anywhere else (RFC 9112 section 2.2).
 */
static int check_bytes(struct h1_parser *p)
{
    const char *at = p->gathered.ptr;
    const char *end = at + p->gathered.len;
    if (str_index(p->gathered, '\0') >= 0)
        return fail(p, 400, ERR_PROTOCOL, "a NUL is in the head");
    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        const char *cr = memchr(at, '\r', (size_t)(end - at));
        if (lf == NULL || cr == NULL || lf != cr + 1)
            return fail(p, 400, ERR_PROTOCOL, "a line of the head does not end with CR LF");
        at = lf + 1;
    }
    return 0;
}

/* The first line to the letter: llhttp also takes more spaces, and the protocols RTSP and ICE. */
static bool is_first_line_exact(const struct h1_parser *p)
{
    const struct h1_head *head = p->head;
    struct str rest = p->gathered;
    struct str line;
    if (p->side == H1_RESPONSES)
        return str_starts(rest, STR("HTTP/"));
    str_cut(&rest, '\r', &line);
    struct str version = str_skip(line, head->method_name.len + head->target.len + 2);
    return version.len == 8 && str_starts(version, STR("HTTP/"));
}

static int run_llhttp(struct h1_parser *p)
{
    struct h1_head *head = p->head;
    enum llhttp_errno e = llhttp_execute(&p->llhttp, p->gathered.ptr, p->gathered.len);
    if (p->state == STATE_FAILED)
        return -err_slot()->code;
    bool is_version_known = p->llhttp.http_major == 1 && p->llhttp.http_minor <= 1;
    if (e == HPE_PAUSED_H2_UPGRADE ||
        ((e == HPE_OK || e == HPE_INVALID_VERSION || e == HPE_PAUSED) && !is_version_known))
        return fail(p, 505, ERR_PROTOCOL, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    if (e != HPE_PAUSED) {
        const char *reason = llhttp_get_error_reason(&p->llhttp);
        return fail(p, 400, ERR_PROTOCOL,
                    reason != NULL && reason[0] != '\0' ? reason : "malformed HTTP head");
    }
    if (!is_first_line_exact(p))
        return fail(p, 400, ERR_PROTOCOL, "the first line is malformed");
    if (llhttp_get_error_pos(&p->llhttp) != p->gathered.ptr + p->gathered.len)
        return fail(p, 400, ERR_PROTOCOL, "malformed HTTP head");
    head->version_minor = p->llhttp.http_minor;
    head->status = p->side == H1_RESPONSES ? p->llhttp.status_code : 0;
    if (p->side == H1_RESPONSES && head->status < 100)
        return fail(p, 502, ERR_PROTOCOL, "the status code is not one");
    return gate(p);
}

static void begin_body(struct h1_parser *p)
{
    switch (p->head->framing) {
    case H1_NO_BODY:
        p->state = STATE_DONE;
        break;
    case H1_LENGTH:
        p->state = STATE_LENGTH;
        p->left = p->head->content_length;
        break;
    case H1_CHUNKED:
        p->state = STATE_CHUNK_SIZE_FIRST;
        break;
    case H1_UNTIL_CLOSE:
        p->state = STATE_UNTIL_CLOSE;
        break;
    }
}

/* What can be said of a head before its end: garbage must not wait for its time-out. The order of
 * these is such that no cut of the bytes changes the verdict. */
static int check_partial(struct h1_parser *p)
{
    size_t line_max = (size_t)p->limits->target_bytes + REQUEST_LINE_EXTRA;
    if (!http_name_is_safe(str_head(p->gathered, 1)))
        return fail(p, 400, ERR_PROTOCOL, "this is not HTTP");
    if (p->side == H1_REQUESTS && p->gathered.len > line_max &&
        str_index(str_head(p->gathered, line_max), '\n') < 0)
        return fail(p, 414, ERR_LIMIT, "the request line is too long");
    if (p->gathered.len > p->limits->head_bytes)
        return fail(p, 431, ERR_LIMIT, "the headers are too large");
    return 0;
}

/* Skips the empty lines before a request line; how many bytes they had, or -ERR_x. */
static ssize_t skip_empty_lines(struct h1_parser *p, struct str bytes)
{
    size_t n = 0;
    while (p->side == H1_REQUESTS && p->gathered.len == 0 && n < bytes.len) {
        bool is_inside = p->leading_bytes % 2 == 1;
        if (bytes.ptr[n] != (is_inside ? '\n' : '\r')) {
            if (is_inside)
                return fail(p, 400, ERR_PROTOCOL, "a line ends without LF");
            break;
        }
        if (++p->leading_bytes > LEADING_BYTES_MAX)
            return fail(p, 400, ERR_PROTOCOL, "too many empty lines before the request");
        n++;
    }
    return (ssize_t)n;
}

ssize_t h1_parse_head(struct h1_parser *p, struct str bytes, bool *done)
{
    CHECK(p->state == STATE_HEAD);
    *done = false;
    ssize_t skipped = skip_empty_lines(p, bytes);
    if (skipped < 0)
        return skipped;
    bytes = str_skip(bytes, (size_t)skipped);
    if (bytes.len == 0)
        return skipped;
    size_t end = find_head_end(p, bytes);
    int r = gather(p, end == 0 ? bytes : str_head(bytes, end));
    if (r == 0)
        r = check_partial(p);
    if (r < 0)
        return r;
    if (end == 0)
        return skipped + (ssize_t)bytes.len;
    r = check_bytes(p);
    if (r == 0)
        r = run_llhttp(p);
    if (r < 0)
        return r;
    /* The head's strings stay where they are; trailers are gathered elsewhere. */
    p->gathered = STR_EMPTY;
    p->gathered_cap = 0;
    begin_body(p);
    *done = true;
    return skipped + (ssize_t)end;
}

void h1_parser_use_arena(struct h1_parser *p, struct arena *arena)
{
    p->arena = arena;
    p->head = NULL;
}

/* --- bodies --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void add_piece(struct http_pieces *pieces, const char *at, size_t len)
{
    pieces->v[pieces->count++] = (struct iovec){(void *)(uintptr_t)at, len};
    pieces->bytes += len;
}

/* What tells where a message ends or goes has no place in a trailer (RFC 9110 section 6.5.1). */
static bool is_forbidden_trailer(struct str name)
{
    return str_ieq(name, STR("content-length")) || str_ieq(name, STR("transfer-encoding")) ||
           str_ieq(name, STR("host"));
}

static int trailer_line(struct h1_parser *p, struct str line)
{
    struct str name;
    struct str value = line;
    if (!str_cut(&value, ':', &name) || !http_name_is_safe(name))
        return fail(p, 400, ERR_PROTOCOL, "a trailer is malformed");
    value = str_trim(value);
    if (!http_value_is_safe(value) || is_forbidden_trailer(name))
        return fail(p, 400, ERR_PROTOCOL, "a trailer is malformed");
    if (p->trailers.count >= p->limits->header_count)
        return fail(p, 431, ERR_PROTOCOL, "too many trailers");
    name = arena_dup(p->arena, name);
    value = arena_dup(p->arena, value);
    if (name.ptr == NULL || value.ptr == NULL ||
        !http_headers_add(&p->trailers, p->arena, name, value))
        return fail(p, 503, ERR_NOMEM, "no memory for the trailers");
    return 0;
}

/* One byte of the trailers (RFC 9112 section 7.1.2); lines are gathered, for they are rare. */
static int take_trailer_byte(struct h1_parser *p, char c)
{
    if (++p->trailer_bytes > p->limits->trailer_bytes)
        return fail(p, 431, ERR_PROTOCOL, "the trailers are too large");
    if (c != '\n')
        return gather(p, str_n(&c, 1));
    struct str line = p->gathered;
    p->gathered.len = 0;
    if (line.len == 0 || line.ptr[line.len - 1] != '\r')
        return fail(p, 400, ERR_PROTOCOL, "a line ends without CR");
    line.len--;
    if (line.len > 0)
        return trailer_line(p, line);
    p->state = STATE_DONE;
    return 0;
}

static int take_size_digit(struct h1_parser *p, char c)
{
    int digit = hex_value(c);
    if (++p->size_digits > CHUNK_SIZE_DIGITS_MAX || p->left > (UINT64_MAX >> 5))
        return fail(p, 400, ERR_PROTOCOL, "a chunk size is too large");
    p->left = p->left * 16 + (uint64_t)digit;
    p->state = STATE_CHUNK_SIZE;
    return 0;
}

/* Extensions mean nothing to us, but where they end does: they are bounded over the whole body. */
static int take_extension_byte(struct h1_parser *p, char c)
{
    p->state = c == '\r' ? STATE_CHUNK_SIZE_LF : STATE_CHUNK_EXTENSION;
    if (c == '\r')
        return 0;
    if (!http_value_is_safe(str_n(&c, 1)))
        return fail(p, 400, ERR_PROTOCOL, "a chunk extension is malformed");
    if (++p->ext_bytes > p->limits->chunk_ext_bytes)
        return fail(p, 413, ERR_PROTOCOL, "the chunk extensions are too large");
    return 0;
}

/* One byte of a chunk's size line or of the line end after its data. */
static int take_framing_byte(struct h1_parser *p, char c)
{
    switch (p->state) {
    case STATE_CHUNK_SIZE_FIRST:
        if (hex_value(c) < 0)
            return fail(p, 400, ERR_PROTOCOL, "a chunk size is malformed");
        p->left = 0;
        p->size_digits = 0;
        return take_size_digit(p, c);
    case STATE_CHUNK_SIZE:
        if (hex_value(c) >= 0)
            return take_size_digit(p, c);
        if (c == '\r')
            p->state = STATE_CHUNK_SIZE_LF;
        else if (c == ';')
            return take_extension_byte(p, c);
        else
            return fail(p, 400, ERR_PROTOCOL, "a chunk size is malformed");
        return 0;
    case STATE_CHUNK_EXTENSION:
        return take_extension_byte(p, c);
    case STATE_CHUNK_SIZE_LF:
        if (c != '\n')
            return fail(p, 400, ERR_PROTOCOL, "a chunk size line ends without LF");
        p->state = p->left > 0 ? STATE_CHUNK_DATA : STATE_TRAILER;
        return 0;
    case STATE_CHUNK_DATA_CR:
        if (c != '\r')
            return fail(p, 400, ERR_PROTOCOL, "a chunk is longer than its size");
        p->state = STATE_CHUNK_DATA_LF;
        return 0;
    case STATE_CHUNK_DATA_LF:
        if (c != '\n')
            return fail(p, 400, ERR_PROTOCOL, "a chunk ends without LF");
        p->state = STATE_CHUNK_SIZE_FIRST;
        return 0;
    default:
        return take_trailer_byte(p, c);
    }
}

/* Takes body bytes as a piece; the number taken. */
static size_t take_data(struct h1_parser *p, struct str rest, struct http_pieces *pieces)
{
    size_t n = p->state == STATE_UNTIL_CLOSE ? rest.len : (size_t)MIN(p->left, rest.len);
    add_piece(pieces, rest.ptr, n);
    if (p->state == STATE_UNTIL_CLOSE)
        return n;
    p->left -= n;
    if (p->left == 0)
        p->state = p->state == STATE_LENGTH ? STATE_DONE : STATE_CHUNK_DATA_CR;
    return n;
}

ssize_t h1_parse_body(struct h1_parser *p, struct str bytes, struct http_pieces *pieces)
{
    struct str rest = bytes;
    CHECK(p->state != STATE_HEAD && p->state != STATE_FAILED);
    while (rest.len > 0 && p->state != STATE_DONE) {
        if (p->state == STATE_LENGTH || p->state == STATE_UNTIL_CLOSE ||
            p->state == STATE_CHUNK_DATA) {
            if (pieces->count == HTTP_PIECES_MAX)
                break;
            rest = str_skip(rest, take_data(p, rest, pieces));
            continue;
        }
        int r = take_framing_byte(p, rest.ptr[0]);
        if (r < 0)
            return r;
        rest = str_skip(rest, 1);
    }
    pieces->is_last = p->state == STATE_DONE;
    return (ssize_t)(bytes.len - rest.len);
}

int h1_parse_eof(struct h1_parser *p)
{
    if (p->state == STATE_UNTIL_CLOSE) {
        p->state = STATE_DONE;
        return 0;
    }
    return fail(p, 400, ERR_PROTOCOL, "the connection was closed inside a message");
}

uint64_t h1_body_left(const struct h1_parser *p)
{
    return p->state == STATE_LENGTH ? p->left : 0;
}

bool h1_body_took(struct h1_parser *p, uint64_t n)
{
    CHECK(p->state == STATE_LENGTH && n <= p->left);
    p->left -= n;
    if (p->left == 0)
        p->state = STATE_DONE;
    return p->left == 0;
}

unsigned h1_status(const struct h1_parser *p)
{
    return p->status;
}
