#include "base/err.h"
#include "provider/credential_aws.h"

/* https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html */

static const struct {
    const char *name;
    size_t offset;
} members[] = {
    {"aws_access_key_id", offsetof(struct aws_profile, access_key_id)},
    {"aws_secret_access_key", offsetof(struct aws_profile, secret_access_key)},
    {"aws_session_token", offsetof(struct aws_profile, session_token)},
    {"role_arn", offsetof(struct aws_profile, role_arn)},
    {"role_session_name", offsetof(struct aws_profile, role_session_name)},
    {"external_id", offsetof(struct aws_profile, external_id)},
    {"source_profile", offsetof(struct aws_profile, source_profile)},
    {"credential_source", offsetof(struct aws_profile, credential_source)},
    {"web_identity_token_file", offsetof(struct aws_profile, web_identity_token_file)},
    {"credential_process", offsetof(struct aws_profile, credential_process)},
    {"sso_session", offsetof(struct aws_profile, sso_session)},
    {"sso_start_url", offsetof(struct aws_profile, sso_start_url)},
};

static struct str trim(struct str s)
{
    while (s.len > 0 && (unsigned char)s.ptr[s.len - 1] <= ' ')
        s.len--;
    while (s.len > 0 && (unsigned char)s.ptr[0] <= ' ')
        s = str_skip(s, 1);
    return s;
}

/* "[name]" in the credentials file, "[profile name]" in the config file, which calls the default
 * profile just [default]. */
static bool is_section(struct str line, struct str name, bool is_config)
{
    struct str inside;
    line = str_skip(line, 1);
    str_cut(&line, ']', &inside);
    inside = trim(inside);
    bool has_word = str_starts(inside, STR("profile ")) || str_starts(inside, STR("profile\t"));
    if (is_config && has_word)
        return str_eq(trim(str_skip(inside, strlen("profile "))), name);
    return str_eq(inside, name) && (!is_config || str_eq(name, STR("default")));
}

/* What was told before (by the credentials file) stays. */
static void take_member(struct aws_profile *profile, struct str line)
{
    struct str value = line, key;
    if (!str_cut(&value, '=', &key))
        return;
    key = trim(key);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct str *member = (struct str *)((char *)profile + members[i].offset);
        if (member->len == 0 && str_ieq(key, str_c(members[i].name)))
            *member = trim(value);
    }
}

static void read_section(struct str text, struct str name, bool is_config,
                         struct aws_profile *profile)
{
    bool is_inside = false;
    for (struct str line; str_next(&text, '\n', &line);) {
        bool is_nested = line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
        struct str plain = trim(line);
        if (plain.len == 0 || plain.ptr[0] == '#' || plain.ptr[0] == ';')
            continue;
        if (plain.ptr[0] == '[') {
            is_inside = is_section(plain, name, is_config);
            profile->is_found |= is_inside;
        } else if (is_inside && !is_nested) { /* what is nested is of one service */
            take_member(profile, plain);
        }
    }
}

YIELDS static int read_shared(struct arena *arena, const char *variable, const char *usual,
                              struct str name, bool is_config, struct aws_profile *profile)
{
    struct str named = credential_env(variable), text;
    const char *path =
        named.len > 0 ? arena_cstr(arena, named) : credential_home_path(arena, usual);
    if (path == NULL)
        return 0;
    int r = credential_read_file(arena, path, &text);
    if (r == -ERR_IO)
        return 0; /* not there, or not ours to read: then another source may serve */
    if (r == 0)
        read_section(text, name, is_config, profile);
    return r;
}

YIELDS int aws_read_profile(struct arena *arena, struct str name, struct aws_profile *profile)
{
    *profile = (struct aws_profile){.is_found = false};
    int r =
        read_shared(arena, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", name, false, profile);
    if (r == 0)
        r = read_shared(arena, "AWS_CONFIG_FILE", ".aws/config", name, true, profile);
    return r;
}
