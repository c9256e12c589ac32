/* Who is recognised by which headers. */
#include "control/path_hops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    struct http_header headers[6];
    const char *names; /* in their order */
} cases[] = {
    {{{STR_INIT("Content-Type"), STR_INIT("text/event-stream")}}, ""},
    {{{STR_INIT("Server"), STR_INIT("nginx/1.22.1")}}, "nginx"},
    {{{STR_INIT("Server"), STR_INIT("openresty/1.25")}}, "OpenResty"},
    {{{STR_INIT("Server"), STR_INIT("Apache")}}, "Apache"},
    {{{STR_INIT("Server"), STR_INIT("uvicorn")}}, "uvicorn"},
    {{{STR_INIT("Server"), STR_INIT("cloudflare")}, {STR_INIT("CF-RAY"), STR_INIT("8f0a-FRA")}},
     "Cloudflare"},
    {{{STR_INIT("Via"), STR_INIT("1.1 4e1f.cloudfront.net (CloudFront)")},
      {STR_INIT("X-Cache"), STR_INIT("Miss from cloudfront")},
      {STR_INIT("X-Amz-Cf-Id"), STR_INIT("abc==")},
      {STR_INIT("Server"), STR_INIT("nginx")}},
     "CloudFront, nginx"},
    /* Fastly says varnish, too; a Varnish of one's own is told by its X-Varnish. */
    {{{STR_INIT("Via"), STR_INIT("1.1 varnish, 1.1 varnish")},
      {STR_INIT("X-Served-By"), STR_INIT("cache-fra-1, cache-lhr-2")},
      {STR_INIT("X-Cache"), STR_INIT("MISS, MISS")}},
     "Fastly"},
    {{{STR_INIT("Via"), STR_INIT("1.1 box (Varnish/7.1)")},
      {STR_INIT("X-Varnish"), STR_INIT("32770")}},
     "Varnish"},
    {{{STR_INIT("Via"), STR_INIT("1.1 varnish")}}, "Varnish"},
    /* Via tells the order: the nearest to weir first. */
    {{{STR_INIT("Via"), STR_INIT("1.1 inner.test, 1.1 google")},
      {STR_INIT("Via"), STR_INIT("1.1 office (squid/5.7)")},
      {STR_INIT("Server"), STR_INIT("istio-envoy")},
      {STR_INIT("Alt-Svc"), STR_INIT("h3=\":443\"")}},
     "1.1 inner.test, Google Cloud load balancer, Squid, Envoy"},
    {{{STR_INIT("Set-Cookie"), STR_INIT("AWSALB=secret; Path=/")}},
     "AWS Application Load Balancer"},
    {{{STR_INIT("X-Azure-Ref"), STR_INIT("20261121T")}}, "Azure Front Door"},
    {{{STR_INIT("Server"), STR_INIT("AkamaiGHost")}}, "Akamai"},
    {{{STR_INIT("Alt-Svc"), STR_INIT("h3=\":443\"; ma=86400")}}, "an edge"},
    {{{STR_INIT("X-Cache"), STR_INIT("MISS")}}, "a cache"},
    {{{STR_INIT("Via"), STR_INIT("1.1 vegur")}}, "Heroku"},
    {{{STR_INIT("Server"), STR_INIT("Microsoft-IIS/10.0")},
      {STR_INIT("X-Powered-By"), STR_INIT("ARR/3.0")}},
     "IIS"},
};

static struct http_headers headers_of(const struct http_header *items)
{
    struct http_headers headers = {.items = (struct http_header *)(uintptr_t)items};
    while (headers.count < ARRAY_LEN(cases[0].headers) && items[headers.count].name.ptr != NULL)
        headers.count++;
    return headers;
}

static void hops_are_known_by_their_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_headers headers = headers_of(cases[i].headers);
        struct path_hop hops[PATH_HOPS_MAX];
        unsigned count = path_hops_find(&headers, hops);
        char names[256] = "";
        size_t len = 0;
        for (unsigned k = 0; k < count; k++)
            len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%.*s", k > 0 ? ", " : "",
                                    STR_ARG(path_hop_name(&hops[k])));
        if (strcmp(names, cases[i].names) != 0)
            fail_msg("row %zu: \"%s\" instead of \"%s\"", i, names, cases[i].names);
    }
}

static void a_cookie_is_not_shown(void **state)
{
    (void)state;
    static const struct http_header items[6] = {
        {STR_INIT("Set-Cookie"), STR_INIT("AWSALB=secret; Path=/")}};
    struct http_headers headers = headers_of(items);
    struct path_hop hops[PATH_HOPS_MAX];
    assert_int_equal(path_hops_find(&headers, hops), 1);
    assert_true(str_eq(hops[0].value, STR("AWSALB")));
}

static void too_many_hops_are_cut_off(void **state)
{
    (void)state;
    static const struct http_header items[6] = {
        {STR_INIT("Via"), STR_INIT("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t")},
        {STR_INIT("Server"), STR_INIT("nginx")}};
    struct http_headers headers = headers_of(items);
    struct path_hop hops[PATH_HOPS_MAX];
    assert_int_equal(path_hops_find(&headers, hops), PATH_HOPS_MAX);
}

static void there_is_advice_for_each_trouble(void **state)
{
    (void)state;
    static const struct http_header items[6] = {{STR_INIT("Server"), STR_INIT("nginx")}};
    struct http_headers headers = headers_of(items);
    struct path_hop hops[PATH_HOPS_MAX];
    assert_int_equal(path_hops_find(&headers, hops), 1);
    for (int i = 0; i < PATH_TROUBLE_COUNT; i++) {
        assert_non_null(path_hop_mend(&hops[0], (enum path_trouble)i));
        assert_non_null(path_mend_unknown((enum path_trouble)i));
    }
    assert_non_null(strstr(path_hop_mend(&hops[0], PATH_CUTS), "proxy_read_timeout"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hops_are_known_by_their_headers),
        cmocka_unit_test(a_cookie_is_not_shown),
        cmocka_unit_test(too_many_hops_are_cut_off),
        cmocka_unit_test(there_is_advice_for_each_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
