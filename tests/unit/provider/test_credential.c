#include "base/clock.h"
#include "base/err.h"
#include "http/sigv4.h"
#include "rt/loop.h"
#include "token_server.h"

/*
 * Every kind of credential from every source, against a service that plays all of them; when it is
 * fetched, refreshed, refused and given up.
 */

static struct provider aws = {.name = STR_INIT("bedrock"),
                              .auth = AUTH_AWS,
                              .places = {[PLACE_REGION] = STR_INIT("us-east-1")}};

/* A signature that AWS would take, by this key. */
YIELDS static void expect_signature(struct credential *c, const char *id, const char *secret,
                                    const char *session)
{
    struct arena *arena = arena_new(4096);
    const struct credential_request *r = a_request();
    struct http_headers all = {0};
    struct sigv4_claim claim;
    struct sigv4_policy policy = {.service = STR("bedrock")};
    assert_true(
        http_headers_add(&all, arena, r->headers->items[0].name, r->headers->items[0].value));
    if (authorize(c, arena, &all) == NULL)
        fail_msg("no credential: %s", err_slot()->message);
    struct sigv4_request request = {.method = STR("POST"),
                                    .path = r->target,
                                    .host = r->host,
                                    .headers = &all,
                                    .body = r->body,
                                    .body_count = r->body_count};
    assert_int_equal(sigv4_parse(&request, arena, &claim), SIGV4_OK);
    assert_true(str_eq(claim.access_key_id, str_c(id)));
    assert_true(str_eq(claim.region, STR("us-east-1")));
    assert_true(str_eq(claim.session_token, str_c(session)));
    assert_int_equal(
        sigv4_check(&request, &claim, str_c(secret), &policy, clock_wall_ns() / NS_PER_SEC, arena),
        SIGV4_OK);
    arena_free(arena);
}

/* --- services ----------------------------------------------------------------------------------
 */

#define ONE_HOUR_ON "2026-11-21T09:00:00Z"

static unsigned none(struct service *s, const struct http_request *r, struct str body,
                     struct buf *answer)
{
    (void)s;
    (void)r;
    (void)body;
    (void)answer;
    return 404;
}

static unsigned sts(struct service *s, const struct http_request *r, struct str body,
                    struct buf *answer)
{
    (void)r;
    (void)body;
    buf_printf(answer,
               "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA%u"
               "</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey><SessionToken>"
               "role/session==</SessionToken><Expiration>%s</Expiration></Credentials>"
               "</AssumeRoleResult></AssumeRoleResponse>",
               ++s->state, ONE_HOUR_ON);
    return 200;
}

static void write_keys(struct buf *answer, const char *id)
{
    buf_printf(answer,
               "{\"Code\":\"Success\",\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"m-secret\","
               "\"Token\":\"m-session\",\"Expiration\":\"%s\"}",
               id, ONE_HOUR_ON);
}

static unsigned imds(struct service *s, const struct http_request *r, struct str body,
                     struct buf *answer)
{
    (void)s;
    (void)body;
    if (r->method == METHOD_PUT && str_eq(r->target, STR("/latest/api/token"))) {
        BUF_LIT(answer, "word-of-the-session");
        return 200;
    }
    if (!str_eq(http_headers_get(&r->headers, STR("X-aws-ec2-metadata-token")),
                STR("word-of-the-session")))
        return 401;
    if (str_ends(r->target, STR("/security-credentials/")))
        BUF_LIT(answer, "the-role\nanother");
    else if (str_ends(r->target, STR("/security-credentials/the-role")))
        write_keys(answer, "ASIAMACHINE");
    return 200;
}

static unsigned container(struct service *s, const struct http_request *r, struct str body,
                          struct buf *answer)
{
    (void)s;
    (void)body;
    if (!str_eq(http_headers_get(&r->headers, STR("Authorization")), STR("word")))
        return 401;
    write_keys(answer, "ASIACONTAINER");
    return 200;
}

/* --- AWS ---------------------------------------------------------------------------------------
 */

YIELDS static void config_keys(void *arg)
{
    (void)arg;
    struct provider p = aws;
    p.auth_settings.access_key_id = STR("AKIDCONFIG");
    p.auth_settings.secret_access_key = STR("config-secret");
    setenv("AWS_ACCESS_KEY_ID", "AKIDENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    setenv("AWS_SESSION_TOKEN", "env-session", 1);
    struct credential *c = credential_new(&p, NULL);
    expect_signature(c, "AKIDCONFIG", "config-secret", "");
    credential_free(c);
    c = credential_new(&aws, NULL);
    expect_signature(c, "AKIDENV", "env-secret", "env-session");
    credential_free(c);
    p.api_key = STR("bedrock-api-key");
    c = credential_new(&p, NULL);
    expect_authorization(c, "Bearer bedrock-api-key");
    credential_free(c);
    assert_int_equal(service.asked, 0);
}

static void keys_come_from_the_config_and_the_environment(void **state)
{
    (void)state;
    with_service(none, config_keys);
}

#define CREDENTIALS_FILE                                                                \
    "# of the shell\n[default]\naws_access_key_id = AKIDFILE\n"                         \
    "aws_secret_access_key=file-secret\n\n[other]\r\naws_access_key_id = AKIDOTHER\r\n" \
    "aws_secret_access_key = other=secret\r\naws_session_token = other-session\r\n"
#define CONFIG_FILE                                                                     \
    "[default]\nregion = eu-west-1\n[profile role]\nrole_arn = arn:aws:iam::1:role/a\n" \
    "source_profile = other\nexternal_id = ext\ns3 =\n  aws_access_key_id = NOTHIS\n"   \
    "[profile deep]\nrole_arn = arn:aws:iam::1:role/b\nsource_profile = role\n"         \
    "[profile ring]\nrole_arn = x\nsource_profile = ring2\n"                            \
    "[profile ring2]\nrole_arn = x\nsource_profile = ring\n"                            \
    "[profile sso]\nsso_session = s\n[profile env]\nrole_arn = arn:aws:iam::1:role/e\n" \
    "credential_source = Environment\n"

static struct provider of_profile(const char *name)
{
    struct provider p = aws;
    p.auth_settings.profile = str_c(name);
    return p;
}

YIELDS static void shared_files(void *arg)
{
    (void)arg;
    home_file(".aws/credentials", CREDENTIALS_FILE);
    home_file(".aws/config", CONFIG_FILE);
    struct credential *c = credential_new(&aws, NULL);
    expect_signature(c, "AKIDFILE", "file-secret", "");
    credential_free(c);

    struct provider p = of_profile("other");
    c = credential_new(&p, NULL);
    expect_signature(c, "AKIDOTHER", "other=secret", "other-session");
    assert_int_equal(service.asked, 0);
    credential_free(c);

    p = of_profile("role");
    c = credential_new(&p, NULL);
    expect_signature(c, "ASIA1", "role-secret", "role/session==");
    assert_int_equal(service.asked, 1);
    assert_asked("Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa&"
                 "RoleSessionName=weir&ExternalId=ext");
    assert_asked("Credential=AKIDOTHER/20261121/us-east-1/sts/aws4_request");
    assert_asked("x-amz-security-token"); /* among the signed headers */
    credential_free(c);

    p = of_profile("deep");
    c = credential_new(&p, NULL);
    expect_signature(c, "ASIA3", "role-secret", "role/session==");
    assert_int_equal(service.asked, 3);
    assert_asked("Credential=ASIA2/");
    assert_asked("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fb");
    credential_free(c);
}

static void profiles_and_roles_of_the_shared_files(void **state)
{
    (void)state;
    with_service(sts, shared_files);
}

YIELDS static void bad_profiles(void *arg)
{
    (void)arg;
    static const struct {
        const char *profile, *words;
    } cases[] = {
        {"ring", "form a ring"},
        {"sso", "signs in by SSO"},
        {"nobody", "the AWS profile \"nobody\" is not there"},
        {"env", "credential_source Environment gives no credentials"},
    };
    home_file(".aws/credentials", CREDENTIALS_FILE);
    home_file(".aws/config", CONFIG_FILE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider p = of_profile(cases[i].profile);
        struct credential *c = credential_new(&p, NULL);
        expect_failure(c, cases[i].words);
        credential_free(c);
    }
    setenv("AWS_ACCESS_KEY_ID", "AKIDENV", 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    struct credential *c = credential_new(&aws, NULL);
    expect_failure(c, "one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    credential_free(c);
    assert_int_equal(service.asked, 0);
}

static void a_profile_that_cannot_serve_says_why(void **state)
{
    (void)state;
    with_service(sts, bad_profiles);
}

YIELDS static void web_identity(void *arg)
{
    (void)arg;
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "header.claims.sig\n"), 1);
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod", 1);
    struct credential *c = credential_new(&aws, NULL);
    expect_signature(c, "ASIA1", "role-secret", "role/session==");
    assert_asked("Action=AssumeRoleWithWebIdentity&");
    assert_asked("&WebIdentityToken=header.claims.sig");
    if (str_ifind(buf_str(&service.last), STR("authorization:")) >= 0)
        fail_msg("a web identity is not signed");
    credential_free(c);
    /* And a role on top of it. */
    struct provider p = aws;
    p.auth_settings.role_arn = STR("arn:aws:iam::2:role/models");
    c = credential_new(&p, NULL);
    expect_signature(c, "ASIA3", "role-secret", "role/session==");
    assert_asked("Credential=ASIA2/");
    credential_free(c);
}

static void a_web_identity_becomes_a_role(void **state)
{
    (void)state;
    with_service(sts, web_identity);
}

YIELDS static void of_machine(void *arg)
{
    (void)arg;
    struct credential *c = credential_new(&aws, NULL);
    expect_signature(c, "ASIAMACHINE", "m-secret", "m-session");
    assert_int_equal(service.asked, 3);
    credential_free(c);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    c = credential_new(&aws, NULL);
    expect_failure(c, "no AWS credentials in the config, the environment");
    assert_int_equal(service.asked, 3);
    credential_free(c);
}

static void a_machine_gives_its_role_by_the_second_version(void **state)
{
    (void)state;
    with_service(imds, of_machine);
}

YIELDS static void of_container(void *arg)
{
    (void)arg;
    char url[96];
    snprintf(url, sizeof(url), "%s/v2/credentials", service.url);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", home_file("word", "word\n"), 1);
    struct credential *c = credential_new(&aws, NULL);
    expect_signature(c, "ASIACONTAINER", "m-secret", "m-session");
    credential_free(c);
    unsigned asked = service.asked;
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.2.evil.example/x", 1);
    c = credential_new(&aws, NULL);
    expect_failure(c, "neither https nor an address of this machine");
    credential_free(c);
    assert_int_equal(service.asked, asked);
}

static void a_container_gives_its_role(void **state)
{
    (void)state;
    with_service(container, of_container);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_from_the_config_and_the_environment),
        cmocka_unit_test(profiles_and_roles_of_the_shared_files),
        cmocka_unit_test(a_profile_that_cannot_serve_says_why),
        cmocka_unit_test(a_web_identity_becomes_a_role),
        cmocka_unit_test(a_machine_gives_its_role_by_the_second_version),
        cmocka_unit_test(a_container_gives_its_role),
    };
    return cmocka_run_group_tests_name("provider/credential", tests, NULL, NULL);
}
