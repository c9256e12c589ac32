#include "base/err.h"
#include "provider/credential_aws.h"

/* What is between <name> and </name>, the first one. STS escapes nothing in what is read here but
 * "&amp;", which no credential holds. */
static struct str element(struct str xml, const char *name)
{
    char open[40];
    struct str content;
    int n = snprintf(open, sizeof(open), "<%s>", name);
    ptrdiff_t at = str_find(xml, str_n(open, (size_t)n));
    if (at < 0)
        return STR_EMPTY;
    xml = str_skip(xml, (size_t)(at + n));
    return str_cut(&xml, '<', &content) ? content : STR_EMPTY;
}

static int read_credentials(struct str xml, struct credential_token *token)
{
    token->aws = (struct sigv4_credentials){
        .access_key_id = element(xml, "AccessKeyId"),
        .secret_access_key = element(xml, "SecretAccessKey"),
        .session_token = element(xml, "SessionToken"),
    };
    token->refresh_ns = 0;
    if (token->aws.access_key_id.len == 0 || token->aws.secret_access_key.len == 0 ||
        !http_value_is_safe(token->aws.session_token) ||
        !credential_time(element(xml, "Expiration"), &token->expires_ns))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "STS gave no credentials");
    return 0;
}

/* The regional endpoint; where no region is known, the global one, which is in us-east-1. */
static struct str endpoint(const struct credential *c, struct arena *arena)
{
    struct str told = credential_env("AWS_ENDPOINT_URL_STS");
    if (told.len > 0)
        return told;
    if (c->region.len == 0)
        return STR("https://sts.amazonaws.com");
    return arena_printf(arena, "https://sts.%.*s.amazonaws.com%s", STR_ARG(c->region),
                        str_starts(c->region, STR("cn-")) ? ".cn" : "");
}

static int prepare(const struct credential *c, struct arena *arena,
                   const struct credential_field *fields, size_t count,
                   struct credential_call *call)
{
    *call = (struct credential_call){.url = endpoint(c, arena)};
    if (call->url.ptr == NULL || !credential_post_form(call, arena, fields, count))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    while (str_ends(call->url, STR("/")))
        call->url.len--;
    return 0;
}

static int sign(const struct credential *c, struct arena *arena,
                const struct credential_token *token, struct credential_call *call)
{
    struct str host = call->url;
    host = str_skip(host, (size_t)(str_find(host, STR("://")) + 3));
    struct iovec body = {(char *)(uintptr_t)call->body.ptr, call->body.len};
    struct sigv4_request request = {
        .method = STR("POST"),
        .path = STR("/"),
        .host = host,
        .headers = &call->headers,
        .body = &body,
        .body_count = 1,
    };
    return sigv4_sign(&request, &token->aws, STR("sts"),
                      c->region.len > 0 ? c->region : STR("us-east-1"),
                      clock_wall_ns() / NS_PER_SEC, arena, &call->headers);
}

static struct str session_name(const struct aws_role *role)
{
    return role->session_name.len > 0 ? role->session_name : STR("weir");
}

YIELDS int aws_assume_role(struct credential *c, struct arena *arena, const struct aws_role *role,
                           struct credential_token *token)
{
    const struct credential_field fields[] = {
        {"Action", STR("AssumeRole")},
        {"Version", STR("2011-06-15")},
        {"RoleArn", role->arn},
        {"RoleSessionName", session_name(role)},
        {"ExternalId", role->external_id},
    };
    struct credential_call call;
    struct credential_reply reply = {.status = 0};
    int r = prepare(c, arena, fields, ARRAY_LEN(fields), &call);
    if (r == 0)
        r = sign(c, arena, token, &call);
    if (r == 0)
        r = credential_ask_ok(c, arena, &call, &reply);
    return r == 0 ? read_credentials(reply.body, token) : r;
}

YIELDS int aws_assume_role_by_token(struct credential *c, struct arena *arena,
                                    const struct aws_role *role, struct str token_file,
                                    struct credential_token *token)
{
    struct credential_call call;
    struct credential_reply reply = {.status = 0};
    struct str identity = STR_EMPTY;
    const char *path = arena_cstr(arena, token_file);
    if (path == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    int r = credential_read_file(arena, path, &identity);
    if (r < 0)
        return r;
    while (identity.len > 0 && (unsigned char)identity.ptr[identity.len - 1] <= ' ')
        identity.len--;
    const struct credential_field fields[] = {
        {"Action", STR("AssumeRoleWithWebIdentity")},
        {"Version", STR("2011-06-15")},
        {"RoleArn", role->arn},
        {"RoleSessionName", session_name(role)},
        {"WebIdentityToken", identity},
    };
    r = prepare(c, arena, fields, ARRAY_LEN(fields), &call);
    if (r == 0)
        r = credential_ask_ok(c, arena, &call, &reply);
    return r == 0 ? read_credentials(reply.body, token) : r;
}
