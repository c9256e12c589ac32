#include "base/err.h"
#include "dialect/anthropic/codec.h"

/*
 * The same-dialect path: what policy needs to know, and what has to differ between Anthropic
 * itself, Vertex (the model stands in the path, the version in the body) and Bedrock's Invoke (as
 * Vertex, and whether it streams stands in the path, too).
 */

static const struct json_want wants[ANTHROPIC_WANT_COUNT] = {
    LLM_SHARED_WANTS,
    [ANTHROPIC_WANT_MODEL] = {{STR_INIT("model")}},
    [ANTHROPIC_WANT_STREAM] = {{STR_INIT("stream")}},
    [ANTHROPIC_WANT_VERSION] = {{STR_INIT("anthropic_version")}},
    [ANTHROPIC_WANT_BETA] = {{STR_INIT("anthropic_beta")}},
};

const char *anthropic_version_of(enum llm_variant variant)
{
    switch (variant) {
    case VARIANT_VERTEX:
        return "vertex-2023-10-16";
    case VARIANT_BEDROCK:
        return "bedrock-2023-05-31";
    case VARIANT_NATIVE:
        break;
    }
    return NULL;
}

static int refuse(struct llm_scan *scan, unsigned want, const char *why)
{
    scan->bad_param = wants[want].path[0];
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s' %s", STR_ARG(scan->bad_param), why);
}

static int read_model(struct llm_scan *scan, struct str body, struct arena *arena)
{
    const struct json_found *found = &scan->json.found[ANTHROPIC_WANT_MODEL];
    bool is_in_path = scan->json.found[ANTHROPIC_WANT_VERSION].kind == JSON_STRING;
    if (found->kind == JSON_NONE && is_in_path)
        return 0;
    if (found->kind == JSON_NONE)
        return refuse(scan, ANTHROPIC_WANT_MODEL, "is missing: name the model that is to answer");
    if (found->kind != JSON_STRING)
        return refuse(scan, ANTHROPIC_WANT_MODEL, "must be a string");
    struct json_value value = {JSON_STRING, json_span_str(body, found->value)};
    int r = json_unescape(arena, json_string_raw(value), &scan->model);
    if (r == -ERR_NOMEM)
        return anthropic_no_memory();
    if (r < 0)
        return refuse(scan, ANTHROPIC_WANT_MODEL, "is not a valid JSON string");
    if (scan->model.len == 0)
        return refuse(scan, ANTHROPIC_WANT_MODEL, "must not be empty");
    /* The body may go before the name does. */
    scan->model = arena_dup(arena, scan->model);
    return scan->model.ptr == NULL ? anthropic_no_memory() : 0;
}

int anthropic_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan)
{
    /* Usage comes unasked, with the first event and the last but one. */
    *scan = (struct llm_scan){.includes_usage = true};
    int r = json_scan_object(body, max_depth, wants, ANTHROPIC_WANT_COUNT, &scan->json);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < ANTHROPIC_WANT_COUNT; i++) {
        if (scan->json.found[i].is_duplicate)
            return refuse(scan, i, "occurs more than once");
    }
    enum json_kind stream = scan->json.found[ANTHROPIC_WANT_STREAM].kind;
    if (stream != JSON_NONE && stream != JSON_TRUE && stream != JSON_FALSE && stream != JSON_NULL)
        return refuse(scan, ANTHROPIC_WANT_STREAM, "must be a boolean");
    enum json_kind version = scan->json.found[ANTHROPIC_WANT_VERSION].kind;
    if (version != JSON_NONE && version != JSON_STRING && version != JSON_NULL)
        return refuse(scan, ANTHROPIC_WANT_VERSION, "must be a string");
    scan->is_stream = stream == JSON_TRUE;
    return read_model(scan, body, arena);
}

/* --- fitting --- */

enum { MEMBERS_MAX = ANTHROPIC_WANT_COUNT };

/* Members to be taken out, in the order they stand, and members to be put in. */
struct changes {
    struct json_found out[MEMBERS_MAX];
    unsigned out_count;
    struct {
        struct str key, value;
    } in[MEMBERS_MAX];
    unsigned in_count;
};

static size_t end_of(const struct json_found *member)
{
    return member->value.offset + member->value.len;
}

static void take_out(struct changes *c, const struct json_found *member)
{
    if (member->kind == JSON_NONE)
        return;
    unsigned at = c->out_count++;
    for (; at > 0 && c->out[at - 1].key.offset > member->key.offset; at--)
        c->out[at] = c->out[at - 1];
    c->out[at] = *member;
}

static void put_in(struct changes *c, struct str key, struct str value)
{
    c->in[c->in_count].key = key;
    c->in[c->in_count++].value = value;
}

static bool are_neighbours(struct str body, const struct json_found *a, const struct json_found *b)
{
    for (size_t i = end_of(a); i < b->key.offset; i++) {
        char c = body.ptr[i];
        if (c != ',' && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            return false;
    }
    return true;
}

/* What comes in takes the place of what goes. Neighbours that go are taken out as one. */
static void apply(struct changes *c, const struct llm_scan *scan, struct str body,
                  struct arena *arena, struct llm_fit *fit)
{
    unsigned in = 0, out = 0;
    for (; in < c->in_count && out < c->out_count; in++, out++) {
        struct json_found *old = &c->out[out];
        struct str parts[] = {STR("\""), c->in[in].key, STR("\":"), c->in[in].value};
        fit->edits[fit->count++] =
            (struct json_edit){old->key.offset, end_of(old) - old->key.offset,
                               arena_concat(arena, parts, ARRAY_LEN(parts))};
    }
    for (; in < c->in_count; in++)
        fit->edits[fit->count++] = json_edit_add(arena, scan->json.object, scan->json.is_empty,
                                                 c->in[in].key, c->in[in].value);
    while (out < c->out_count) {
        struct json_found member = c->out[out++];
        while (out < c->out_count && are_neighbours(body, &member, &c->out[out]))
            member.value.len = end_of(&c->out[out++]) - member.value.offset;
        fit->edits[fit->count++] = json_edit_remove(body, &member);
    }
    for (unsigned i = 0; i < fit->count; i++)
        fit->no_memory = fit->no_memory || fit->edits[i].insert.ptr == NULL;
}

static struct str quoted(struct arena *arena, struct str text)
{
    struct buf json = BUF_INIT;
    buf_add_json(&json, text);
    struct str copy = buf_ok(&json) ? arena_dup(arena, buf_str(&json)) : STR_EMPTY;
    buf_fini(&json);
    return copy;
}

void anthropic_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                   bool wants_usage, struct arena *arena, struct llm_fit *fit)
{
    const struct json_found *found = scan->json.found;
    const struct json_found *version = &found[ANTHROPIC_WANT_VERSION];
    const char *own = anthropic_version_of(target->variant);
    struct changes changes = {.out_count = 0};
    (void)wants_usage;
    *fit = (struct llm_fit){.count = 0};
    if (own == NULL) {
        struct str model = quoted(arena, target->model);
        fit->no_memory = model.ptr == NULL;
        take_out(&changes, version);
        take_out(&changes, &found[ANTHROPIC_WANT_BETA]);
        if (found[ANTHROPIC_WANT_MODEL].kind == JSON_NONE)
            put_in(&changes, STR("model"), model);
        else if (!str_eq(scan->model, target->model))
            fit->edits[fit->count++] = json_edit_replace(found[ANTHROPIC_WANT_MODEL].value, model);
        if (found[ANTHROPIC_WANT_STREAM].kind == JSON_NONE && target->is_stream)
            put_in(&changes, STR("stream"), STR("true"));
        apply(&changes, scan, body, arena, fit);
        return;
    }
    struct str value = quoted(arena, str_c(own));
    fit->no_memory = value.ptr == NULL;
    /* A later version of the same service is the client's own business. */
    struct str kind = str_head(str_c(own), (size_t)str_index(str_c(own), '-') + 1);
    struct str told =
        json_string_raw((struct json_value){version->kind, json_span_str(body, version->value)});
    if (version->kind == JSON_NONE)
        put_in(&changes, STR("anthropic_version"), value);
    else if (!str_starts(told, kind))
        fit->edits[fit->count++] = json_edit_replace(version->value, value);
    take_out(&changes, &found[ANTHROPIC_WANT_MODEL]);
    if (target->variant == VARIANT_BEDROCK)
        take_out(&changes, &found[ANTHROPIC_WANT_STREAM]);
    else
        take_out(&changes, &found[ANTHROPIC_WANT_BETA]);
    if (target->variant == VARIANT_VERTEX && found[ANTHROPIC_WANT_STREAM].kind == JSON_NONE &&
        target->is_stream)
        put_in(&changes, STR("stream"), STR("true"));
    apply(&changes, scan, body, arena, fit);
}
