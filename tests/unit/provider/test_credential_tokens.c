#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/err.h"
#include "base/percent.h"
#include "token_server.h"

/* OAuth tokens of Google Cloud and Entra ID, from every source. */

static const struct provider google = {.name = STR_INIT("vertex"), .auth = AUTH_GOOGLE};
static const struct provider entra = {.name = STR_INIT("azure"), .auth = AUTH_ENTRA};

/* Tokens tok-1, tok-2, ... of an hour. */
static unsigned oauth(struct service *s, const struct http_request *r, struct str body,
                      struct buf *answer)
{
    (void)r;
    (void)body;
    buf_printf(answer,
               "{\"access_token\":\"tok-%u\",\"token_type\":\"Bearer\",\"expires_in\":3600}",
               ++s->state);
    return 200;
}

YIELDS static void expect_token(const struct provider *provider, const char *authorization)
{
    struct credential *c = credential_new(provider, NULL);
    assert_non_null(c);
    expect_authorization(c, authorization);
    credential_free(c);
}

YIELDS static void expect_none(const struct provider *provider, const char *words)
{
    struct credential *c = credential_new(provider, NULL);
    assert_non_null(c);
    expect_failure(c, words);
    credential_free(c);
}

/* --- Google: service accounts ------------------------------------------------------------------
 */

static EVP_PKEY *account_key;

/* A credentials file with the key, its line breaks escaped as JSON wants them. */
static const char *service_account_file(const char *token_uri)
{
    BIO *bio = BIO_new(BIO_s_mem());
    struct buf file = BUF_INIT;
    char *pem;
    account_key = EVP_RSA_gen(2048);
    assert_int_equal(PEM_write_bio_PrivateKey(bio, account_key, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(bio, &pem);
    buf_printf(&file,
               "{\"type\":\"service_account\",\"client_email\":\"a@p.iam.gserviceaccount.com\","
               "\"private_key_id\":\"key-7\",\"token_uri\":\"%s/token\",\"private_key\":",
               token_uri);
    buf_add_json(&file, str_n(pem, (size_t)len));
    buf_add_char(&file, '}');
    buf_add_char(&file, '\0');
    const char *path = home_file("account.json", file.ptr);
    buf_fini(&file);
    BIO_free(bio);
    return path;
}

static size_t decode_base64url(struct str text, unsigned char *out)
{
    char padded[2048];
    size_t len = text.len;
    assert_true(len + 4 < sizeof(padded));
    for (size_t i = 0; i < len; i++)
        padded[i] = text.ptr[i] == '-' ? '+' : text.ptr[i] == '_' ? '/' : text.ptr[i];
    size_t padding = (4 - len % 4) % 4;
    memset(padded + len, '=', padding);
    int n = EVP_DecodeBlock(out, (unsigned char *)padded, (int)(len + padding));
    assert_true(n >= 0);
    return (size_t)n - padding;
}

static void expect_assertion(struct str jwt, const char *header, const char *claims)
{
    unsigned char decoded[2048], signature[512];
    struct str rest = jwt, part;
    ptrdiff_t last = str_rindex(jwt, '.');
    str_cut(&rest, '.', &part);
    assert_true(str_eq(str_n((char *)decoded, decode_base64url(part, decoded)), str_c(header)));
    str_cut(&rest, '.', &part);
    struct str told = str_n((char *)decoded, decode_base64url(part, decoded));
    if (!str_eq(told, str_c(claims)))
        fail_msg("claims %.*s", STR_ARG(told));
    size_t len = decode_base64url(rest, signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, account_key), 1);
    assert_int_equal(
        EVP_DigestVerify(context, signature, len, (const unsigned char *)jwt.ptr, (size_t)last), 1);
    EVP_MD_CTX_free(context);
}

YIELDS static void service_account(void *arg)
{
    (void)arg;
    char claims[512];
    struct provider p = google;
    p.auth_settings.credentials_file = service_account_file(service.url);
    expect_token(&p, "Bearer tok-1");
    assert_asked("POST /token\n");
    assert_asked("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    struct str body = buf_str(&service.last);
    body = str_skip(body, (size_t)str_find(body, STR("assertion=")) + strlen("assertion="));
    snprintf(claims, sizeof(claims),
             "{\"iss\":\"a@p.iam.gserviceaccount.com\","
             "\"scope\":\"https://www.googleapis.com/auth/cloud-platform\","
             "\"aud\":\"%s/token\",\"iat\":1795248000,\"exp\":1795251600}",
             service.url);
    expect_assertion(body, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"key-7\"}", claims);
    /* By the variable as well. */
    setenv("GOOGLE_APPLICATION_CREDENTIALS", p.auth_settings.credentials_file, 1);
    expect_token(&google, "Bearer tok-2");
    EVP_PKEY_free(account_key);
}

static void a_service_account_signs_for_its_token(void **state)
{
    (void)state;
    with_service(oauth, service_account);
}

/* --- Google: the others ------------------------------------------------------------------------
 */

YIELDS static void user(void *arg)
{
    (void)arg;
    struct provider p = google;
    char text[256];
    snprintf(text, sizeof(text),
             "{\"type\":\"authorized_user\",\"client_id\":\"id\",\"client_secret\":\"s+cret\","
             "\"refresh_token\":\"1//r\",\"token_uri\":\"%s/token\"}",
             service.url);
    p.auth_settings.credentials_file = home_file("user.json", text);
    expect_token(&p, "Bearer tok-1");
    assert_asked("\n\ngrant_type=refresh_token&refresh_token=1%2F%2Fr&client_id=id&client_secret="
                 "s%2Bcret");
}

static void a_user_has_a_refresh_token(void **state)
{
    (void)state;
    with_service(oauth, user);
}

static unsigned federation(struct service *s, const struct http_request *r, struct str body,
                           struct buf *answer)
{
    if (str_eq(r->target, STR("/subject"))) {
        assert_true(str_eq(http_headers_get(&r->headers, STR("X-Why")), STR("because")));
        BUF_LIT(answer, "{\"value\":\"platform.token\"}");
        return 200;
    }
    if (!str_starts(r->target, STR("/impersonate")))
        return oauth(s, r, body, answer);
    assert_true(str_eq(http_headers_get(&r->headers, STR("Authorization")), STR("Bearer tok-1")));
    assert_true(str_eq(body, STR("{\"scope\":[\"a\",\"b\"],\"lifetime\":\"3600s\"}")));
    BUF_LIT(answer, "{\"accessToken\":\"as-somebody\",\"expireTime\":\"2026-11-21T09:00:00Z\"}");
    return 200;
}

static const char *external_file(const char *name, const char *source, const char *more)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "{\"type\":\"external_account\",\"audience\":\"//iam/pool\",\"subject_token_type\":"
             "\"urn:ietf:params:oauth:token-type:jwt\",\"token_url\":\"%s/sts\","
             "\"credential_source\":%s%s}",
             service.url, source, more);
    return home_file(name, text);
}

YIELDS static void external_account(void *arg)
{
    (void)arg;
    struct provider p = google;
    char source[256], more[256];
    snprintf(source, sizeof(source), "{\"file\":\"%s\"}", home_file("subject", "file.token\n"));
    p.auth_settings.credentials_file = external_file("by-file.json", source, "");
    expect_token(&p, "Bearer tok-1");
    assert_asked("POST /sts\n");
    assert_asked("&subject_token=file.token");
    assert_asked("&audience=%2F%2Fiam%2Fpool&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2F"
                 "cloud-platform&");
    service.state = 0;
    snprintf(source, sizeof(source),
             "{\"url\":\"%s/subject\",\"headers\":{\"X-Why\":\"because\"},\"format\":{\"type\":"
             "\"json\",\"subject_token_field_name\":\"value\"}}",
             service.url);
    snprintf(more, sizeof(more), ",\"service_account_impersonation_url\":\"%s/impersonate\"",
             service.url);
    p.auth_settings.credentials_file = external_file("by-url.json", source, more);
    p.auth_settings.scope = STR("a b");
    expect_token(&p, "Bearer as-somebody");
}

static void a_workload_identity_is_exchanged(void **state)
{
    (void)state;
    with_service(federation, external_account);
}

YIELDS static void metadata(void *arg)
{
    (void)arg;
    expect_token(&google, "Bearer tok-1");
    assert_asked("GET /computeMetadata/v1/instance/service-accounts/default/token\n");
    assert_asked("Metadata-Flavor: Google");
}

static void a_machine_has_a_service_account(void **state)
{
    (void)state;
    with_service(oauth, metadata);
}

YIELDS static void bad_files(void *arg)
{
    (void)arg;
    static const struct {
        const char *content, *words;
    } files[] = {
        {"{\"type\":\"gdch_service_account\"}", "of type \"gdch_service_account\""},
        {"no json", "of type \"\""},
        {"{\"type\":\"service_account\"}", "has no \"client_email\""},
        {"{\"type\":\"service_account\",\"client_email\":\"a\",\"private_key\":\"SECRETPEM\"}",
         "it is no RSA private key in PEM"},
        {"{\"type\":\"authorized_user\",\"refresh_token\":\"r\",\"client_id\":\"i\","
         "\"client_secret\":\"s\",\"token_uri\":\"http://tokens.example/\"}",
         "a token service must be https"},
        {"{\"type\":\"external_account\",\"audience\":\"a\",\"token_url\":\"https://x\","
         "\"subject_token_type\":\"t\",\"credential_source\":{\"environment_id\":\"aws1\"}}",
         "it knows \"file\" and \"url\""},
    };
    struct provider p = google;
    char name[16];
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(name, sizeof(name), "%zu.json", i);
        p.auth_settings.credentials_file = home_file(name, files[i].content);
        expect_none(&p, files[i].words);
    }
    p.auth_settings.credentials_file = "/nonexistent/account.json";
    expect_none(&p, "cannot read /nonexistent/account.json");
    assert_int_equal(service.asked, 0);
    assert_true(str_find(logged(), STR("SECRETPEM")) < 0);
}

static void a_bad_file_says_what_is_wrong(void **state)
{
    (void)state;
    with_service(oauth, bad_files);
}

/* --- Entra -------------------------------------------------------------------------------------
 */

YIELDS static void application(void *arg)
{
    (void)arg;
    struct provider p = entra;
    p.auth_settings.tenant_id = STR("tenant");
    p.auth_settings.client_id = STR("client");
    p.auth_settings.client_secret = STR("s~cret&");
    expect_token(&p, "Bearer tok-1");
    assert_asked("POST /tenant/oauth2/v2.0/token\n");
    assert_asked("\n\ngrant_type=client_credentials&client_id=client&client_secret=s~cret%26&scope="
                 "https%3A%2F%2Fcognitiveservices.azure.com%2F.default");
    setenv("AZURE_TENANT_ID", "t2", 1);
    setenv("AZURE_CLIENT_ID", "c2", 1);
    setenv("AZURE_FEDERATED_TOKEN_FILE", home_file("federated", "platform.token\n"), 1);
    expect_token(&entra, "Bearer tok-2");
    assert_asked("POST /t2/oauth2/v2.0/token\n");
    assert_asked("&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A"
                 "jwt-bearer&client_assertion=platform.token&");
    unsetenv("AZURE_TENANT_ID");
    expect_none(&entra, "needs auth.tenant_id and auth.client_id");
}

static void an_application_has_a_secret_or_a_federated_token(void **state)
{
    (void)state;
    with_service(oauth, application);
}

static unsigned managed(struct service *s, const struct http_request *r, struct str body,
                        struct buf *answer)
{
    (void)body;
    bool is_machine = str_eq(http_headers_get(&r->headers, STR("Metadata")), STR("true"));
    bool is_app = str_eq(http_headers_get(&r->headers, STR("X-IDENTITY-HEADER")), STR("word"));
    if (!is_machine && !is_app)
        return 403;
    buf_printf(answer, "{\"access_token\":\"mi-%u\",\"expires_on\":\"1795251600\"}", ++s->state);
    return 200;
}

YIELDS static void managed_identity(void *arg)
{
    (void)arg;
    expect_token(&entra, "Bearer mi-1");
    assert_asked(
        "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2F"
        "cognitiveservices.azure.com\n");
    char url[96];
    snprintf(url, sizeof(url), "%s/msi/token", service.url);
    setenv("IDENTITY_ENDPOINT", url, 1);
    setenv("IDENTITY_HEADER", "word", 1);
    setenv("AZURE_CLIENT_ID", "which", 1);
    expect_token(&entra, "Bearer mi-2");
    assert_asked("GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2F"
                 "cognitiveservices.azure.com&client_id=which\n");
}

static void a_managed_identity_is_asked_for(void **state)
{
    (void)state;
    with_service(managed, managed_identity);
}

static unsigned refuse(struct service *s, const struct http_request *r, struct str body,
                       struct buf *answer)
{
    (void)s;
    (void)r;
    (void)body;
    BUF_LIT(answer, "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid "
                    "client secret provided.\\r\\nTrace ID: x\"}");
    return 401;
}

YIELDS static void refused(void *arg)
{
    (void)arg;
    struct provider p = entra;
    p.auth_settings.tenant_id = STR("tenant");
    p.auth_settings.client_id = STR("client");
    p.auth_settings.client_secret = STR("MOST-SECRET");
    expect_none(&p, "answers 401: AADSTS7000215: Invalid client secret provided.");
    assert_true(str_find(logged(), STR("AADSTS7000215")) >= 0);
    assert_true(str_find(logged(), STR("MOST-SECRET")) < 0);
}

static void a_refusal_is_told_in_the_words_of_the_service(void **state)
{
    (void)state;
    with_service(refuse, refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_account_signs_for_its_token),
        cmocka_unit_test(a_user_has_a_refresh_token),
        cmocka_unit_test(a_workload_identity_is_exchanged),
        cmocka_unit_test(a_machine_has_a_service_account),
        cmocka_unit_test(a_bad_file_says_what_is_wrong),
        cmocka_unit_test(an_application_has_a_secret_or_a_federated_token),
        cmocka_unit_test(a_managed_identity_is_asked_for),
        cmocka_unit_test(a_refusal_is_told_in_the_words_of_the_service),
    };
    return cmocka_run_group_tests_name("provider/credential_tokens", tests, NULL, NULL);
}
