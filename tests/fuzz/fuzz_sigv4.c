/* A signed request as a client may send it: lines of headers after a line with the query. What is
 * read strictly must never crash, and what was not signed by the secret must never be taken. */
#include "http/sigv4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS_MAX = 64, NOW_S = 1440938160 };

static void check(const struct sigv4_request *request, struct arena *arena)
{
    struct sigv4_claim claim;
    struct sigv4_policy policy = {.allows_unsigned_body = true};
    enum sigv4_verdict verdict = sigv4_parse(request, arena, &claim);
    if (verdict != SIGV4_OK) {
        CHECK(claim.words != NULL);
        return;
    }
    CHECK(claim.access_key_id.len > 0 && claim.signature.len == 64 && claim.signed_at_s != 0);
    verdict = sigv4_check(request, &claim, STR("a secret that nobody knows"), &policy,
                          claim.signed_at_s, arena);
    CHECK(verdict != SIGV4_OK && verdict != SIGV4_SKEW && claim.words != NULL);
}

/* What is signed here is taken here, whatever the request is. */
static void sign_and_check(struct sigv4_request *request, struct arena *arena)
{
    static const struct sigv4_credentials credentials = {
        STR_INIT("AKID"), STR_INIT("s"), {NULL, 0}};
    struct http_headers headers = {0};
    struct sigv4_policy policy = {0};
    struct sigv4_claim claim;
    request->headers = &headers;
    request->host = STR("h");
    CHECK(sigv4_sign(request, &credentials, STR("service"), STR("region"), NOW_S, arena,
                     &headers) == 0);
    enum sigv4_verdict verdict = sigv4_parse(request, arena, &claim);
    if (verdict == SIGV4_MALFORMED)
        return; /* the query is one of a presigned URL, too */
    CHECK(verdict == SIGV4_OK);
    CHECK(sigv4_check(request, &claim, STR("s"), &policy, NOW_S, arena) == SIGV4_OK);
    CHECK(sigv4_check(request, &claim, STR("t"), &policy, NOW_S, arena) == SIGV4_BAD_SIGNATURE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(4096);
    CHECK(arena != NULL);
    struct str rest = str_n((const char *)data, size), line, name;
    struct sigv4_request request = {.method = STR("POST"), .path = STR("/")};
    struct http_headers headers = {0};
    if (str_next(&rest, '\n', &line)) {
        (void)str_cut(&line, '?', &request.path);
        request.query = line;
    }
    while (headers.count < HEADERS_MAX && str_next(&rest, '\n', &line)) {
        (void)str_cut(&line, ':', &name);
        CHECK(http_headers_add(&headers, arena, name, line));
    }
    struct iovec body = {(void *)rest.ptr, rest.len};
    request.headers = &headers;
    request.body = &body;
    request.body_count = 1;
    check(&request, arena);
    sign_and_check(&request, arena);
    arena_free(arena);
    return 0;
}
