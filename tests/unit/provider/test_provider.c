#include "provider/provider.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static void a_url_is_split(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *path;
        uint16_t port;
        bool is_tls, is_literal;
    } cases[] = {
        {"https://api.openai.com/v1", "api.openai.com", "/v1", 443, true, false},
        {"http://example.org", "example.org", "", 80, false, false},
        {"HTTPS://example.org:8443/a/b/", "example.org", "/a/b", 8443, true, false},
        {"http://127.0.0.1:11434/v1", "127.0.0.1", "/v1", 11434, false, true},
        {"http://[::1]:8080/v1", "::1", "/v1", 8080, false, true},
        {"http://[fd00::2]", "fd00::2", "", 80, false, true},
        {"http://LocalHost:1/v1//", "LocalHost", "/v1", 1, false, true},
        {"http://my_host.internal:65535", "my_host.internal", "", 65535, false, false},
        {"http://localhost.example.org", "localhost.example.org", "", 80, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider provider = {.name = STR("p"), .base_url = str_c(cases[i].url)};
        assert_int_equal(provider_resolve(&provider), 0);
        assert_true(str_eq(provider.url_host, str_c(cases[i].host)));
        assert_true(str_eq(provider.url_path, str_c(cases[i].path)));
        assert_int_equal(provider.url_port, cases[i].port);
        assert_int_equal(provider.url_is_tls, cases[i].is_tls);
        assert_int_equal(provider.host_is_literal, cases[i].is_literal);
    }
}

static void a_url_that_is_none_is_explained(void **state)
{
    (void)state;
    static const struct {
        const char *url, *says;
    } cases[] = {
        {"", "missing"},
        {"api.openai.com/v1", "neither http:// nor https://"},
        {"ftp://api.openai.com", "neither http:// nor https://"},
        {"https://", "no host"},
        {"https:///v1", "no host"},
        {"https://:443/v1", "no host"},
        {"https://user:hunter2@example.org/v1", "credential"},
        {"https://example.org/v1?key=x", "query"},
        {"https://example.org?x", "query"},
        {"https://example.org/v1#top", "fragment"},
        {"https://example.org:0", "1..65535"},
        {"https://example.org:65536", "1..65535"},
        {"https://example.org:/v1", "1..65535"},
        {"https://example.org:80x", "1..65535"},
        {"https://exa mple.org", "not a host name"},
        {"https://{region}.example.org", "not a host name"},
        {"https://example.org\r\nX: y", "not a host name"},
        {"https://.example.org", "not a host name"},
        {"https://example.org/a b", "escape"},
        {"https://example.org/{model}", "escape"},
        {"http://[::1", "without \"]\""},
        {"http://[::1]x", "between the address and the port"},
        {"http://[example.org]", "no IPv6 address"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider provider = {.name = STR("p"), .base_url = str_c(cases[i].url)};
        err_clear();
        if (provider_resolve(&provider) != -ERR_INVALID ||
            strstr(err_slot()->message, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].url, err_slot()->message);
        assert_null(strstr(err_slot()->message, "hunter2"));
    }
}

static void what_would_break_a_request_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *says;
    } cases[] = {
        {"X-Team", "a\r\nX-Evil: b", "X-Team"}, {"X Team", "a", "not a header name"},
        {"", "a", "not a header name"},         {"Host", "example.org", "set by weir"},
        {"content-length", "3", "set by weir"}, {"Transfer-Encoding", "chunked", "set by weir"},
        {"Connection", "close", "set by weir"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_header header = {str_c(cases[i].name), str_c(cases[i].value)};
        struct provider provider = {.base_url = STR("https://example.org"),
                                    .headers = {.items = &header, .count = 1, .cap = 1}};
        assert_int_equal(provider_resolve(&provider), -ERR_INVALID);
        if (strstr(err_slot()->message, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].name, err_slot()->message);
    }

    struct provider key = {.base_url = STR("https://example.org"), .api_key = STR("sk-1\nX: y")};
    assert_int_equal(provider_resolve(&key), -ERR_INVALID);
    assert_null(strstr(err_slot()->message, "sk-1"));
    struct provider nameless = {.base_url = STR("https://example.org"), .auth = AUTH_HEADER};
    assert_int_equal(provider_resolve(&nameless), -ERR_INVALID);
    struct provider path = {.base_url = STR("https://example.org"),
                            .paths = {[OPERATION_MODELS] = STR("models")}};
    assert_int_equal(provider_resolve(&path), -ERR_INVALID);
    assert_non_null(strstr(err_slot()->message, "paths.models"));

    struct http_header header = {STR("HTTP-Referer"), STR("https://example.org/\xc3\xa9")};
    struct provider good = {.base_url = STR("https://example.org"),
                            .auth = AUTH_HEADER,
                            .auth_header = STR("api-key"),
                            .api_key = STR("sk-1"),
                            .paths = {[OPERATION_CHAT] = STR("/chat?api-version=2024-10-21")},
                            .headers = {.items = &header, .count = 1, .cap = 1}};
    assert_int_equal(provider_resolve(&good), 0);
}

static void the_simulated_provider_needs_no_url(void **state)
{
    (void)state;
    struct provider provider = {.name = STR("sim"), .is_simulated = true};
    assert_int_equal(provider_resolve(&provider), 0);
    assert_true(str_ends(provider.url_host, STR(".invalid")));
    assert_true(str_eq(provider.url_path, STR("/v1")));
}

static void every_kind_has_a_name(void **state)
{
    (void)state;
    static const struct {
        const char *const *names;
        unsigned count;
    } tables[] = {
        {dialect_names, DIALECT_COUNT},
        {provider_auth_names, AUTH_COUNT},
        {provider_operation_names, OPERATION_COUNT},
        {provider_place_names, PLACE_COUNT},
        {provider_variant_names, VARIANT_BEDROCK + 1},
        {provider_stream_usage_names, STREAM_USAGE_COUNT},
    };
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (unsigned i = 0; i < tables[t].count; i++)
            assert_non_null(tables[t].names[i]);
        assert_null(tables[t].names[tables[t].count]);
    }
}

static void places_are_filled_in(void **state)
{
    (void)state;
    static const struct {
        const char *location, *host;
    } hosts[] = {
        {"europe-west4", "europe-west4-aiplatform.googleapis.com"},
        {"global", "aiplatform.googleapis.com"},
        {"eu", "aiplatform.eu.rep.googleapis.com"},
    };
    struct arena *arena = arena_new(4096);
    enum provider_place missing;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct provider p = {
            .base_url = STR("https://{vertex_host}/x"),
            .paths = {[OPERATION_CHAT] = STR("/p/{project}/l/{location}/m/{model}:go")},
            .places = {
                [PLACE_PROJECT] = STR("pro:ject-1"), [PLACE_LOCATION] = str_c(hosts[i].location)}};
        char path[64];
        assert_int_equal(provider_fill_places(&p, arena, &missing), 0);
        assert_int_equal(provider_resolve(&p), 0);
        assert_true(str_eq(p.url_host, str_c(hosts[i].host)));
        snprintf(path, sizeof(path), "/p/pro:ject-1/l/%s/m/{model}:go", hosts[i].location);
        assert_true(str_eq(p.paths[OPERATION_CHAT], str_c(path)));
    }
    arena_free(arena);
}

static void a_place_that_is_missing_or_none_is_named(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    enum provider_place missing;
    struct provider p = {.base_url = STR("https://bedrock-runtime.{region}.amazonaws.com")};
    assert_int_equal(provider_fill_places(&p, arena, &missing), -ERR_INVALID);
    assert_int_equal(missing, PLACE_REGION);
    static const char *const bad[] = {"evil.example/", "a@b", "a b", "x?y", "x#", ".."};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        p.places[PLACE_REGION] = str_c(bad[i]);
        assert_int_equal(provider_fill_places(&p, arena, &missing), -ERR_INVALID);
        assert_int_equal(missing, PLACE_COUNT);
        assert_non_null(strstr(err_slot()->message, "cannot stand in a URL"));
    }
    /* What is in braces and no place is found when the URL is read. */
    static const char *const urls[] = {"https://{nowhere}.example", "https://a{b", "https://a}b"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        p = (struct provider){.base_url = str_c(urls[i])};
        assert_int_equal(provider_fill_places(&p, arena, &missing), 0);
        assert_int_equal(provider_resolve(&p), -ERR_INVALID);
    }
    arena_free(arena);
}

static void half_an_access_key_is_refused(void **state)
{
    (void)state;
    struct provider p = {.base_url = STR("https://example.org"),
                         .auth = AUTH_AWS,
                         .auth_settings = {.access_key_id = STR("AKID")}};
    assert_int_equal(provider_resolve(&p), -ERR_INVALID);
    assert_non_null(strstr(err_slot()->message, "it needs both"));
    p.auth_settings.secret_access_key = STR("SECRET\nSECRET");
    assert_int_equal(provider_resolve(&p), -ERR_INVALID);
    assert_null(strstr(err_slot()->message, "SECRET"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_split),
        cmocka_unit_test(a_url_that_is_none_is_explained),
        cmocka_unit_test(what_would_break_a_request_is_refused),
        cmocka_unit_test(the_simulated_provider_needs_no_url),
        cmocka_unit_test(every_kind_has_a_name),
        cmocka_unit_test(places_are_filled_in),
        cmocka_unit_test(a_place_that_is_missing_or_none_is_named),
        cmocka_unit_test(half_an_access_key_is_refused),
    };
    return cmocka_run_group_tests_name("provider/provider", tests, NULL, NULL);
}
