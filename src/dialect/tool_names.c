#include "dialect/tool_names.h"

#include "base/err.h"

enum { HASH_DIGITS = 8 };

static bool is_name_char(const struct dialect *target, char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || (c != '\0' && strchr(target->tool_name_extra, c) != NULL);
}

static bool is_first_char(const struct dialect *target, char c)
{
    /* Gemini: "must start with a letter or an underscore". */
    return target->id != DIALECT_GEMINI || !((c >= '0' && c <= '9') || c == '-' || c == '.');
}

static bool fits(const struct dialect *target, struct str name)
{
    if (name.len > target->tool_name_max || (name.len > 0 && !is_first_char(target, name.ptr[0])))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (!is_name_char(target, name.ptr[i]))
            return false;
    }
    return true;
}

struct mapping {
    const struct dialect *target;
    struct arena *arena;
    struct translation_names **names;
    int result;
};

static struct str make_name(struct mapping *m, struct str from)
{
    size_t cap = m->target->tool_name_max;
    size_t keep = MIN(from.len, cap - HASH_DIGITS - 1);
    char *to = arena_alloc(m->arena, cap + 1);
    if (to == NULL)
        return STR_EMPTY;
    uint32_t hash = (uint32_t)str_hash(from);
    uint8_t bytes[] = {(uint8_t)(hash >> 24), (uint8_t)(hash >> 16), (uint8_t)(hash >> 8),
                       (uint8_t)hash};
    for (size_t i = 0; i < keep; i++)
        to[i] = is_name_char(m->target, from.ptr[i]) ? from.ptr[i] : '_';
    if (keep > 0 && !is_first_char(m->target, to[0]))
        to[0] = '_';
    to[keep] = '_';
    str_to_hex(bytes, sizeof(bytes), to + keep + 1);
    return str_n(to, keep + 1 + HASH_DIGITS);
}

static void map(struct mapping *m, struct text *name)
{
    struct str plain;
    struct translation_names **link = m->names;
    if (!text_is_some(*name) || m->result < 0)
        return;
    if (name->s.len <= m->target->tool_name_max && fits(m->target, name->s) &&
        (!name->is_escaped || json_string_is_plain(name->s)))
        return;
    if (text_get(m->arena, *name, &plain) != 0 || plain.len == 0 || fits(m->target, plain))
        return;
    while (*link != NULL && !text_eq((*link)->from, plain))
        link = &(*link)->next;
    if (*link == NULL) {
        struct translation_names *added = ARENA_NEW(m->arena, struct translation_names);
        struct str to = make_name(m, plain);
        if (added == NULL || to.ptr == NULL) {
            m->result = err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory for names of tools");
            return;
        }
        added->from = text_plain(plain);
        added->to = to;
        *link = added;
    }
    *name = text_plain((*link)->to);
}

int tool_names_map(struct llm_request *request, const struct dialect *target, struct arena *arena,
                   struct translation_names **names)
{
    struct mapping m = {target, arena, names, 0};
    for (struct llm_tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (tool->kind == TOOL_FUNCTION)
            map(&m, &tool->name);
    }
    map(&m, &request->tool_choice_name);
    for (struct llm_name *name = request->allowed_tools; name != NULL; name = name->next)
        map(&m, &name->text);
    for (struct llm_message *message = request->messages; message != NULL;
         message = message->next) {
        for (struct llm_block *block = message->blocks; block != NULL; block = block->next) {
            if (block->kind == BLOCK_TOOL_CALL || block->kind == BLOCK_TOOL_RESULT)
                map(&m, &block->name);
        }
    }
    return m.result;
}

struct text tool_names_back(const struct translation_names *names, struct text name)
{
    for (; names != NULL; names = names->next) {
        if (text_eq(name, names->to))
            return names->from;
    }
    return name;
}
