#include "http/response_head.h"

#include "base/clock.h"
#include "rt/loop.h"

bool response_may_pass(const struct http_headers *headers, const struct http_header *h)
{
    return http_name_is_safe(h->name) && http_value_is_safe(h->value) &&
           !str_ieq(h->name, STR("content-length")) && !str_ieq(h->name, STR("date")) &&
           !http_header_is_hop_by_hop(headers, h->name);
}

bool response_has_no_body(const struct http_request *r)
{
    return r->method == METHOD_HEAD || r->status == 204 || r->status == 304;
}

struct str response_date(void)
{
    static _Thread_local char text[CLOCK_HTTP_LEN + 1];
    static _Thread_local int64_t since_ns;
    static _Thread_local int64_t until_ns;
    int64_t now_ns = loop_now_ns();
    if (now_ns < since_ns || now_ns >= until_ns) {
        int64_t wall_ns = clock_wall_ns();
        clock_format_http(wall_ns, text);
        since_ns = now_ns;
        until_ns = now_ns + NS_PER_SEC - wall_ns % NS_PER_SEC;
    }
    return str_n(text, CLOCK_HTTP_LEN);
}
