/* Scanner, cursors, unescaping and splicing on any bytes, with yyjson as the judge. */
#include <stdlib.h>
#include <yyjson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct json_want wants[] = {
    {{STR_INIT("model")}},
    {{STR_INIT("a")}},
    {{STR_INIT("a"), STR_INIT("b")}},
    {{STR_INIT("a"), STR_INIT("b"), STR_INIT("c")}},
};

/* Goes to the bottom of a value; 0 or the first error. */
static int walk(struct json_value v, struct arena *arena)
{
    struct json_cursor c;
    struct json_value child;
    struct str key;
    int r = 0;
    if (v.kind == JSON_STRING)
        (void)json_unescape(arena, json_string_raw(v), &key);
    if (v.kind != JSON_OBJECT && v.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&c, v.text);
    while ((r = v.kind == JSON_OBJECT ? json_iter_object(&c, &key, &child)
                                      : json_iter_array(&c, &child)) == 1) {
        CHECK(child.text.ptr > v.text.ptr);
        CHECK(child.text.ptr + child.text.len <= v.text.ptr + v.text.len);
        CHECK(child.kind != JSON_NONE && child.text.len > 0);
        r = walk(child, arena);
        if (r < 0)
            return r;
    }
    return r;
}

/* Puts null in place of a found value: the rest must stay what it was, and the whole be JSON. */
static void check_splice(struct str text, const struct json_scan *scan)
{
    struct json_edit edits[ARRAY_LEN(wants)];
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
        if (scan->found[i].kind != JSON_NONE)
            edits[n++] = json_edit_replace(scan->found[i].value, STR("null"));
    }
    struct iovec iov[2 * ARRAY_LEN(wants) + 1];
    int count = json_splice_iov(text, edits, n, iov, ARRAY_LEN(iov));
    if (count < 0)
        return; /* one found value lies in the other */
    struct buf b = BUF_INIT;
    for (int i = 0; i < count; i++)
        buf_add(&b, iov[i].iov_base, iov[i].iov_len);
    struct json_scan again;
    CHECK(json_scan_object(buf_str(&b), 128, wants, ARRAY_LEN(wants), &again) == 0);
    for (size_t i = 0; i < ARRAY_LEN(wants); i++)
        CHECK(scan->found[i].kind == JSON_NONE || again.found[i].kind == JSON_NULL ||
              scan->found[i].is_duplicate);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);
    struct json_scan scan;
    int r = json_scan_object(text, 128, wants, ARRAY_LEN(wants), &scan);
    yyjson_read_err err;
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len,
                                       YYJSON_READ_NUMBER_AS_RAW, NULL, &err);
    /* What yyjson takes, we take, unless it is nested too deeply; what we take, it takes, unless
     * it minds the inside of a string. */
    if (yyjson_is_obj(yyjson_doc_get_root(doc)))
        CHECK(r == 0 || r == -ERR_LIMIT);
    else if (r == 0)
        CHECK(err.code == YYJSON_READ_ERROR_INVALID_STRING);
    yyjson_doc_free(doc);
    struct arena *arena = arena_new(4096);
    if (arena == NULL)
        return 0;
    if (r == 0) {
        CHECK(walk((struct json_value){JSON_OBJECT, json_span_str(text, scan.object)}, arena) == 0);
        check_splice(text, &scan);
    } else {
        (void)walk((struct json_value){JSON_OBJECT, text}, arena);
        (void)walk((struct json_value){JSON_ARRAY, text}, arena);
    }
    struct json_value v;
    (void)json_find(text, "a[0].b", &v);
    arena_free(arena);
    return 0;
}
