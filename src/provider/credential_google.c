#include "base/err.h"
#include "base/json.h"
#include "provider/credential_private.h"
#include "provider/jwt.h"

/*
 * Tokens of Google Cloud, found as Google's own libraries find them (Application Default
 * Credentials): a JSON file of a service account, a user, a workload identity or an impersonation;
 * else the metadata server of the machine.
 * https://cloud.google.com/docs/authentication/application-default-credentials
 */

#define USUAL_SCOPE "https://www.googleapis.com/auth/cloud-platform"
#define USUAL_TOKEN_URI "https://oauth2.googleapis.com/token"

enum { TOKEN_SECONDS = 3600 };

static struct str scope_of(const struct credential *c)
{
    return c->settings.scope.len > 0 ? c->settings.scope : STR(USUAL_SCOPE);
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}

/* A member that must be there. */
static int need(struct arena *arena, struct str file, const char *name, struct str *value)
{
    *value = credential_json(arena, file, name);
    if (value->len > 0)
        return 0;
    return err_set(ERR_INVALID, FAULT_GATEWAY, "the Google credentials file has no \"%s\"", name);
}

YIELDS static int ask_token(struct credential *c, struct arena *arena, struct str url,
                            const struct credential_field *fields, size_t count,
                            struct credential_token *token)
{
    struct credential_call call = {.url = url};
    struct credential_reply reply = {.status = 0};
    if (!credential_post_form(&call, arena, fields, count))
        return no_memory();
    int r = credential_ask_ok(c, arena, &call, &reply);
    return r == 0 ? credential_oauth_token(arena, reply.body, token) : r;
}

/* --- kinds of files ----------------------------------------------------------------------------
 */

static struct str token_uri(struct arena *arena, struct str file)
{
    struct str uri = credential_json(arena, file, "token_uri");
    return uri.len > 0 ? uri : STR(USUAL_TOKEN_URI);
}

/* RFC 7523: a signed statement of who asks, for a token. */
YIELDS static int from_service_account(struct credential *c, struct arena *arena, struct str file,
                                       struct str scope, struct credential_token *token)
{
    struct str email = STR_EMPTY, key = STR_EMPTY, assertion = STR_EMPTY,
               uri = token_uri(arena, file);
    int r = need(arena, file, "client_email", &email);
    if (r == 0)
        r = need(arena, file, "private_key", &key);
    if (r < 0)
        return r;
    int64_t now_s = clock_wall_ns() / NS_PER_SEC;
    const struct jwt_claim claims[] = {
        {"iss", email, 0},
        {"scope", scope, 0},
        {"aud", uri, 0},
        {"iat", STR_EMPTY, now_s},
        {"exp", STR_EMPTY, now_s + TOKEN_SECONDS},
    };
    r = jwt_sign_rs256(arena, key, credential_json(arena, file, "private_key_id"), claims,
                       ARRAY_LEN(claims), &assertion);
    if (r < 0)
        return err_wrap("the private_key of the Google credentials file");
    const struct credential_field fields[] = {
        {"grant_type", STR("urn:ietf:params:oauth:grant-type:jwt-bearer")},
        {"assertion", assertion},
    };
    return ask_token(c, arena, uri, fields, ARRAY_LEN(fields), token);
}

YIELDS static int from_user(struct credential *c, struct arena *arena, struct str file,
                            struct str scope, struct credential_token *token)
{
    (void)scope; /* those that the user agreed to */
    struct str refresh, id, secret;
    int r = need(arena, file, "refresh_token", &refresh);
    if (r == 0)
        r = need(arena, file, "client_id", &id);
    if (r == 0)
        r = need(arena, file, "client_secret", &secret);
    if (r < 0)
        return r;
    const struct credential_field fields[] = {
        {"grant_type", STR("refresh_token")},
        {"refresh_token", refresh},
        {"client_id", id},
        {"client_secret", secret},
    };
    return ask_token(c, arena, token_uri(arena, file), fields, ARRAY_LEN(fields), token);
}

/* The token that the platform gave, plain or as a member of a JSON document. */
static int read_subject(struct arena *arena, struct str file, struct str text, struct str *subject)
{
    struct str field = STR_EMPTY;
    if (str_eq(credential_json(arena, file, "credential_source.format.type"), STR("json")))
        field = credential_json(arena, file, "credential_source.format.subject_token_field_name");
    if (field.len > 0) {
        const char *path = arena_cstr(arena, field);
        text = path != NULL ? credential_json(arena, text, path) : STR_EMPTY;
    }
    while (text.len > 0 && (unsigned char)text.ptr[text.len - 1] <= ' ')
        text.len--;
    *subject = text;
    if (text.len > 0)
        return 0;
    return err_set(ERR_INVALID, FAULT_GATEWAY,
                   "credential_source of the Google credentials file leads to no token");
}

static int add_headers(struct arena *arena, struct str file, struct http_headers *headers)
{
    struct json_value object, value;
    struct json_cursor cursor;
    struct str key, text;
    if (!json_find(file, "credential_source.headers", &object) || object.kind != JSON_OBJECT)
        return 0;
    json_cursor_init(&cursor, object.text);
    int r;
    while ((r = json_iter_object(&cursor, &key, &value)) > 0) {
        if (json_unescape(arena, json_string_raw(value), &text) < 0)
            return err_set(ERR_INVALID, FAULT_GATEWAY, "credential_source.headers is no JSON");
        if (!http_headers_add(headers, arena, key, text))
            return no_memory();
    }
    return r;
}

YIELDS static int find_subject(struct credential *c, struct arena *arena, struct str file,
                               struct str *subject)
{
    struct str path = credential_json(arena, file, "credential_source.file");
    struct str url = credential_json(arena, file, "credential_source.url");
    struct str text = STR_EMPTY;
    if (path.len > 0) {
        const char *z = arena_cstr(arena, path);
        int r = z == NULL ? no_memory() : credential_read_file(arena, z, &text);
        return r == 0 ? read_subject(arena, file, text, subject) : r;
    }
    if (credential_json(arena, file, "credential_source.environment_id").len > 0 || url.len == 0)
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "the Google credentials file names a credential_source that weir does not "
                       "know; it knows \"file\" and \"url\"");
    struct credential_call call = {.method = METHOD_GET, .url = url, .is_of_machine = true};
    struct credential_reply reply = {.status = 0};
    int r = add_headers(arena, file, &call.headers);
    if (r == 0)
        r = credential_ask_ok(c, arena, &call, &reply);
    return r == 0 ? read_subject(arena, file, reply.body, subject) : r;
}

/* projects.serviceAccounts.generateAccessToken of
 * https://cloud.google.com/iam/docs/reference/credentials/rest */
YIELDS static int impersonate(struct credential *c, struct arena *arena, struct str url,
                              struct str scope, struct credential_token *token)
{
    struct buf body = BUF_INIT;
    BUF_LIT(&body, "{\"scope\":[");
    for (struct str item, rest = scope; str_next(&rest, ' ', &item);) {
        if (item.ptr != scope.ptr)
            BUF_LIT(&body, ",");
        buf_add_json(&body, item);
    }
    BUF_LIT(&body, "],\"lifetime\":\"3600s\"}");
    struct credential_call call = {.method = METHOD_POST, .url = url};
    struct credential_reply reply = {.status = 0};
    struct str bearer = arena_printf(arena, "Bearer %.*s", STR_ARG(token->bearer));
    call.body = buf_ok(&body) ? arena_dup(arena, buf_str(&body)) : STR_EMPTY;
    buf_fini(&body);
    if (call.body.ptr == NULL || bearer.ptr == NULL ||
        !http_headers_add(&call.headers, arena, STR("Authorization"), bearer) ||
        !http_headers_add(&call.headers, arena, STR("Content-Type"), STR("application/json")))
        return no_memory();
    int r = credential_ask_ok(c, arena, &call, &reply);
    if (r < 0)
        return r;
    token->bearer = credential_json(arena, reply.body, "accessToken");
    if (token->bearer.len == 0 || !http_value_is_safe(token->bearer) ||
        !credential_time(credential_json(arena, reply.body, "expireTime"), &token->expires_ns))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "the impersonation gave no token");
    return 0;
}

/* Workload identity federation (RFC 8693): the platform's token for one of Google's. */
YIELDS static int from_external_account(struct credential *c, struct arena *arena, struct str file,
                                        struct str scope, struct credential_token *token)
{
    struct str audience, url, type, subject = STR_EMPTY;
    struct str impersonation = credential_json(arena, file, "service_account_impersonation_url");
    int r = need(arena, file, "audience", &audience);
    if (r == 0)
        r = need(arena, file, "token_url", &url);
    if (r == 0)
        r = need(arena, file, "subject_token_type", &type);
    if (r == 0)
        r = find_subject(c, arena, file, &subject);
    if (r < 0)
        return r;
    const struct credential_field fields[] = {
        {"grant_type", STR("urn:ietf:params:oauth:grant-type:token-exchange")},
        {"audience", audience},
        {"scope", impersonation.len > 0 ? STR(USUAL_SCOPE) : scope},
        {"requested_token_type", STR("urn:ietf:params:oauth:token-type:access_token")},
        {"subject_token_type", type},
        {"subject_token", subject},
    };
    r = ask_token(c, arena, url, fields, ARRAY_LEN(fields), token);
    return r == 0 && impersonation.len > 0 ? impersonate(c, arena, impersonation, scope, token) : r;
}

static const struct {
    const char *type;
    YIELDS int (*fetch)(struct credential *c, struct arena *arena, struct str file,
                        struct str scope, struct credential_token *token);
} file_kinds[] = {
    {"service_account", from_service_account},
    {"authorized_user", from_user},
    {"external_account", from_external_account},
};

YIELDS static int from_file(struct credential *c, struct arena *arena, struct str file,
                            struct credential_token *token)
{
    struct str type = credential_json(arena, file, "type"), url = STR_EMPTY, scope = scope_of(c);
    if (str_eq(type, STR("impersonated_service_account"))) {
        struct json_value source;
        int r = need(arena, file, "service_account_impersonation_url", &url);
        if (r < 0)
            return r;
        if (!json_find(file, "source_credentials", &source) || source.kind != JSON_OBJECT)
            return need(arena, STR_EMPTY, "source_credentials", &type);
        file = source.text;
        type = credential_json(arena, file, "type");
        scope = STR(USUAL_SCOPE);
    }
    for (size_t i = 0; i < ARRAY_LEN(file_kinds); i++) {
        if (!str_eq(type, str_c(file_kinds[i].type)))
            continue;
        int r = file_kinds[i].fetch(c, arena, file, scope, token);
        return r == 0 && url.len > 0 ? impersonate(c, arena, url, scope_of(c), token) : r;
    }
    return err_set(ERR_INVALID, FAULT_GATEWAY,
                   "the Google credentials file is of type \"%.*s\"; weir knows service_account, "
                   "authorized_user, external_account and impersonated_service_account",
                   STR_ARG(str_head(type, 40)));
}

/* --- the machine -------------------------------------------------------------------------------
 */

YIELDS static int from_metadata(struct credential *c, struct arena *arena,
                                struct credential_token *token)
{
    struct str host = credential_env("GCE_METADATA_HOST");
    const struct credential_field fields[] = {{"scopes", c->settings.scope}};
    struct str query = credential_form(arena, fields, 1);
    struct credential_call call = {
        .method = METHOD_GET,
        .url = arena_printf(
            arena, "http://%.*s/computeMetadata/v1/instance/service-accounts/default/token%s%.*s",
            STR_ARG(host.len > 0 ? host : STR("metadata.google.internal")),
            query.len > 0 ? "?" : "", STR_ARG(query)),
        .is_of_machine = true,
    };
    struct credential_reply reply = {.status = 0};
    if (query.ptr == NULL || call.url.ptr == NULL ||
        !http_headers_add(&call.headers, arena, STR("Metadata-Flavor"), STR("Google")))
        return no_memory();
    int r = credential_ask_ok(c, arena, &call, &reply);
    if (r < 0)
        return err_wrap("no credentials_file, no GOOGLE_APPLICATION_CREDENTIALS, and the metadata "
                        "server");
    return credential_oauth_token(arena, reply.body, token);
}

/* The file that is named, or that of `gcloud auth application-default login` where it exists. */
static const char *file_path(const struct credential *c, struct arena *arena, bool *is_named)
{
    struct str named = credential_env("GOOGLE_APPLICATION_CREDENTIALS");
    struct str folder = credential_env("CLOUDSDK_CONFIG");
    *is_named = true;
    if (c->settings.credentials_file != NULL)
        return c->settings.credentials_file;
    if (named.len > 0)
        return arena_cstr(arena, named);
    *is_named = false;
    if (folder.len > 0)
        return arena_cstr(arena, arena_printf(arena, "%.*s/application_default_credentials.json",
                                              STR_ARG(folder)));
    return credential_home_path(arena, ".config/gcloud/application_default_credentials.json");
}

YIELDS static int fetch(struct credential *c, struct arena *arena, struct credential_token *token)
{
    bool is_named;
    struct str file = STR_EMPTY;
    const char *path = file_path(c, arena, &is_named);
    int r = path == NULL ? -ERR_IO : credential_read_file(arena, path, &file);
    if (r == 0)
        return from_file(c, arena, file, token);
    if (is_named || r != -ERR_IO)
        return r;
    return from_metadata(c, arena, token);
}

/* The metadata server gives a token anew from five minutes before its end; Google's libraries ask
 * for a new one three minutes and 45 seconds before it. */
const struct credential_kind credential_google = {.lead_ns = 225 * NS_PER_SEC, .fetch = fetch};
