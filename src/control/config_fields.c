#include "control/config_fields.h"

#include "control/config_reader.h"
#include "control/config_value.h"
#include "gateway/settings.h"

enum { KEY_NAME_MAX = 64, KEY_VALUE_MIN = 8, KEY_AWS_SECRET_MIN = 16 };

static const char no_memory[] = "less text (out of memory)";

static bool is_name(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alnum && c != '.' && c != '_' && c != '-')
            return false;
    }
    return text.len > 0;
}

const char *config_set_listen_address(void *object, struct arena *arena, struct str text)
{
    struct listener_settings *listener = object;
    if (!net_addr_parse_listen(text, &listener->addr))
        return "ADDRESS:PORT like \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\"";
    listener->text = arena_dup(arena, text);
    return listener->text.ptr != NULL ? NULL : no_memory;
}

const char *config_set_listen_tls(void *object, struct arena *arena, struct str text)
{
    (void)arena;
    (void)text;
    ((struct listener_settings *)object)->has_tls = true;
    ((struct listener_settings *)object)->tls.offer_h2 = true;
    return NULL;
}

static const char *set_name(struct str *name, struct arena *arena, struct str text)
{
    if (!is_name(text) || text.len > KEY_NAME_MAX)
        return "a name of letters, digits, \".\", \"_\" and \"-\", at most 64 long";
    *name = arena_dup(arena, text);
    return name->ptr != NULL ? NULL : no_memory;
}

const char *config_set_key_name(void *object, struct arena *arena, struct str text)
{
    return set_name(&((struct virtual_key *)object)->name, arena, text);
}

const char *config_set_key_team(void *object, struct arena *arena, struct str text)
{
    return set_name(&((struct virtual_key *)object)->team, arena, text);
}

const char *config_set_pool_key_name(void *object, struct arena *arena, struct str text)
{
    return set_name(&((struct provider_key *)object)->name, arena, text);
}

void config_route_begin(struct config_reader *reader, void *object, const struct config_node *node)
{
    (void)node;
    ((struct route *)object)->policy = reader->settings->routing;
}

const char *config_set_key_hash(void *object, struct arena *arena, struct str text)
{
    (void)arena;
    if (!key_hash_parse(text, ((struct virtual_key *)object)->sha256))
        return "\"sha256:\" and 64 hexadecimal digits, as `weir keys hash` prints it";
    return NULL;
}

const char *config_set_key_value(void *object, struct arena *arena, struct str text)
{
    (void)arena;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return "a key without spaces, control characters and letters beyond ASCII";
    }
    if (text.len < KEY_VALUE_MIN)
        return "a key of at least 8 characters";
    key_hash(text, ((struct virtual_key *)object)->sha256);
    return NULL;
}

const char *config_set_key_aws_id(void *object, struct arena *arena, struct str text)
{
    struct virtual_key *key = object;
    bool is_good = text.len >= 4 && text.len <= 128;
    for (size_t i = 0; i < text.len && is_good; i++) {
        char c = text.ptr[i];
        is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
    }
    if (!is_good)
        return "4 to 128 letters, digits, \"_\" and \"-\"";
    key->aws_access_key_id = arena_dup(arena, text);
    return key->aws_access_key_id.ptr != NULL ? NULL : no_memory;
}

const char *config_set_key_aws_secret(void *object, struct arena *arena, struct str text)
{
    struct virtual_key *key = object;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return "a secret without spaces, control characters and letters beyond ASCII";
    }
    if (text.len < KEY_AWS_SECRET_MIN)
        return "a secret of at least 16 characters";
    key->aws_secret_access_key = arena_dup(arena, text);
    return key->aws_secret_access_key.ptr != NULL ? NULL : no_memory;
}

const char *config_set_base_url(void *object, struct arena *arena, struct str text)
{
    while (str_ends(text, STR("/")))
        text = str_head(text, text.len - 1);
    struct provider *provider = object;
    provider->base_url = arena_dup(arena, text);
    return provider->base_url.ptr != NULL ? NULL : no_memory;
}

const char *config_set_developer_role(void *object, struct arena *arena, struct str text)
{
    (void)arena;
    bool has_role = false;
    const char *expected = config_parse_bool(text, &has_role);
    ((struct provider *)object)->llm_quirks.has_no_developer_role = !has_role;
    return expected;
}

const char *config_ignore(void *object, struct arena *arena, struct str text)
{
    (void)object;
    (void)arena;
    (void)text;
    return NULL;
}

const char *config_set_access_log(void *object, struct arena *arena, struct str text)
{
    struct settings *settings = object;
    settings->access_log = NULL;
    if (str_eq(text, STR("off")))
        return NULL;
    if (text.len == 0)
        return "stdout, stderr, off or the path of a file";
    settings->access_log = arena_cstr(arena, text);
    return settings->access_log != NULL ? NULL : no_memory;
}

const char *config_check_bool(void *object, struct arena *arena, struct str text)
{
    (void)object;
    (void)arena;
    bool ignored;
    return config_parse_bool(text, &ignored);
}
