#include "http/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum { NOW_S = 1440938160 }; /* 20150830T123600Z */

static const struct sigv4_credentials example = {
    STR_INIT("AKIDEXAMPLE"), STR_INIT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), {NULL, 0}};

static struct str header(const struct http_headers *headers, const char *name)
{
    return http_headers_get(headers, str_c(name));
}

static void assert_str(struct str got, struct str wanted)
{
    if (!str_eq(got, wanted))
        fail_msg("got    %.*s\nwanted %.*s", STR_ARG(got), STR_ARG(wanted));
}

/* --- AWS's table ----------------------------------------------------------------------------- */

struct vector {
    struct str name, method, path, query, token, body, signature, signed_headers;
    struct http_headers headers;
    bool is_presigned, is_only_checked;
};

static struct str read_whole(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), file)) > 0)
        buf_add(out, piece, n);
    fclose(file);
    return buf_str(out);
}

/* The next block of lines; false at the end. */
static bool next_vector(struct str *rest, struct arena *arena, struct vector *v)
{
    struct str line;
    unsigned lines = 0;
    *v = (struct vector){0};
    while (str_next(rest, '\n', &line)) {
        if (line.len > 0 && line.ptr[0] == '#')
            continue;
        if (line.len == 0 && lines > 0)
            break;
        if (line.len == 0)
            continue;
        struct str value = str_skip(line, 2), name;
        lines++;
        if (lines == 1) {
            v->name = line;
        } else if (lines == 2) {
            str_cut(&line, ' ', &v->method);
            str_cut(&line, '?', &v->path);
            v->query = line;
        } else if (line.ptr[0] == 'h') {
            str_cut(&value, ':', &name);
            http_headers_add(&v->headers, arena, name, value);
        } else if (line.ptr[0] == 't') {
            v->token = value;
        } else if (line.ptr[0] == 'b') {
            v->body = value;
        } else if (line.ptr[0] == 's') {
            str_cut(&value, ' ', &v->signature);
            v->signed_headers = value;
        } else if (line.ptr[0] == 'q') {
            v->is_presigned = true;
        } else if (line.ptr[0] == 'v') {
            v->is_only_checked = true;
        } else {
            fail_msg("what is %.*s?", STR_ARG(line));
        }
    }
    return lines > 0;
}

static struct str authorization_of(struct arena *arena, const struct vector *v)
{
    return arena_printf(arena,
                        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/"
                        "aws4_request, SignedHeaders=%.*s, Signature=%.*s",
                        STR_ARG(v->signed_headers), STR_ARG(v->signature));
}

static void check_vector(struct vector *v, struct arena *arena)
{
    struct iovec body = {(void *)v->body.ptr, v->body.len};
    struct sigv4_request request = {.method = v->method,
                                    .path = v->path,
                                    .query = v->query,
                                    .headers = &v->headers,
                                    .body = &body,
                                    .body_count = 1};
    if (!v->is_presigned && !v->is_only_checked) {
        struct sigv4_credentials credentials = example;
        struct http_headers out = {0};
        credentials.session_token = v->token;
        assert_int_equal(sigv4_sign(&request, &credentials, STR("service"), STR("us-east-1"), NOW_S,
                                    arena, &out),
                         0);
        assert_str(header(&out, "x-amz-date"), STR("20150830T123600Z"));
        assert_str(header(&out, "x-amz-security-token"), v->token);
        assert_str(header(&out, "authorization"), authorization_of(arena, v));
    }
    if (!v->is_presigned) {
        http_headers_add(&v->headers, arena, STR("X-Amz-Date"), STR("20150830T123600Z"));
        http_headers_add(&v->headers, arena, STR("Authorization"), authorization_of(arena, v));
    }
    if (v->token.len > 0)
        http_headers_add(&v->headers, arena, STR("X-Amz-Security-Token"), v->token);
    struct sigv4_claim claim;
    struct sigv4_policy policy = {0};
    assert_int_equal(sigv4_parse(&request, arena, &claim), SIGV4_OK);
    assert_str(claim.access_key_id, STR("AKIDEXAMPLE"));
    assert_int_equal(claim.is_presigned, v->is_presigned);
    enum sigv4_verdict verdict =
        sigv4_check(&request, &claim, example.secret_access_key, &policy, NOW_S, arena);
    if (verdict != SIGV4_OK)
        fail_msg("%.*s: %s", STR_ARG(v->name), claim.words);
    /* Another secret and another method are refused. */
    assert_int_equal(sigv4_check(&request, &claim, STR("wrong"), &policy, NOW_S, arena),
                     SIGV4_BAD_SIGNATURE);
    request.method = STR("PUT");
    assert_int_equal(
        sigv4_check(&request, &claim, example.secret_access_key, &policy, NOW_S, arena),
        SIGV4_BAD_SIGNATURE);
}

static void published_vectors(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    struct str rest = read_whole("tests/data/sigv4/vectors.txt", &text);
    struct arena *arena = arena_new(4096);
    struct vector v;
    unsigned count = 0;
    while (next_vector(&rest, arena, &v)) {
        check_vector(&v, arena);
        count++;
    }
    assert_int_equal(count, 35);
    arena_free(arena);
    buf_fini(&text);
}

/* --- a signed request of ours, and what can be wrong with one -------------------------------- */

struct call {
    struct arena *arena;
    struct http_headers headers;
    struct iovec body[2];
    struct sigv4_request request;
};

static void call_init(struct call *c, bool sends_body_hash)
{
    *c = (struct call){.arena = arena_new(4096)};
    c->body[0] = (struct iovec){(void *)"{\"messages\"", 11};
    c->body[1] = (struct iovec){(void *)":[]}", 4};
    c->request = (struct sigv4_request){
        .method = STR("POST"),
        .path = STR("/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprofile%2Fa.b-v1%3A0/converse"),
        .query = STR_EMPTY,
        .host = STR("127.0.0.1:8080"),
        .headers = &c->headers,
        .body = c->body,
        .body_count = 2,
        .sends_body_hash = sends_body_hash};
    http_headers_add(&c->headers, c->arena, STR("Content-Type"), STR("application/json"));
    http_headers_add(&c->headers, c->arena, STR("User-Agent"), STR("changes/1"));
    assert_int_equal(sigv4_sign(&c->request, &example, STR("bedrock"), STR("eu-west-1"), NOW_S,
                                c->arena, &c->headers),
                     0);
}

static enum sigv4_verdict judge(struct call *c, const struct sigv4_policy *policy, int64_t now_s,
                                struct sigv4_claim *claim)
{
    enum sigv4_verdict verdict = sigv4_parse(&c->request, c->arena, claim);
    if (verdict == SIGV4_OK)
        verdict =
            sigv4_check(&c->request, claim, example.secret_access_key, policy, now_s, c->arena);
    if (verdict != SIGV4_OK)
        assert_true(claim->words != NULL && strlen(claim->words) > 10);
    return verdict;
}

static void set(struct call *c, const char *name, struct str value)
{
    for (uint32_t i = 0; i < c->headers.count; i++) {
        if (str_ieq(c->headers.items[i].name, str_c(name)))
            c->headers.items[i].value = value;
    }
}

static void what_is_altered_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        struct str value;
        enum sigv4_verdict verdict;
    } cases[] = {
        {NULL, STR_INIT(""), SIGV4_OK},
        {"user-agent", STR_INIT("other/2"), SIGV4_OK}, /* not signed: proxies change it */
        {"content-type", STR_INIT("text/plain"), SIGV4_BAD_SIGNATURE},
        {"x-amz-date", STR_INIT("20150830T123601Z"), SIGV4_BAD_SIGNATURE},
        {"x-amz-date", STR_INIT("20150831T123600Z"), SIGV4_MALFORMED}, /* not the scope's day */
        {"x-amz-date", STR_INIT("20150230T123600Z"), SIGV4_MALFORMED},
        {"x-amz-date", STR_INIT("2015-08-30T12:36"), SIGV4_MALFORMED},
        {"x-amz-content-sha256", STR_INIT("UNSIGNED-PAYLOAD"), SIGV4_UNSUPPORTED},
        {"x-amz-content-sha256", STR_INIT("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), SIGV4_UNSUPPORTED},
        {"x-amz-content-sha256", STR_INIT("00"), SIGV4_BODY_MISMATCH},
    };
    struct sigv4_policy policy = {.service = STR("bedrock")};
    struct sigv4_claim claim;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call c;
        call_init(&c, true);
        if (cases[i].header != NULL)
            set(&c, cases[i].header, cases[i].value);
        assert_int_equal(judge(&c, &policy, NOW_S, &claim), cases[i].verdict);
        arena_free(c.arena);
    }
    for (int sends_hash = 0; sends_hash < 2; sends_hash++) {
        struct call c;
        call_init(&c, sends_hash);
        c.body[1].iov_base = (void *)":{}}";
        assert_int_equal(judge(&c, &policy, NOW_S, &claim),
                         sends_hash ? SIGV4_BODY_MISMATCH : SIGV4_BAD_SIGNATURE);
        arena_free(c.arena);
    }
    struct call c;
    call_init(&c, false);
    c.request.path = STR("/model/x/converse");
    assert_int_equal(judge(&c, &policy, NOW_S, &claim), SIGV4_BAD_SIGNATURE);
    arena_free(c.arena);
    call_init(&c, false);
    c.request.query = STR("a=b");
    assert_int_equal(judge(&c, &policy, NOW_S, &claim), SIGV4_BAD_SIGNATURE);
    arena_free(c.arena);
    call_init(&c, false);
    c.request.host = STR("127.0.0.1:8081");
    assert_int_equal(judge(&c, &policy, NOW_S, &claim), SIGV4_BAD_SIGNATURE);
    policy.service = STR("s3");
    c.request.host = STR("127.0.0.1:8080");
    assert_int_equal(judge(&c, &policy, NOW_S, &claim), SIGV4_BAD_SIGNATURE);
    arena_free(c.arena);
}

static void an_unsigned_body_is_taken_where_allowed(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    struct http_headers headers = {0};
    struct iovec body = {(void *)"any", 3};
    http_headers_add(&headers, arena, STR("host"), STR("h"));
    http_headers_add(&headers, arena, STR("x-amz-date"), STR("20150830T123600Z"));
    http_headers_add(&headers, arena, STR("x-amz-content-sha256"), STR("UNSIGNED-PAYLOAD"));
    http_headers_add(
        &headers, arena, STR("authorization"),
        STR("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request,"
            "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
            "Signature=44c5a8edf08e71f3b2a6a9d7d8bd35b2cbd13ea03b4e0d5c5b4ac2f8b3b5a0b1"));
    struct sigv4_request request = {.method = STR("POST"),
                                    .path = STR("/"),
                                    .headers = &headers,
                                    .body = &body,
                                    .body_count = 1};
    struct sigv4_claim claim;
    struct sigv4_policy policy = {.allows_unsigned_body = true};
    assert_int_equal(sigv4_parse(&request, arena, &claim), SIGV4_OK);
    /* Past the body: what is wrong now is the made-up signature. */
    assert_int_equal(
        sigv4_check(&request, &claim, example.secret_access_key, &policy, NOW_S, arena),
        SIGV4_BAD_SIGNATURE);
    policy.allows_unsigned_body = false;
    assert_int_equal(
        sigv4_check(&request, &claim, example.secret_access_key, &policy, NOW_S, arena),
        SIGV4_UNSUPPORTED);
    arena_free(arena);
}

static void time_is_bounded_both_ways(void **state)
{
    (void)state;
    struct call c;
    struct sigv4_claim claim;
    struct sigv4_policy policy = {0};
    call_init(&c, false);
    assert_int_equal(judge(&c, &policy, NOW_S + 300, &claim), SIGV4_OK);
    assert_int_equal(judge(&c, &policy, NOW_S - 300, &claim), SIGV4_OK);
    assert_int_equal(judge(&c, &policy, NOW_S + 301, &claim), SIGV4_SKEW);
    assert_int_equal(judge(&c, &policy, NOW_S - 301, &claim), SIGV4_SKEW);
    policy.skew_s = 10;
    assert_int_equal(judge(&c, &policy, NOW_S + 11, &claim), SIGV4_SKEW);
    arena_free(c.arena);

    struct arena *arena = arena_new(4096);
    struct http_headers headers = {0};
    http_headers_add(&headers, arena, STR("Host"), STR("example.amazonaws.com"));
    struct sigv4_request request = {
        .method = STR("GET"),
        .path = STR("/"),
        .query =
            STR("Param2=value2&Param1=value1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
                "AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date="
                "20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature="
                "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"),
        .headers = &headers};
    static const struct {
        int64_t after_s;
        enum sigv4_verdict verdict;
    } moments[] = {
        {0, SIGV4_OK}, {3600, SIGV4_OK}, {3601, SIGV4_EXPIRED}, {-10, SIGV4_OK}, {-11, SIGV4_SKEW}};
    assert_int_equal(sigv4_parse(&request, arena, &claim), SIGV4_OK);
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        assert_int_equal(sigv4_check(&request, &claim, example.secret_access_key, &policy,
                                     NOW_S + moments[i].after_s, arena),
                         moments[i].verdict);
    }
    arena_free(arena);
}

#define CREDENTIAL "Credential=AKID/20150830/us-east-1/bedrock/aws4_request"
#define HEADERS "SignedHeaders=host;x-amz-date"
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define QUERY                                                                    \
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID/20150830/us-east-1/" \
    "bedrock/aws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host"

static void claims_are_read_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *authorization, *query;
        enum sigv4_verdict verdict;
    } cases[] = {
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS ", Signature=" HEX, "", SIGV4_OK},
        {"AWS4-HMAC-SHA256 " CREDENTIAL "," HEADERS ",Signature=" HEX, "a=b", SIGV4_OK},
        {"AWS4-HMAC-SHA256 Signature=" HEX " , " HEADERS ",  " CREDENTIAL, "", SIGV4_OK},
        {NULL, QUERY "&X-Amz-Expires=60&X-Amz-Signature=" HEX, SIGV4_OK},
        {NULL, "", SIGV4_ABSENT},
        {NULL, "X-Amz-Date=20150830T123600Z", SIGV4_ABSENT},
        {"Bearer AWS4-HMAC-SHA256", "", SIGV4_ABSENT},
        {"AWS4-ECDSA-P256-SHA256 " CREDENTIAL ", " HEADERS ", Signature=" HEX, "",
         SIGV4_UNSUPPORTED},
        {"AWS4-HMAC-SHA256", "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS, "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS ", Signature=" HEX ", Other=1", "",
         SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", " CREDENTIAL ", " HEADERS ", Signature=" HEX, "",
         SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS ", Signature=" HEX "0", "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS ", Signature=G" HEX, "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", SignedHeaders=x-amz-date, Signature=" HEX, "",
         SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", SignedHeaders=host, Signature=" HEX, "",
         SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", SignedHeaders=x-amz-date;host, Signature=" HEX, "",
         SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", SignedHeaders=host;host;x-amz-date, Signature=" HEX, "",
         SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", SignedHeaders=Host;x-amz-date, Signature=" HEX, "",
         SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 Credential=AKID/20150831/us-east-1/bedrock/aws4_request, " HEADERS
         ", Signature=" HEX,
         "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/aws4_request, " HEADERS
         ", Signature=" HEX,
         "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 Credential=/20150830/us-east-1/bedrock/aws4_request, " HEADERS
         ", Signature=" HEX,
         "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 Credential=a/b/20150830/us-east-1/bedrock/aws4_request, " HEADERS
         ", Signature=" HEX,
         "", SIGV4_MALFORMED},
        {"AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS ", Signature=" HEX,
         QUERY "&X-Amz-Expires=60&X-Amz-Signature=" HEX, SIGV4_MALFORMED},
        {NULL, QUERY "&X-Amz-Signature=" HEX, SIGV4_MALFORMED},
        {NULL, QUERY "&X-Amz-Expires=60", SIGV4_MALFORMED},
        {NULL, QUERY "&X-Amz-Expires=0&X-Amz-Signature=" HEX, SIGV4_MALFORMED},
        {NULL, QUERY "&X-Amz-Expires=604801&X-Amz-Signature=" HEX, SIGV4_MALFORMED},
        {NULL, QUERY "&X-Amz-Expires=60&X-Amz-Expires=61&X-Amz-Signature=" HEX, SIGV4_MALFORMED},
        {NULL, "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&" QUERY, SIGV4_MALFORMED},
    };
    struct arena *arena = arena_new(4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_headers headers = {0};
        http_headers_add(&headers, arena, STR("Host"), STR("h"));
        http_headers_add(&headers, arena, STR("X-Amz-Date"), STR("20150830T123600Z"));
        if (cases[i].authorization != NULL)
            http_headers_add(&headers, arena, STR("Authorization"), str_c(cases[i].authorization));
        struct sigv4_request request = {.method = STR("POST"),
                                        .path = STR("/"),
                                        .query = str_c(cases[i].query),
                                        .headers = &headers};
        struct sigv4_claim claim;
        enum sigv4_verdict verdict = sigv4_parse(&request, arena, &claim);
        if (verdict != cases[i].verdict)
            fail_msg("case %zu: %s", i, claim.words);
        if (verdict == SIGV4_OK) {
            assert_str(claim.access_key_id, STR("AKID"));
            assert_str(claim.service, STR("bedrock"));
            assert_int_equal(claim.signed_at_s, NOW_S);
        } else {
            assert_true(strlen(claim.words) > 10 && strlen(sigv4_verdict_type(verdict)) > 10);
        }
    }
    arena_free(arena);
}

static void a_signed_header_that_went_missing_is_named(void **state)
{
    (void)state;
    struct call c;
    struct sigv4_claim claim;
    struct sigv4_policy policy = {0};
    call_init(&c, false);
    c.headers.items[0].name = STR("Content-Kind");
    assert_int_equal(judge(&c, &policy, NOW_S, &claim), SIGV4_MALFORMED);
    assert_non_null(strstr(claim.words, "did not arrive"));
    arena_free(c.arena);
}

static void running_out_of_memory_is_told(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned nth = 1; nth < 50; nth++) {
        struct call c;
        struct http_headers out = {0};
        struct sigv4_claim claim;
        struct sigv4_policy policy = {0};
        call_init(&c, true);
        /* Long enough that the arena has to grow for it. */
        char path[6000];
        memset(path, '/', sizeof(path));
        for (size_t i = 1; i < sizeof(path); i += 2)
            path[i] = ':';
        c.request.path = str_n(path, sizeof(path));
        mem_fail_at(nth);
        int rc = sigv4_sign(&c.request, &example, STR("s"), STR("r"), NOW_S, c.arena, &out);
        enum sigv4_verdict verdict = judge(&c, &policy, NOW_S, &claim);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == -ERR_NOMEM);
        assert_true(verdict == SIGV4_BAD_SIGNATURE || verdict == SIGV4_NO_MEMORY);
        failures += rc != 0 || verdict == SIGV4_NO_MEMORY;
        arena_free(c.arena);
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(what_is_altered_is_refused),
        cmocka_unit_test(an_unsigned_body_is_taken_where_allowed),
        cmocka_unit_test(time_is_bounded_both_ways),
        cmocka_unit_test(claims_are_read_strictly),
        cmocka_unit_test(a_signed_header_that_went_missing_is_named),
        cmocka_unit_test(running_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
