#include "dialect/gemini/member.h"

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

bool gemini_is(struct str key, const char *name)
{
    struct str camel = str_c(name);
    size_t at = 0;
    if (json_string_eq(key, camel))
        return true;
    for (size_t i = 0; i < camel.len; i++) {
        char c = camel.ptr[i];
        if (is_upper(c)) {
            if (at >= key.len || key.ptr[at++] != '_')
                return false;
            c = (char)(c - 'A' + 'a');
        }
        if (at >= key.len || key.ptr[at++] != c)
            return false;
    }
    return at == key.len;
}

int gemini_index(struct str key, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (gemini_is(key, names[i]))
            return i;
    }
    return -1;
}

bool gemini_next(struct json_cursor *cursor, struct str *key, struct json_value *value)
{
    while (json_iter_object(cursor, key, value) == 1) {
        if (value->kind != JSON_NULL)
            return true;
    }
    return false;
}

bool gemini_find(struct str object, const char *name, struct json_value *value)
{
    struct json_cursor cursor;
    struct str key;
    json_cursor_init(&cursor, object);
    while (gemini_next(&cursor, &key, value)) {
        if (gemini_is(key, name))
            return true;
    }
    *value = (struct json_value){JSON_NONE, STR_EMPTY};
    return false;
}

void gemini_list_init(struct gemini_list *list, struct json_value value)
{
    *list = (struct gemini_list){.single = value, .is_single = value.kind != JSON_ARRAY};
    if (!list->is_single)
        json_cursor_init(&list->cursor, value.text);
}

bool gemini_list_next(struct gemini_list *list, struct json_value *value)
{
    if (!list->is_single)
        return json_iter_array(&list->cursor, value) == 1;
    *value = list->single;
    list->single.kind = JSON_NONE;
    return value->kind != JSON_NONE && value->kind != JSON_NULL;
}

struct str gemini_number(struct json_value value)
{
    struct str text = value.kind == JSON_STRING ? json_string_raw(value) : value.text;
    double number;
    bool may_be = value.kind == JSON_STRING || value.kind == JSON_NUMBER;
    return may_be && json_number_double((struct json_value){JSON_NUMBER, text}, &number)
               ? text
               : STR_EMPTY;
}

int64_t gemini_count(struct json_value value)
{
    int64_t count;
    struct json_value number = {JSON_NUMBER, gemini_number(value)};
    return number.text.len > 0 && json_number_i64(number, &count) && count >= 0 ? count : -1;
}
