/*
 * Signs and judges requests told on standard input, for tests that compare with other
 * implementations. A request is lines that begin with a word, ended by an empty line:
 *
 *   do sign|check           now SECONDS             key ID SECRET [TOKEN]
 *   scope SERVICE REGION    method METHOD           path PATH           query QUERY
 *   h NAME:VALUE            body HEX                hash (sends X-Amz-Content-Sha256)
 *   unsigned (a body that is not signed is taken)
 *
 * sign answers with the headers to add, check with "VERDICT: words"; then an empty line.
 */
#include "base/buf.h"
#include "http/sigv4.h"

struct job {
    struct sigv4_request request;
    struct sigv4_credentials credentials;
    struct sigv4_policy policy;
    struct http_headers headers;
    struct iovec body;
    struct str action, service, region;
    int64_t now_s;
};

static struct str unhex(struct arena *arena, struct str hex)
{
    uint8_t *bytes = arena_alloc(arena, hex.len / 2 + 1);
    CHECK(bytes != NULL && (hex.len == 0 || str_from_hex(hex, bytes, hex.len / 2)));
    return str_n((char *)bytes, hex.len / 2);
}

static void take(struct job *job, struct arena *arena, struct str line)
{
    struct str word, first;
    (void)str_cut(&line, ' ', &word);
    if (str_eq(word, STR("do"))) {
        job->action = line;
    } else if (str_eq(word, STR("now"))) {
        CHECK(str_to_i64(line, &job->now_s));
    } else if (str_eq(word, STR("key"))) {
        (void)str_cut(&line, ' ', &job->credentials.access_key_id);
        (void)str_cut(&line, ' ', &job->credentials.secret_access_key);
        job->credentials.session_token = line;
    } else if (str_eq(word, STR("scope"))) {
        (void)str_cut(&line, ' ', &job->service);
        job->region = line;
    } else if (str_eq(word, STR("method"))) {
        job->request.method = line;
    } else if (str_eq(word, STR("path"))) {
        job->request.path = line;
    } else if (str_eq(word, STR("query"))) {
        job->request.query = line;
    } else if (str_eq(word, STR("h"))) {
        (void)str_cut(&line, ':', &first);
        CHECK(http_headers_add(&job->headers, arena, first, line));
    } else if (str_eq(word, STR("body"))) {
        struct str body = unhex(arena, line);
        job->body = (struct iovec){(void *)body.ptr, body.len};
    } else if (str_eq(word, STR("hash"))) {
        job->request.sends_body_hash = true;
    } else if (str_eq(word, STR("unsigned"))) {
        job->policy.allows_unsigned_body = true;
    } else {
        CHECK(!"a word that is known");
    }
}

static void do_sign(const struct job *job, struct arena *arena)
{
    struct http_headers out = {0};
    CHECK(sigv4_sign(&job->request, &job->credentials, job->service, job->region, job->now_s, arena,
                     &out) == 0);
    for (uint32_t i = 0; i < out.count; i++)
        printf("%.*s: %.*s\n", STR_ARG(out.items[i].name), STR_ARG(out.items[i].value));
}

static void do_check(const struct job *job, struct arena *arena)
{
    static const char *const names[SIGV4_VERDICT_COUNT] = {
        "OK",   "ABSENT",  "MALFORMED",     "UNSUPPORTED",   "UNKNOWN_KEY",
        "SKEW", "EXPIRED", "BODY_MISMATCH", "BAD_SIGNATURE", "NO_MEMORY"};
    struct sigv4_claim claim;
    enum sigv4_verdict verdict = sigv4_parse(&job->request, arena, &claim);
    if (verdict == SIGV4_OK && !str_eq(claim.access_key_id, job->credentials.access_key_id))
        verdict = SIGV4_UNKNOWN_KEY;
    else if (verdict == SIGV4_OK)
        verdict = sigv4_check(&job->request, &claim, job->credentials.secret_access_key,
                              &job->policy, job->now_s, arena);
    printf("%s: %s\n", names[verdict], claim.words != NULL ? claim.words : "");
}

static void run(struct str text)
{
    struct arena *arena = arena_new(1 << 16);
    struct job job = {0};
    struct str line;
    while (str_next(&text, '\n', &line))
        take(&job, arena, line);
    job.request.headers = &job.headers;
    job.request.body = &job.body;
    job.request.body_count = 1;
    if (str_eq(job.action, STR("sign")))
        do_sign(&job, arena);
    else
        do_check(&job, arena);
    printf("\n");
    fflush(stdout);
    arena_free(arena);
}

int main(void)
{
    struct buf text = BUF_INIT;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, stdin)) > 0) {
        if (len > 1) {
            buf_add(&text, line, (size_t)len);
            continue;
        }
        run(str_head(buf_str(&text), text.len > 0 ? text.len - 1 : 0));
        buf_clear(&text);
    }
    free(line);
    buf_fini(&text);
    return 0;
}
