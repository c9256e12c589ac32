#include "support/validate.h"

#include <stdarg.h>

static const struct validation *const validations[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] = &validation_openai_chat,
    [DIALECT_ANTHROPIC] = &validation_anthropic,
    [DIALECT_GEMINI] = &validation_gemini,
    [DIALECT_BEDROCK] = &validation_bedrock,
    [DIALECT_COHERE] = &validation_cohere,
    [DIALECT_OPENAI_RESPONSES] = &validation_openai_responses,
};

bool invalid(struct validator *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(v->why, sizeof(v->why), format, args);
    va_end(args);
    return false;
}

static bool is_of_type(yyjson_val *value, char type)
{
    switch (type) {
    case 's':
        return yyjson_is_str(value);
    case 'z':
        return yyjson_is_str(value) || yyjson_is_null(value);
    case 'i':
        return yyjson_is_int(value);
    case 'n':
        return yyjson_is_num(value);
    case 'b':
        return yyjson_is_bool(value);
    case 'o':
        return yyjson_is_obj(value);
    case 'p':
        return yyjson_is_obj(value) || yyjson_is_null(value);
    case 'a':
        return yyjson_is_arr(value);
    case 'x':
        return yyjson_is_arr(value) || yyjson_is_null(value);
    default:
        return true;
    }
}

bool valid_members(struct validator *v, const char *where, yyjson_val *object, const char *spec)
{
    struct str rest = str_c(spec), item;
    if (!yyjson_is_obj(object))
        return invalid(v, "%s is no object", where);
    while (str_next(&rest, ' ', &item)) {
        size_t len = 0;
        while (len < item.len && strchr("?:=", item.ptr[len]) == NULL)
            len++;
        yyjson_val *value = yyjson_obj_getn(object, item.ptr, len);
        bool is_optional = len < item.len && item.ptr[len] == '?';
        struct str rule = str_skip(item, len + (is_optional ? 1 : 0));
        if (value == NULL && is_optional)
            continue;
        if (value == NULL)
            return invalid(v, "%s has no '%.*s'", where, (int)len, item.ptr);
        if (rule.ptr[0] == '=') {
            struct str word = str_skip(rule, 1);
            if (!yyjson_equals_strn(value, word.ptr, word.len))
                return invalid(v, "%s.%.*s is not '%.*s'", where, (int)len, item.ptr,
                               STR_ARG(word));
        } else if (!is_of_type(value, rule.ptr[1])) {
            return invalid(v, "%s.%.*s is of a wrong type (%s)", where, (int)len, item.ptr,
                           yyjson_get_type_desc(value));
        }
    }
    return true;
}

static bool is_word(const char *words, const char *word, size_t len)
{
    struct str rest = str_c(words), item;
    while (str_next(&rest, ' ', &item)) {
        if (str_eq(item, str_n(word, len)))
            return true;
    }
    return false;
}

bool valid_names(struct validator *v, const char *where, yyjson_val *object, const char *names)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, i, n, key, value)
    {
        if (!is_word(names, yyjson_get_str(key), yyjson_get_len(key)))
            return invalid(v, "%s.%s is no member that there is", where, yyjson_get_str(key));
    }
    return true;
}

bool valid_word(struct validator *v, const char *where, yyjson_val *string, const char *words)
{
    if (yyjson_is_str(string) && is_word(words, yyjson_get_str(string), yyjson_get_len(string)))
        return true;
    return invalid(v, "%s is '%.60s', none of: %s", where,
                   yyjson_is_str(string) ? yyjson_get_str(string) : "(no string)", words);
}

const char *valid_only(struct validator *v, const char *where, yyjson_val *object,
                       const char *names)
{
    const char *found = NULL;
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, i, n, key, value)
    {
        if (!is_word(names, yyjson_get_str(key), yyjson_get_len(key)))
            continue;
        if (found != NULL) {
            invalid(v, "%s has both %s and %s", where, found, yyjson_get_str(key));
            return NULL;
        }
        found = yyjson_get_str(key);
    }
    if (found == NULL)
        invalid(v, "%s has none of: %s", where, names);
    return found;
}

const char *valid_string(yyjson_val *object, const char *name)
{
    const char *s = yyjson_get_str(yyjson_obj_get(object, name));
    return s != NULL ? s : "";
}

void validator_init(struct validator *v, enum dialect_id id)
{
    memset(v, 0, sizeof(*v));
    v->id = id;
    v->text = BUF_INIT;
}

void validator_fini(struct validator *v)
{
    buf_fini(&v->text);
}

bool validator_event(struct validator *v, struct str type, struct str data)
{
    yyjson_doc *doc = yyjson_read(data.ptr, data.len, 0);
    struct str text = data;
    v->events++;
    if (str_index(data, '\n') >= 0) {
        yyjson_doc_free(doc);
        return invalid(v, "event %u is of more than one line", v->events);
    }
    bool ok = validations[v->id]->event(v, type, yyjson_doc_get_root(doc), text);
    if (!ok) {
        char words[400];
        memcpy(words, v->why, sizeof(words));
        snprintf(v->why, sizeof(v->why), "event %u (%.*s): %.150s: %.*s", v->events, STR_ARG(type),
                 words, (int)MIN(text.len, 160), text.ptr);
    }
    yyjson_doc_free(doc);
    return ok;
}

bool validator_end(struct validator *v)
{
    if (v->is_open && !v->has_error)
        return invalid(v, "the end: a block is open");
    return validations[v->id]->end(v);
}

static bool validate(struct validator *v, struct str body,
                     bool (*check)(struct validator *v, yyjson_val *root))
{
    yyjson_read_err error;
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)body.ptr, body.len, 0, NULL, &error);
    bool ok = doc != NULL ? check(v, yyjson_doc_get_root(doc))
                          : invalid(v, "no JSON: %s at %zu", error.msg, error.pos);
    yyjson_doc_free(doc);
    return ok;
}

bool validate_request(struct validator *v, struct str body)
{
    return validate(v, body, validations[v->id]->request);
}

bool validate_answer(struct validator *v, struct str body)
{
    return validate(v, body, validations[v->id]->answer);
}

bool validate_error(struct validator *v, struct str body)
{
    return validate(v, body, validations[v->id]->error);
}
