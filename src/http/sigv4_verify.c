/* Judging a request that an AWS client has signed: what it claims, and whether that is so. */
#include <time.h>

#include "base/percent.h"
#include "http/sigv4_canonical.h"

/* --- reading a claim ------------------------------------------------------------------------- */

static enum sigv4_verdict refuse(struct sigv4_claim *claim, enum sigv4_verdict verdict,
                                 const char *words)
{
    claim->words = words != NULL ? words : sigv4_verdict_words(verdict);
    return verdict;
}

static bool is_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    }
    return s.len > 0;
}

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return s.len > 0;
}

/* YYYYMMDDTHHMMSSZ, a moment that there is. */
static bool parse_time(struct str s, int64_t *out)
{
    if (s.len != SIGV4_TIME_BYTES || s.ptr[8] != 'T' || s.ptr[15] != 'Z' ||
        !is_digits(str_head(s, 8)) || !is_digits(str_n(s.ptr + 9, 6)))
        return false;
    uint64_t day = 0, second = 0;
    (void)str_to_u64(str_head(s, 8), &day);
    (void)str_to_u64(str_n(s.ptr + 9, 6), &second);
    struct tm tm = {.tm_year = (int)(day / 10000) - 1900,
                    .tm_mon = (int)(day / 100 % 100) - 1,
                    .tm_mday = (int)(day % 100),
                    .tm_hour = (int)(second / 10000),
                    .tm_min = (int)(second / 100 % 100),
                    .tm_sec = (int)(second % 100)};
    struct tm told = tm;
    time_t seconds = timegm(&tm);
    if (tm.tm_mon != told.tm_mon || tm.tm_mday != told.tm_mday || tm.tm_hour != told.tm_hour ||
        tm.tm_min != told.tm_min || tm.tm_sec != told.tm_sec)
        return false;
    *out = seconds;
    return true;
}

/* AKID/date/region/service/aws4_request */
static bool parse_credential(struct str credential, struct sigv4_claim *claim)
{
    struct str rest = credential, item, parts[5];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!str_next(&rest, '/', &item) || item.len == 0)
            return false;
        parts[i] = item;
    }
    if (str_next(&rest, '/', &item) || !str_eq(parts[4], STR(SIGV4_TERMINATOR)) ||
        parts[1].len != 8 || !is_digits(parts[1]))
        return false;
    claim->access_key_id = parts[0];
    claim->scope = str_skip(credential, parts[0].len + 1);
    claim->date = parts[1];
    claim->region = parts[2];
    claim->service = parts[3];
    return true;
}

/* Who is meant, by the name that HTTP/1 or HTTP/2 has for it: AWS's SDK for JavaScript signs what
 * it sends. */
static bool names_host(struct str name)
{
    return str_eq(name, STR("host")) || str_eq(name, STR(":authority"));
}

/* Lower-case names in order, each once; host among them. */
static bool parse_signed_headers(struct str list, struct sigv4_claim *claim)
{
    struct str rest = list, name, before = STR_EMPTY;
    bool has_host = false;
    while (str_next(&rest, ';', &name)) {
        bool is_host = names_host(name);
        if ((!is_host && !http_name_is_safe(name)) ||
            (before.len > 0 && str_cmp(before, name) >= 0))
            return false;
        for (size_t i = 0; i < name.len; i++) {
            if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
                return false;
        }
        has_host = has_host || is_host;
        before = name;
    }
    claim->signed_headers = list;
    return has_host;
}

static bool signs(const struct sigv4_claim *claim, struct str wanted)
{
    struct str rest = claim->signed_headers, name;
    while (str_next(&rest, ';', &name)) {
        if (str_eq(name, wanted))
            return true;
    }
    return false;
}

/* What both forms have in common. NULL, or what is wrong. */
static const char *parse_parts(struct str credential, struct str signed_headers,
                               struct str signature, struct str time, struct sigv4_claim *claim)
{
    if (!parse_credential(credential, claim))
        return "the signature's Credential must be ACCESS_KEY_ID/YYYYMMDD/REGION/SERVICE/"
               "aws4_request";
    if (!parse_signed_headers(signed_headers, claim))
        return "the signature's SignedHeaders must be lower-case names in order, separated by ';', "
               "with host among them";
    if (signature.len != SIGV4_HEX_BYTES || !is_hex(signature))
        return "the Signature must be 64 lower-case hexadecimal digits";
    claim->signature = signature;
    if (!parse_time(time, &claim->signed_at_s))
        return "a signed request needs X-Amz-Date, written YYYYMMDDTHHMMSSZ";
    claim->time = time;
    if (!str_eq(str_head(time, 8), claim->date))
        return "the date in the signature's Credential is not that of X-Amz-Date";
    return NULL;
}

/* The values after the algorithm: Credential=..., SignedHeaders=..., Signature=... */
static bool parse_authorization(struct str list, struct str values[3])
{
    static const struct str names[] = {STR_INIT("Credential"), STR_INIT("SignedHeaders"),
                                       STR_INIT("Signature")};
    struct str item;
    while (str_next(&list, ',', &item)) {
        struct str name;
        item = str_trim(item);
        if (!str_cut(&item, '=', &name))
            return false;
        size_t i = 0;
        while (i < ARRAY_LEN(names) && !str_eq(names[i], name))
            i++;
        if (i == ARRAY_LEN(names) || values[i].ptr != NULL || item.len == 0)
            return false;
        values[i] = item;
    }
    return values[0].ptr != NULL && values[1].ptr != NULL && values[2].ptr != NULL;
}

static enum sigv4_verdict parse_header_form(const struct sigv4_request *request, struct str value,
                                            struct sigv4_claim *claim)
{
    const struct http_headers *headers = request->headers;
    if (http_headers_count(headers, STR("authorization")) != 1 ||
        http_headers_count(headers, STR("x-amz-date")) > 1 ||
        http_headers_count(headers, STR("x-amz-content-sha256")) > 1 ||
        http_headers_count(headers, STR("x-amz-security-token")) > 1)
        return refuse(claim, SIGV4_MALFORMED,
                      "Authorization, X-Amz-Date, X-Amz-Content-Sha256 and X-Amz-Security-Token "
                      "may come once each");
    struct str algorithm, rest = value, values[3] = {STR_EMPTY, STR_EMPTY, STR_EMPTY};
    (void)str_cut(&rest, ' ', &algorithm);
    if (!str_eq(algorithm, STR(SIGV4_ALGORITHM)))
        return refuse(claim, SIGV4_UNSUPPORTED, "sign with " SIGV4_ALGORITHM ": no other is taken");
    if (!parse_authorization(rest, values))
        return refuse(claim, SIGV4_MALFORMED,
                      "Authorization must be " SIGV4_ALGORITHM
                      " Credential=..., SignedHeaders=..., Signature=...");
    const char *wrong = parse_parts(values[0], values[1], values[2],
                                    str_trim(http_headers_get(headers, STR("x-amz-date"))), claim);
    if (wrong == NULL && !signs(claim, STR("x-amz-date")))
        wrong = "x-amz-date must be among the SignedHeaders";
    if (wrong == NULL && http_headers_count(headers, STR("x-amz-content-sha256")) > 0 &&
        !signs(claim, STR("x-amz-content-sha256")))
        wrong = "x-amz-content-sha256 must be among the SignedHeaders when it is sent";
    claim->session_token = http_headers_get(headers, STR("x-amz-security-token"));
    return wrong != NULL ? refuse(claim, SIGV4_MALFORMED, wrong) : SIGV4_OK;
}

enum presigned {
    PRESIGNED_ALGORITHM,
    PRESIGNED_CREDENTIAL,
    PRESIGNED_DATE,
    PRESIGNED_EXPIRES,
    PRESIGNED_HEADERS,
    PRESIGNED_SIGNATURE,
    PRESIGNED_TOKEN,
    PRESIGNED_COUNT
};

static const struct str presigned_names[PRESIGNED_COUNT] = {
    STR_INIT("X-Amz-Algorithm"),     STR_INIT("X-Amz-Credential"),    STR_INIT("X-Amz-Date"),
    STR_INIT("X-Amz-Expires"),       STR_INIT("X-Amz-SignedHeaders"), STR_INIT("X-Amz-Signature"),
    STR_INIT("X-Amz-Security-Token")};

/* 1 when there are any, 0 when none, -1 when one comes twice, -2 out of memory. */
static int find_presigned(struct arena *arena, struct str query, struct str values[PRESIGNED_COUNT])
{
    int found = 0;
    struct str item;
    while (str_next(&query, '&', &item)) {
        struct str name;
        (void)str_cut(&item, '=', &name);
        if (!str_istarts(name, STR("X-Amz-")))
            continue;
        size_t i = 0;
        while (i < PRESIGNED_COUNT && !str_eq(presigned_names[i], name))
            i++;
        if (i == PRESIGNED_COUNT)
            continue;
        if (values[i].ptr != NULL)
            return -1;
        values[i] = percent_decode(arena, item);
        if (values[i].ptr == NULL)
            return -2;
        found = 1;
    }
    return found;
}

static enum sigv4_verdict parse_query_form(const struct sigv4_request *request,
                                           const struct str values[PRESIGNED_COUNT],
                                           struct sigv4_claim *claim)
{
    enum { EXPIRES_MAX_S = 7 * 24 * 3600 };
    uint64_t expires = 0;
    claim->is_presigned = true;
    for (unsigned i = 0; i < PRESIGNED_TOKEN; i++) {
        if (values[i].ptr == NULL)
            return refuse(claim, SIGV4_MALFORMED,
                          "a presigned URL needs X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date, "
                          "X-Amz-Expires, X-Amz-SignedHeaders and X-Amz-Signature");
    }
    if (!str_eq(values[PRESIGNED_ALGORITHM], STR(SIGV4_ALGORITHM)))
        return refuse(claim, SIGV4_UNSUPPORTED, "sign with " SIGV4_ALGORITHM ": no other is taken");
    if (!str_to_u64(values[PRESIGNED_EXPIRES], &expires) || expires == 0 || expires > EXPIRES_MAX_S)
        return refuse(claim, SIGV4_MALFORMED, "X-Amz-Expires must be 1 to 604800 seconds");
    claim->expires_s = (int64_t)expires;
    claim->session_token = values[PRESIGNED_TOKEN];
    const char *wrong = parse_parts(values[PRESIGNED_CREDENTIAL], values[PRESIGNED_HEADERS],
                                    values[PRESIGNED_SIGNATURE], values[PRESIGNED_DATE], claim);
    unsigned hashes = http_headers_count(request->headers, STR("x-amz-content-sha256"));
    if (wrong == NULL &&
        (hashes > 1 || (hashes == 1 && !signs(claim, STR("x-amz-content-sha256")))))
        wrong = "x-amz-content-sha256 must be among the SignedHeaders when it is sent";
    return wrong != NULL ? refuse(claim, SIGV4_MALFORMED, wrong) : SIGV4_OK;
}

enum sigv4_verdict sigv4_parse(const struct sigv4_request *request, struct arena *arena,
                               struct sigv4_claim *claim)
{
    *claim = (struct sigv4_claim){0};
    struct str values[PRESIGNED_COUNT] = {0};
    struct str authorization = str_trim(http_headers_get(request->headers, STR("authorization")));
    bool is_signed_by_header = str_istarts(authorization, STR("AWS4-"));
    int presigned = find_presigned(arena, request->query, values);
    if (presigned == -2)
        return refuse(claim, SIGV4_NO_MEMORY, NULL);
    if (presigned == -1)
        return refuse(claim, SIGV4_MALFORMED, "a parameter of the presigned URL comes twice");
    bool is_presigned = presigned == 1 && (values[PRESIGNED_SIGNATURE].ptr != NULL ||
                                           values[PRESIGNED_ALGORITHM].ptr != NULL);
    if (is_presigned && authorization.len > 0)
        return refuse(claim, SIGV4_MALFORMED,
                      "the request is signed twice: in Authorization and in the query");
    if (is_signed_by_header)
        return parse_header_form(request, authorization, claim);
    if (is_presigned)
        return parse_query_form(request, values, claim);
    return refuse(claim, SIGV4_ABSENT, NULL);
}

/* --- judging it ------------------------------------------------------------------------------ */

static enum sigv4_verdict check_time(struct sigv4_claim *claim, const struct sigv4_policy *policy,
                                     int64_t now_s)
{
    int64_t skew = policy->skew_s > 0 ? policy->skew_s : SIGV4_SKEW_DEFAULT_S;
    if (claim->signed_at_s - now_s > skew)
        return refuse(claim, SIGV4_SKEW, NULL);
    if (claim->is_presigned && now_s > claim->signed_at_s + claim->expires_s)
        return refuse(claim, SIGV4_EXPIRED, NULL);
    if (!claim->is_presigned && now_s - claim->signed_at_s > skew)
        return refuse(claim, SIGV4_SKEW, NULL);
    return SIGV4_OK;
}

/* `hex` holds the hash of the body and *hash comes to what was signed in its place. */
static enum sigv4_verdict check_body(const struct sigv4_request *request, struct sigv4_claim *claim,
                                     const struct sigv4_policy *policy, char hex[SIGV4_HEX_BYTES],
                                     struct str *hash)
{
    struct str told = str_trim(http_headers_get(request->headers, STR("x-amz-content-sha256")));
    if (str_eq(told, STR("UNSIGNED-PAYLOAD"))) {
        *hash = told;
        return policy->allows_unsigned_body
                   ? SIGV4_OK
                   : refuse(claim, SIGV4_UNSUPPORTED,
                            "the body must be signed: UNSIGNED-PAYLOAD is not taken");
    }
    if (str_starts(told, STR("STREAMING-")))
        return refuse(claim, SIGV4_UNSUPPORTED,
                      "a body signed in chunks (STREAMING-...) is not taken: send its SHA-256");
    sigv4_hash_body(request->body, request->body_count, hex);
    *hash = str_n(hex, SIGV4_HEX_BYTES);
    if (told.len > 0 && !str_eq(told, *hash))
        return refuse(claim, SIGV4_BODY_MISMATCH, NULL);
    return SIGV4_OK;
}

/* The signed headers as they came. False with words set when one did not come. */
static enum sigv4_verdict find_headers(const struct sigv4_request *request,
                                       struct sigv4_claim *claim, struct arena *arena,
                                       struct sigv4_fields *out)
{
    const struct http_headers *headers = request->headers;
    unsigned room = headers->count + 1;
    out->items = arena_alloc(arena, room * sizeof(struct sigv4_field));
    out->count = 0;
    if (out->items == NULL)
        return refuse(claim, SIGV4_NO_MEMORY, NULL);
    struct str rest = claim->signed_headers, name;
    while (str_next(&rest, ';', &name)) {
        unsigned before = out->count;
        if (request->host.len > 0 && names_host(name)) {
            sigv4_add_field(out, name, request->host);
            continue;
        }
        for (unsigned i = 0; i < headers->count; i++) {
            if (str_ieq(headers->items[i].name, name))
                sigv4_add_field(out, name, headers->items[i].value);
        }
        if (out->count == before)
            return refuse(claim, SIGV4_MALFORMED,
                          "one of the SignedHeaders did not arrive: something between took it out");
    }
    return SIGV4_OK;
}

enum sigv4_verdict sigv4_check(const struct sigv4_request *request, struct sigv4_claim *claim,
                               struct str secret_access_key, const struct sigv4_policy *policy,
                               int64_t now_s, struct arena *arena)
{
    char body_hex[SIGV4_HEX_BYTES], hex[SIGV4_HEX_BYTES];
    struct sigv4_signing s = {.secret = secret_access_key,
                              .time = claim->time,
                              .date = claim->date,
                              .region = claim->region,
                              .service = claim->service,
                              .scope = claim->scope,
                              .signed_headers = claim->signed_headers,
                              .skipped_parameter =
                                  claim->is_presigned ? STR("X-Amz-Signature") : STR_EMPTY};
    enum sigv4_verdict verdict = check_time(claim, policy, now_s);
    if (verdict == SIGV4_OK && policy->service.len > 0 && !str_eq(policy->service, claim->service))
        verdict = refuse(claim, SIGV4_BAD_SIGNATURE, "the request is signed for another service");
    if (verdict == SIGV4_OK)
        verdict = check_body(request, claim, policy, body_hex, &s.body_hash);
    if (verdict == SIGV4_OK)
        verdict = find_headers(request, claim, arena, &s.headers);
    if (verdict != SIGV4_OK)
        return verdict;
    if (!sigv4_compute(request, &s, arena, hex))
        return refuse(claim, SIGV4_NO_MEMORY, NULL);
    if (!str_eq_secret(str_n(hex, SIGV4_HEX_BYTES), claim->signature))
        return refuse(claim, SIGV4_BAD_SIGNATURE, NULL);
    claim->words = sigv4_verdict_words(SIGV4_OK);
    return SIGV4_OK;
}

/* --- words ----------------------------------------------------------------------------------- */

static const struct {
    const char *words, *type;
} verdicts[SIGV4_VERDICT_COUNT] = {
    [SIGV4_OK] = {"the signature is right", ""},
    [SIGV4_ABSENT] = {"the request carries no AWS signature",
                      "MissingAuthenticationTokenException"},
    [SIGV4_MALFORMED] = {"the request's AWS signature cannot be read",
                         "IncompleteSignatureException"},
    [SIGV4_UNSUPPORTED] = {"the request is signed in a way that is not taken here",
                           "InvalidSignatureException"},
    [SIGV4_UNKNOWN_KEY] = {"the access key id is not known here", "UnrecognizedClientException"},
    [SIGV4_SKEW] = {"the request was signed at a time too far from now: check the clock of the "
                    "machine that signs",
                    "InvalidSignatureException"},
    [SIGV4_EXPIRED] = {"the presigned URL has expired", "ExpiredTokenException"},
    [SIGV4_BODY_MISMATCH] = {"the body is not the one that was signed (x-amz-content-sha256)",
                             "InvalidSignatureException"},
    [SIGV4_BAD_SIGNATURE] = {"the signature does not match: check the secret access key, and that "
                             "nothing between changes Host, path or signed headers",
                             "InvalidSignatureException"},
    [SIGV4_NO_MEMORY] = {"no memory to check the signature", "InternalServerException"},
};

const char *sigv4_verdict_words(enum sigv4_verdict verdict)
{
    return verdicts[verdict].words;
}

const char *sigv4_verdict_type(enum sigv4_verdict verdict)
{
    return verdicts[verdict].type;
}
