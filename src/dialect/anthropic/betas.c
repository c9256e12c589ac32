#include "dialect/anthropic/betas.h"

#include "dialect/anthropic/codec.h"

/*
 * What Bedrock (docs.aws.amazon.com/bedrock, Claude's Messages API) and Vertex take, from their
 * pages and from what they have been seen to refuse. NULL = refused there; a name = what it is
 * called there. What is not in the table is for Anthropic alone.
 */
static const struct {
    const char *name, *bedrock, *vertex;
} betas[] = {
#define SAME(name)       \
    {                    \
        name, name, name \
    }
    SAME("computer-use-2024-10-22"),
    SAME("computer-use-2025-01-24"),
    SAME("computer-use-2025-11-24"),
    SAME("context-1m-2025-08-07"),
    SAME("context-management-2025-06-27"),
    SAME("compact-2026-01-12"),
    SAME("dangerous-tool-use-2026-09-03"),
    SAME("interleaved-thinking-2025-05-14"),
    SAME("thinking-binding-controls-2026-08-01"),
    SAME("thinking-display-updates-2026-08-18"),
    SAME("tool-search-tool-2025-10-19"),
#undef SAME
    /* One switch for several features: of them only this one is there. */
    {"advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19", "tool-search-tool-2025-10-19"},
    {"compact-2026-09-04", NULL, "compact-2026-09-04"},
    {"dev-full-thinking-2025-05-14", "dev-full-thinking-2025-05-14", NULL},
    {"effort-2025-11-24", "effort-2025-11-24", NULL},
    {"fine-grained-tool-streaming-2025-05-14", "fine-grained-tool-streaming-2025-05-14", NULL},
    {"mid-conversation-output-config-2026-07-01", "mid-conversation-output-config-2026-07-01",
     NULL},
    {"mid-conversation-tool-changes-2026-07-01", "mid-conversation-tool-changes-2026-07-01", NULL},
    {"output-128k-2025-02-19", "output-128k-2025-02-19", NULL},
    {"per-turn-control-2026-07-01", NULL, "per-turn-control-2026-07-01"},
    {"token-efficient-tools-2025-02-19", "token-efficient-tools-2025-02-19", NULL},
    {"tool-examples-2025-10-29", "tool-examples-2025-10-29", NULL},
    {"web-search-2025-03-05", NULL, "web-search-2025-03-05"},
};

/* The name that it has there; empty = it is refused. */
static struct str name_at(struct str beta, enum llm_variant variant)
{
    if (variant == VARIANT_NATIVE)
        return beta;
    for (size_t i = 0; i < ARRAY_LEN(betas); i++) {
        if (str_eq(beta, str_c(betas[i].name)))
            return str_c(variant == VARIANT_BEDROCK ? betas[i].bedrock : betas[i].vertex);
    }
    return STR_EMPTY;
}

static bool has(struct str list, struct str name)
{
    struct str item;
    while (str_next(&list, ',', &item)) {
        if (str_eq(str_trim(item), name))
            return true;
    }
    return false;
}

static void add(struct buf *list, struct str name, const char *separator)
{
    if (has(buf_str(list), name))
        return;
    if (list->len > 0)
        buf_add_str(list, str_c(separator));
    buf_add_str(list, name);
}

static struct str keep(struct arena *arena, struct buf *list)
{
    struct str copy = buf_ok(list) ? arena_dup(arena, buf_str(list)) : STR_EMPTY;
    buf_fini(list);
    return copy;
}

struct str anthropic_betas_for(struct arena *arena, struct str header_value,
                               enum llm_variant variant, struct buf *dropped)
{
    struct buf taken = BUF_INIT;
    struct str item;
    while (str_next(&header_value, ',', &item)) {
        item = str_trim(item);
        if (item.len == 0)
            continue;
        struct str name = name_at(item, variant);
        if (name.len > 0)
            add(&taken, name, ",");
        else if (dropped != NULL)
            add(dropped, item, ", ");
    }
    return keep(arena, &taken);
}

struct str anthropic_betas_of_body(struct arena *arena, struct str body)
{
    struct buf list = BUF_INIT;
    struct json_value value, item;
    struct json_cursor cursor;
    if (!json_find(body, "anthropic_beta", &value) || value.kind != JSON_ARRAY)
        return keep(arena, &list);
    json_cursor_init(&cursor, value.text);
    while (json_iter_array(&cursor, &item) == 1) {
        struct str name = json_string_raw(item);
        /* Names have nothing to escape; what does is no name. */
        if (name.len > 0 && json_string_is_plain(name) && str_index(name, ',') < 0)
            add(&list, name, ",");
    }
    return keep(arena, &list);
}

void anthropic_betas_write(struct buf *out, struct str names)
{
    struct str item;
    buf_add_char(out, '[');
    while (str_next(&names, ',', &item)) {
        item = str_trim(item);
        if (item.len == 0)
            continue;
        anthropic_comma(out);
        buf_add_json(out, item);
    }
    buf_add_char(out, ']');
}

struct json_edit anthropic_betas_edit(struct arena *arena, const struct llm_scan *scan,
                                      struct str body, struct str names)
{
    const struct json_found *found = &scan->json.found[ANTHROPIC_WANT_BETA];
    struct str own = anthropic_betas_of_body(arena, body);
    struct str parts[] = {own, own.len > 0 ? STR(",") : STR_EMPTY, names};
    struct str both = arena_concat(arena, parts, ARRAY_LEN(parts));
    both = anthropic_betas_for(arena, both, VARIANT_NATIVE, NULL); /* each once */
    struct buf array = BUF_INIT;
    anthropic_betas_write(&array, both);
    struct str value = keep(arena, &array);
    if (value.ptr == NULL || both.ptr == NULL)
        return (struct json_edit){0, 0, STR_EMPTY};
    if (found->kind != JSON_NONE)
        return json_edit_replace(found->value, value);
    return json_edit_add(arena, scan->json.object, scan->json.is_empty, STR("anthropic_beta"),
                         value);
}
