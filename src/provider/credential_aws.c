#include "provider/credential_aws.h"

#include "base/err.h"

/*
 * Credentials of AWS, found in the order of AWS's own SDKs: the config, the environment, a web
 * identity, the shared files, the container, the machine.
 * https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
 */

enum { ROLE_CHAIN_MAX = 5 };

/* Files are looked at again after this: other tools write new session tokens into them without
 * saying until when they hold. */
#define FILE_AGAIN_NS (300 * NS_PER_SEC)

/* What a source says besides 0 and an error. */
enum { NOT_HERE = 1 };

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}

static int keep_keys(struct credential_token *token, struct str id, struct str secret,
                     struct str session)
{
    if (!http_value_is_safe(id) || !http_value_is_safe(session))
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "the AWS access key or session token holds a control character");
    token->aws = (struct sigv4_credentials){id, secret, session};
    return 0;
}

/* --- config and environment --------------------------------------------------------------------
 */

static int from_config(struct credential *c, struct credential_token *token)
{
    const struct provider_auth_settings *s = &c->settings;
    if (s->access_key_id.len == 0)
        return NOT_HERE;
    return keep_keys(token, s->access_key_id, s->secret_access_key, s->session_token);
}

static int from_environment(struct credential_token *token)
{
    struct str id = credential_env("AWS_ACCESS_KEY_ID");
    struct str secret = credential_env("AWS_SECRET_ACCESS_KEY");
    if (id.len == 0 && secret.len == 0)
        return NOT_HERE;
    if (id.len == 0 || secret.len == 0)
        return err_set(
            ERR_INVALID, FAULT_GATEWAY,
            "one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set; both are needed");
    return keep_keys(token, id, secret, credential_env("AWS_SESSION_TOKEN"));
}

YIELDS static int from_web_identity(struct credential *c, struct arena *arena,
                                    struct credential_token *token)
{
    struct str file = credential_env("AWS_WEB_IDENTITY_TOKEN_FILE");
    struct aws_role role = {.arn = credential_env("AWS_ROLE_ARN"),
                            .session_name = credential_env("AWS_ROLE_SESSION_NAME")};
    if (file.len == 0 || role.arn.len == 0)
        return NOT_HERE;
    return aws_assume_role_by_token(c, arena, &role, file, token);
}

/* --- containers and machines -------------------------------------------------------------------
 */

/* {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}, of containers and machines alike. */
static int read_keys(struct arena *arena, struct str body, struct credential_token *token)
{
    struct str expiration = credential_json(arena, body, "Expiration");
    struct str id = credential_json(arena, body, "AccessKeyId");
    struct str secret = credential_json(arena, body, "SecretAccessKey");
    if (id.len == 0 || secret.len == 0)
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "the answer holds no AWS credentials");
    if (expiration.len > 0 && !credential_time(expiration, &token->expires_ns))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                       "the Expiration of AWS credentials is no time");
    return keep_keys(token, id, secret, credential_json(arena, body, "Token"));
}

/* Plain HTTP leads to the machine itself and the addresses of ECS and EKS, nowhere else. */
static bool may_be_asked(struct str url)
{
    static const struct str starts[] = {
        STR_INIT("https://"),        STR_INIT("http://169.254.170.2"),
        STR_INIT("http://127."),     STR_INIT("http://169.254.170.23"),
        STR_INIT("http://[::1]"),    STR_INIT("http://[fd00:ec2::23]"),
        STR_INIT("http://localhost")};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct str after = str_skip(url, starts[i].len);
        if (str_starts(url, starts[i]) &&
            (i == 0 || i == 2 || after.len == 0 || after.ptr[0] == '/' || after.ptr[0] == ':'))
            return true;
    }
    return false;
}

/* The word with which a container's service is asked; EKS writes a new one into the file. */
YIELDS static int container_word(struct arena *arena, struct str *word)
{
    struct str file = credential_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    *word = credential_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (file.len == 0)
        return 0;
    const char *path = arena_cstr(arena, file);
    int r = path == NULL ? no_memory() : credential_read_file(arena, path, word);
    while (r == 0 && word->len > 0 && (unsigned char)word->ptr[word->len - 1] <= ' ')
        word->len--;
    return r;
}

YIELDS static int from_container(struct credential *c, struct arena *arena,
                                 struct credential_token *token)
{
    struct str relative = credential_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    struct str url = credential_env("AWS_CONTAINER_CREDENTIALS_FULL_URI"), word;
    if (relative.len > 0)
        url = arena_printf(arena, "http://169.254.170.2%.*s", STR_ARG(relative));
    else if (url.len == 0)
        return NOT_HERE;
    if (url.ptr == NULL)
        return no_memory();
    if (!may_be_asked(url))
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor an address of this "
                       "machine");
    struct credential_call call = {.method = METHOD_GET, .url = url, .is_of_machine = true};
    struct credential_reply reply = {.status = 0};
    int r = container_word(arena, &word);
    if (r == 0 && word.len > 0 &&
        !http_headers_add(&call.headers, arena, STR("Authorization"), word))
        r = no_memory();
    if (r == 0)
        r = credential_ask_ok(c, arena, &call, &reply);
    return r == 0 ? read_keys(arena, reply.body, token) : r;
}

/* One question to the machine's metadata service, with the word that it gave before. */
YIELDS static int ask_machine(struct credential *c, struct arena *arena, const char *path,
                              struct str name, struct str word, struct str *answer)
{
    struct str base = credential_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (base.len == 0)
        base = str_ieq(credential_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"), STR("ipv6"))
                   ? STR("http://[fd00:ec2::254]")
                   : STR("http://169.254.169.254");
    while (str_ends(base, STR("/")))
        base.len--;
    struct credential_call call = {
        .method = word.ptr == NULL ? METHOD_PUT : METHOD_GET,
        .url = arena_printf(arena, "%.*s%s%.*s", STR_ARG(base), path, STR_ARG(name)),
        .is_of_machine = true,
    };
    struct credential_reply reply = {.status = 0};
    bool is_first = word.ptr == NULL;
    if (call.url.ptr == NULL ||
        !http_headers_add(&call.headers, arena,
                          is_first ? STR("X-aws-ec2-metadata-token-ttl-seconds")
                                   : STR("X-aws-ec2-metadata-token"),
                          is_first ? STR("300") : word))
        return no_memory();
    int r = credential_ask_ok(c, arena, &call, &reply);
    if (r == 0)
        *answer = reply.body;
    return r;
}

/* IMDSv2: a word for the session, the name of the role, its credentials. Version 1, which asks for
 * no word, is not used: whoever can make weir fetch a URL could use it, too.
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
 */
YIELDS static int from_machine(struct credential *c, struct arena *arena,
                               struct credential_token *token)
{
    static const char folder[] = "/latest/meta-data/iam/security-credentials/";
    struct str word = STR_EMPTY, role = STR_EMPTY, body = STR_EMPTY;
    if (str_ieq(credential_env("AWS_EC2_METADATA_DISABLED"), STR("true")))
        return NOT_HERE;
    int r = ask_machine(c, arena, "/latest/api/token", STR_EMPTY, STR_EMPTY, &word);
    if (r == 0)
        r = ask_machine(c, arena, folder, STR_EMPTY, word, &role);
    if (r < 0)
        return r;
    struct str rest = role;
    str_cut(&rest, '\n', &role);
    r = ask_machine(c, arena, folder, str_trim(role), word, &body);
    return r == 0 ? read_keys(arena, body, token) : r;
}

/* --- profiles ----------------------------------------------------------------------------------
 */

YIELDS static int from_source(struct credential *c, struct arena *arena, struct str source,
                              struct credential_token *token)
{
    int r = NOT_HERE;
    if (str_eq(source, STR("Environment")))
        r = from_environment(token);
    else if (str_eq(source, STR("EcsContainer")))
        r = from_container(c, arena, token);
    else if (str_eq(source, STR("Ec2InstanceMetadata")))
        r = from_machine(c, arena, token);
    if (r == NOT_HERE)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "credential_source %.*s gives no credentials",
                       STR_ARG(str_head(source, 40)));
    return r;
}

static int keep_profile_keys(const struct aws_profile *p, struct credential_token *token)
{
    token->refresh_ns = clock_add_ns(clock_mono_ns(), FILE_AGAIN_NS);
    return keep_keys(token, p->access_key_id, p->secret_access_key, p->session_token);
}

static int refuse_profile(struct str name, const struct aws_profile *p)
{
    const char *why = "holds no credentials";
    if (!p->is_found)
        why = "is not there";
    else if (p->sso_session.len > 0 || p->sso_start_url.len > 0)
        why = "signs in by SSO, which weir does not; name a role, or keys";
    else if (p->credential_process.len > 0)
        why = "runs a program (credential_process), which weir does not; name a role, or keys";
    return err_set(ERR_INVALID, FAULT_GATEWAY, "the AWS profile \"%.*s\" %s",
                   STR_ARG(str_head(name, 60)), why);
}

/* The roles of profiles that are assumed one with the other, the outermost first. */
struct chain {
    struct aws_role roles[ROLE_CHAIN_MAX];
    unsigned count;
};

/* One profile on the way down: its keys, or its role and where to go on (*name). NOT_HERE when it
 * says nothing of credentials and nobody has asked for it by name; MORE to go on. */
enum { MORE = 2 };
YIELDS static int look_at_profile(struct credential *c, struct arena *arena, struct str *name,
                                  bool is_named, struct chain *chain,
                                  struct credential_token *token)
{
    struct aws_profile p;
    int r = aws_read_profile(arena, *name, &p);
    if (r < 0)
        return r;
    bool has_keys = p.access_key_id.len > 0 && p.secret_access_key.len > 0;
    bool is_elsewhere =
        p.sso_session.len > 0 || p.sso_start_url.len > 0 || p.credential_process.len > 0;
    if (p.role_arn.len == 0) {
        if (has_keys)
            return keep_profile_keys(&p, token);
        return is_named || is_elsewhere ? refuse_profile(*name, &p) : NOT_HERE;
    }
    struct aws_role role = {p.role_arn, p.external_id, p.role_session_name};
    if (p.web_identity_token_file.len > 0)
        return aws_assume_role_by_token(c, arena, &role, p.web_identity_token_file, token);
    if (chain->count == ROLE_CHAIN_MAX)
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "the AWS profiles form a ring, or a chain of more than %d roles",
                       ROLE_CHAIN_MAX);
    chain->roles[chain->count++] = role;
    if (p.credential_source.len > 0)
        return from_source(c, arena, p.credential_source, token);
    if (str_eq(p.source_profile, *name) && has_keys)
        return keep_profile_keys(&p, token);
    *name = p.source_profile;
    if (name->len > 0)
        return MORE;
    return err_set(ERR_INVALID, FAULT_GATEWAY,
                   "an AWS profile has role_arn, but neither source_profile nor credential_source");
}

/* Down to the profile that has keys, and back up with a role each. */
YIELDS static int from_profile(struct credential *c, struct arena *arena, struct str name,
                               bool is_named, struct credential_token *token)
{
    struct chain *chain = ARENA_NEW(arena, struct chain);
    int r = chain == NULL ? no_memory() : MORE;
    while (r == MORE)
        r = look_at_profile(c, arena, &name, is_named || chain->count > 0, chain, token);
    while (r == 0 && chain->count > 0)
        r = aws_assume_role(c, arena, &chain->roles[--chain->count], token);
    return r;
}

/* --- the chain ---------------------------------------------------------------------------------
 */

YIELDS static int find_keys(struct credential *c, struct arena *arena,
                            struct credential_token *token)
{
    struct str variable = credential_env("AWS_PROFILE");
    struct str name = c->settings.profile;
    bool is_written = name.len > 0;
    bool is_named = is_written || variable.len > 0;
    if (!is_written)
        name = variable.len > 0 ? variable : STR("default");
    int r = from_config(c, token);
    if (r == NOT_HERE && !is_written)
        r = from_environment(token);
    if (r == NOT_HERE && !is_written)
        r = from_web_identity(c, arena, token);
    if (r == NOT_HERE)
        r = from_profile(c, arena, name, is_named, token);
    if (r == NOT_HERE)
        r = from_container(c, arena, token);
    if (r != NOT_HERE)
        return r;
    r = from_machine(c, arena, token);
    if (r == NOT_HERE)
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "no AWS credentials in the config, the environment, the shared files or a "
                       "container");
    return r == 0
               ? 0
               : err_wrap("no AWS credentials in config, environment, shared files or container, "
                          "and the metadata service");
}

YIELDS static int fetch(struct credential *c, struct arena *arena, struct credential_token *token)
{
    struct aws_role role = {.arn = c->settings.role_arn, .external_id = c->settings.external_id};
    int r = find_keys(c, arena, token);
    return r == 0 && role.arn.len > 0 ? aws_assume_role(c, arena, &role, token) : r;
}

/* The metadata service has new keys five minutes before the old ones end; AWS's SDKs ask from
 * fifteen to ten minutes before it. */
const struct credential_kind credential_aws = {.lead_ns = 600 * NS_PER_SEC, .fetch = fetch};
