#include "base/err.h"
#include "base/percent.h"
#include "provider/credential_private.h"

/*
 * Tokens of Microsoft Entra ID: an application's secret, a federated token of the platform that it
 * runs on (workload identity), or a managed identity. In the order of Azure's
 * DefaultAzureCredential.
 * https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
 */

#define USUAL_SCOPE "https://cognitiveservices.azure.com/.default"

static struct str either(struct str configured, const char *variable)
{
    return configured.len > 0 ? configured : credential_env(variable);
}

static struct str scope_of(const struct credential *c)
{
    return c->settings.scope.len > 0 ? c->settings.scope : STR(USUAL_SCOPE);
}

/* --- applications ------------------------------------------------------------------------------
 */

/* With a secret, or with an assertion that is told instead. */
YIELDS static int ask_as_application(struct credential *c, struct arena *arena, struct str tenant,
                                     struct str client, struct str secret, struct str assertion,
                                     struct credential_token *token)
{
    struct str authority = credential_env("AZURE_AUTHORITY_HOST");
    if (authority.len == 0)
        authority = STR("https://login.microsoftonline.com");
    while (str_ends(authority, STR("/")))
        authority.len--;
    struct str encoded = percent_encode(arena, tenant);
    struct credential_call call = {.url = arena_printf(arena, "%.*s/%.*s/oauth2/v2.0/token",
                                                       STR_ARG(authority), STR_ARG(encoded))};
    const struct credential_field fields[] = {
        {"grant_type", STR("client_credentials")},
        {"client_id", client},
        {"client_secret", secret},
        {"client_assertion_type",
         assertion.len > 0 ? STR("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                           : STR_EMPTY},
        {"client_assertion", assertion},
        {"scope", scope_of(c)},
    };
    struct credential_reply reply = {.status = 0};
    if (encoded.ptr == NULL || call.url.ptr == NULL ||
        !credential_post_form(&call, arena, fields, ARRAY_LEN(fields)))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    int r = credential_ask_ok(c, arena, &call, &reply);
    return r == 0 ? credential_oauth_token(arena, reply.body, token) : r;
}

YIELDS static int ask_with_federated_token(struct credential *c, struct arena *arena,
                                           struct str tenant, struct str client, struct str file,
                                           struct credential_token *token)
{
    struct str assertion = STR_EMPTY;
    const char *path = arena_cstr(arena, file);
    if (path == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    /* Read each time: the platform replaces it. */
    int r = credential_read_file(arena, path, &assertion);
    if (r < 0)
        return r;
    while (assertion.len > 0 && (unsigned char)assertion.ptr[assertion.len - 1] <= ' ')
        assertion.len--;
    return ask_as_application(c, arena, tenant, client, STR_EMPTY, assertion, token);
}

/* --- managed identities ------------------------------------------------------------------------
 */

/* A resource is what stands before "/.default" in a scope. */
static struct str resource_of(const struct credential *c)
{
    struct str scope = scope_of(c), first;
    str_cut(&scope, ' ', &first);
    if (str_ends(first, STR("/.default")))
        first.len -= strlen("/.default");
    return first;
}

/* A virtual machine asks its host; App Service and Container Apps have a service of their own. */
YIELDS static int ask_machine(struct credential *c, struct arena *arena, struct str client,
                              struct credential_token *token)
{
    struct str endpoint = credential_env("IDENTITY_ENDPOINT");
    struct str secret = credential_env("IDENTITY_HEADER");
    bool is_app_service = endpoint.len > 0 && secret.len > 0;
    if (!is_app_service) {
        struct str host = credential_env("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        endpoint = arena_printf(arena, "%.*s/metadata/identity/oauth2/token",
                                STR_ARG(host.len > 0 ? host : STR("http://169.254.169.254")));
    }
    const struct credential_field fields[] = {
        {"api-version", is_app_service ? STR("2019-08-01") : STR("2018-02-01")},
        {"resource", resource_of(c)},
        {"client_id", client},
    };
    struct str query = credential_form(arena, fields, ARRAY_LEN(fields));
    struct credential_call call = {
        .method = METHOD_GET,
        .url = arena_printf(arena, "%.*s?%.*s", STR_ARG(endpoint), STR_ARG(query)),
        .is_of_machine = true,
    };
    struct credential_reply reply = {.status = 0};
    if (endpoint.ptr == NULL || query.ptr == NULL || call.url.ptr == NULL ||
        !http_headers_add(&call.headers, arena,
                          is_app_service ? STR("X-IDENTITY-HEADER") : STR("Metadata"),
                          is_app_service ? secret : STR("true")))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    int r = credential_ask_ok(c, arena, &call, &reply);
    if (r < 0)
        return err_wrap("no AZURE_CLIENT_SECRET, no AZURE_FEDERATED_TOKEN_FILE, and the managed "
                        "identity");
    return credential_oauth_token(arena, reply.body, token);
}

YIELDS static int fetch(struct credential *c, struct arena *arena, struct credential_token *token)
{
    struct str tenant = either(c->settings.tenant_id, "AZURE_TENANT_ID");
    struct str client = either(c->settings.client_id, "AZURE_CLIENT_ID");
    struct str secret = either(c->settings.client_secret, "AZURE_CLIENT_SECRET");
    struct str file = credential_env("AZURE_FEDERATED_TOKEN_FILE");
    bool is_application = secret.len > 0 || file.len > 0;
    if (is_application && (tenant.len == 0 || client.len == 0))
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "a client secret or a federated token needs auth.tenant_id and "
                       "auth.client_id, or AZURE_TENANT_ID and AZURE_CLIENT_ID");
    if (secret.len > 0)
        return ask_as_application(c, arena, tenant, client, secret, STR_EMPTY, token);
    if (file.len > 0)
        return ask_with_federated_token(c, arena, tenant, client, file, token);
    return ask_machine(c, arena, client, token);
}

/* Managed identities give a token anew from five minutes before its end. */
const struct credential_kind credential_entra = {.lead_ns = 300 * NS_PER_SEC, .fetch = fetch};
