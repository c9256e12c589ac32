#include "support/json_equal.h"

#include <yyjson.h>

struct place {
    char path[512];
    size_t len;
};

static bool differ(const struct place *at, yyjson_val *a, yyjson_val *b, char *where, size_t cap)
{
    char *left = a != NULL ? yyjson_val_write(a, 0, NULL) : NULL;
    char *right = b != NULL ? yyjson_val_write(b, 0, NULL) : NULL;
    snprintf(where, cap, "%.*s: %.160s is not %.160s", (int)at->len, at->path,
             left != NULL ? left : "(nothing)", right != NULL ? right : "(nothing)");
    free(left);
    free(right);
    return false;
}

static size_t enter(struct place *at, const char *name, size_t index)
{
    size_t before = at->len;
    size_t room = sizeof(at->path) - at->len;
    int n = name != NULL ? snprintf(at->path + at->len, room, ".%s", name)
                         : snprintf(at->path + at->len, room, "[%zu]", index);
    at->len += (size_t)n < room ? (size_t)n : 0;
    return before;
}

static bool same(struct place *at, yyjson_val *a, yyjson_val *b, char *where, size_t cap);

/* Every member of `a` that is not null is in `b` as well. */
static bool same_members(struct place *at, yyjson_val *a, yyjson_val *b, bool compares, char *where,
                         size_t cap)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(a, i, n, key, value)
    {
        yyjson_val *other = yyjson_obj_get(b, yyjson_get_str(key));
        size_t before = enter(at, yyjson_get_str(key), 0);
        if (!yyjson_is_null(value) && (other == NULL || yyjson_is_null(other)))
            return compares ? differ(at, value, other, where, cap)
                            : differ(at, other, value, where, cap);
        if (compares && !yyjson_is_null(value) && !same(at, value, other, where, cap))
            return false;
        at->len = before;
    }
    return true;
}

static bool same(struct place *at, yyjson_val *a, yyjson_val *b, char *where, size_t cap)
{
    size_t i, n;
    yyjson_val *value;
    if (yyjson_get_type(a) != yyjson_get_type(b))
        return differ(at, a, b, where, cap);
    if (yyjson_is_obj(a))
        return same_members(at, a, b, true, where, cap) &&
               same_members(at, b, a, false, where, cap);
    if (!yyjson_is_arr(a))
        return yyjson_equals(a, b) || differ(at, a, b, where, cap);
    if (yyjson_arr_size(a) != yyjson_arr_size(b))
        return differ(at, a, b, where, cap);
    yyjson_arr_foreach(a, i, n, value)
    {
        size_t before = enter(at, NULL, i);
        if (!same(at, value, yyjson_arr_get(b, i), where, cap))
            return false;
        at->len = before;
    }
    return true;
}

bool json_equal(struct str a, struct str b, char *where, size_t cap)
{
    yyjson_doc *left = yyjson_read(a.ptr, a.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_doc *right = yyjson_read(b.ptr, b.len, YYJSON_READ_NUMBER_AS_RAW);
    struct place at = {.len = 0};
    bool is_same = false;
    if (left == NULL || right == NULL)
        snprintf(where, cap, "the %s text is no JSON", left == NULL ? "first" : "second");
    else
        is_same = same(&at, yyjson_doc_get_root(left), yyjson_doc_get_root(right), where, cap);
    yyjson_doc_free(left);
    yyjson_doc_free(right);
    return is_same;
}
