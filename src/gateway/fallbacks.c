#include "gateway/fallbacks.h"

#include "base/err.h"
#include "gateway/exchange.h"

YIELDS static int refuse_list(struct exchange *ex)
{
    refuse(
        ex, REFUSE_BODY, STR("fallbacks"),
        "'fallbacks' must be a list of at most %d names of models or routes, each a string or an "
        "object with a \"model\".",
        FALLBACKS_MAX);
    return -ERR_INVALID;
}

YIELDS static int read_list(struct exchange *ex, struct str list)
{
    int r = request_fallbacks_read(list, ex->arena, &ex->fallbacks);
    if (r == -ERR_NOMEM)
        return refuse_no_memory(ex);
    return r < 0 ? refuse_list(ex) : 0;
}

/* The body without the member; providers would refuse it. */
YIELDS static int take_out(struct exchange *ex)
{
    struct str body = buf_str(&ex->body);
    struct json_edit edit = json_edit_remove(body, &ex->scan.json.found[LLM_WANT_FALLBACKS]);
    struct iovec parts[3];
    struct buf rest = BUF_INIT;
    int count = json_splice_iov(body, &edit, 1, parts, ARRAY_LEN(parts));
    for (int i = 0; i < count; i++)
        buf_add(&rest, parts[i].iov_base, parts[i].iov_len);
    if (count < 0 || !buf_ok(&rest)) {
        buf_fini(&rest);
        return refuse_no_memory(ex);
    }
    buf_fini(&ex->body);
    ex->body = rest;
    int r = ex->client->scan(buf_str(&ex->body), ex->settings->json_depth, ex->arena, &ex->scan);
    if (r < 0)
        refuse(ex, REFUSE_BODY, ex->scan.bad_param, "%s", err_slot()->message);
    return r;
}

YIELDS int fallbacks_take(struct exchange *ex)
{
    const struct json_found *found = &ex->scan.json.found[LLM_WANT_FALLBACKS];
    if (found->kind == JSON_NONE)
        return 0;
    int r = 0;
    if (found->kind == JSON_ARRAY)
        r = read_list(ex, json_span_str(buf_str(&ex->body), found->value));
    else if (found->kind != JSON_NULL)
        r = refuse_list(ex);
    return r < 0 ? r : take_out(ex);
}

bool fallbacks_are_off(const struct exchange *ex)
{
    struct str wish = http_headers_get(&ex->http->headers, STR("x-weir-fallback"));
    return str_ieq(str_trim(wish), STR("off"));
}
