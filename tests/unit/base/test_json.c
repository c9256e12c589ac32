/* Longer than other files: tables of texts for one module, which are read beside each other. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

static const struct json_want wants[] = {
    {{STR_INIT("model")}},
    {{STR_INIT("stream")}},
    {{STR_INIT("stream_options")}},
    {{STR_INIT("stream_options"), STR_INIT("include_usage")}},
    {{STR_INIT("metadata"), STR_INIT("user"), STR_INIT("id")}},
};
enum { MODEL, STREAM, OPTIONS, USAGE, USER_ID, WANTS };

static int scan(struct str text, struct json_scan *out)
{
    return json_scan_object(text, 128, wants, WANTS, out);
}

static void assert_str(struct str got, const char *expected)
{
    if (!str_eq(got, str_c(expected)))
        fail_msg("got '%.*s', expected '%s'", STR_ARG(got), expected);
}

/* A copy that ends where the memory ends, so that a sanitizer sees every read beyond it. */
struct exact {
    char *ptr;
    size_t len;
};

static struct exact exact_of(struct str s)
{
    struct exact e = {malloc(s.len > 0 ? s.len : 1), s.len};
    assert_non_null(e.ptr);
    if (s.len > 0)
        memcpy(e.ptr, s.ptr, s.len);
    return e;
}

/* --- scanner --- */

static void wanted_members_are_found_where_they_stand(void **state)
{
    (void)state;
    struct str text = STR(" {\"messages\": [{\"model\":\"no\",\"content\":\"\\\"model\\\":1\"}],\n"
                          "  \"model\" : \"gpt-4o\", \"stream\":true,\"n\":-1.5e+3,\r\n"
                          "\t\"stream_options\":{\"x\":[],\"include_usage\": false},"
                          "\"metadata\":{\"user\":{\"id\":17}}}\n ");
    struct json_scan s;
    assert_int_equal(scan(text, &s), 0);
    assert_int_equal(s.found[MODEL].kind, JSON_STRING);
    assert_str(json_span_str(text, s.found[MODEL].key), "\"model\"");
    assert_str(json_span_str(text, s.found[MODEL].value), "\"gpt-4o\"");
    assert_int_equal(s.found[STREAM].kind, JSON_TRUE);
    assert_str(json_span_str(text, s.found[STREAM].value), "true");
    assert_int_equal(s.found[OPTIONS].kind, JSON_OBJECT);
    assert_str(json_span_str(text, s.found[OPTIONS].value), "{\"x\":[],\"include_usage\": false}");
    assert_int_equal(s.found[USAGE].kind, JSON_FALSE);
    assert_str(json_span_str(text, s.found[USAGE].value), "false");
    assert_int_equal(s.found[USER_ID].kind, JSON_NUMBER);
    assert_str(json_span_str(text, s.found[USER_ID].value), "17");
    assert_int_equal(s.object.offset, 1);
    assert_int_equal(text.ptr[s.object.offset + s.object.len - 1], '}');
    assert_false(s.is_empty);
    for (int i = 0; i < WANTS; i++)
        assert_false(s.found[i].is_duplicate);
}

static void what_is_not_there_is_none(void **state)
{
    (void)state;
    struct json_scan s;
    assert_int_equal(scan(STR(" { } "), &s), 0);
    assert_true(s.is_empty);
    assert_int_equal(s.object.offset, 1);
    assert_int_equal(s.object.len, 3);
    for (int i = 0; i < WANTS; i++)
        assert_int_equal(s.found[i].kind, JSON_NONE);
    /* A parent that is no object has no members; nor does a deeper one of the same name count. */
    assert_int_equal(
        scan(STR("{\"a\":{\"model\":1},\"stream_options\":null,\"metadata\":[{}]}"), &s), 0);
    assert_int_equal(s.found[MODEL].kind, JSON_NONE);
    assert_int_equal(s.found[OPTIONS].kind, JSON_NULL);
    assert_int_equal(s.found[USAGE].kind, JSON_NONE);
    assert_int_equal(s.found[USER_ID].kind, JSON_NONE);
}

static void repeated_members_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int which;
        const char *last;
    } rows[] = {
        {"{\"model\":\"a\",\"model\":\"b\"}", MODEL, "\"b\""},
        {"{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", MODEL, "\"b\""},
        {"{\"\\u006dodel\":\"a\",\"x\":1,\"model\":2}", MODEL, "2"},
        {"{\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}", USAGE, "false"},
        /* The parent twice: a reader may take either, so the child is not certain. */
        {"{\"stream_options\":{\"include_usage\":true},\"stream_options\":{}}", USAGE, "true"},
        {"{\"stream_options\":{},\"stream_options\":{\"include_usage\":true}}", USAGE, "true"},
        {"{\"metadata\":{\"user\":{\"id\":1},\"user\":null}}", USER_ID, "1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_scan s;
        struct str text = str_c(rows[i].text);
        assert_int_equal(scan(text, &s), 0);
        if (!s.found[rows[i].which].is_duplicate)
            fail_msg("not seen as a duplicate: %s", rows[i].text);
        assert_str(json_span_str(text, s.found[rows[i].which].value), rows[i].last);
    }
    struct json_scan s;
    /* Other members may repeat: they go through untouched. */
    assert_int_equal(scan(STR("{\"a\":1,\"a\":2,\"model\":\"m\",\"b\":{\"model\":1}}"), &s), 0);
    assert_false(s.found[MODEL].is_duplicate);
}

static void a_key_in_escapes_is_the_same_key(void **state)
{
    (void)state;
    struct json_scan s;
    struct str text = STR("{\"\\u006d\\u006f\\u0064el\":\"x\",\"stream\\u005foptions\":"
                          "{\"include\\u005Fusage\":true}}");
    assert_int_equal(scan(text, &s), 0);
    assert_str(json_span_str(text, s.found[MODEL].value), "\"x\"");
    assert_str(json_span_str(text, s.found[USAGE].value), "true");
}

static void bad_texts_are_refused_with_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t offset;
        const char *says;
    } rows[] = {
        {"", 0, "line 1, column 1 (byte 0): expected '{' (a JSON object), found the end"},
        {"  \n ", 4, "line 2, column 2 (byte 4): expected '{' (a JSON object), found the end"},
        {"[]", 0, "expected '{' (a JSON object), found '['"},
        {"\"a\"", 0, "expected '{'"},
        {"\xef\xbb\xbf{}", 0, "found byte 0xef"},
        {"{", 1, "expected a key in quotes, found the end"},
        {"{]", 1, "expected a key in quotes, found ']'"},
        {"{,}", 1, "expected a key in quotes, found ','"},
        {"{a:1}", 1, "expected a key in quotes, found 'a'"},
        {"{'a':1}", 1, "expected a key in quotes, found '''"},
        {"{\"a\"}", 4, "expected ':' after a key, found '}'"},
        {"{\"a\":}", 5, "expected a value, found '}'"},
        {"{\"a\":1,}", 7, "expected a key in quotes, found '}'"},
        {"{\"a\":1 \"b\":2}", 7, "expected ',' or '}', found '\"'"},
        {"{\"a\":[1 2]}", 8, "expected ',' or ']', found '2'"},
        {"{\"a\":[1,]}", 8, "expected a value, found ']'"},
        {"{\"a\":[,1]}", 6, "expected a value, found ','"},
        {"{\"a\":[1}", 7, "expected ',' or ']', found '}'"},
        {"{\"a\":{\"b\":1]}", 11, "expected ',' or '}', found ']'"},
        {"{\"a\":{\"b\":1,}}", 12, "expected a key in quotes, found '}'"},
        {"{\"a\":\"b", 7, "expected '\"' to end a string, found the end"},
        {"{\"a\":\"b\\\"}", 10, "expected '\"' to end a string, found the end"},
        {"{\"a\":tru}", 5, "expected a value, found 't'"},
        {"{\"a\":nul", 5, "expected a value"},
        {"{\"a\":True}", 5, "expected a value, found 'T'"},
        {"{\"a\":NaN}", 5, "expected a value, found 'N'"},
        {"{\"a\":+1}", 5, "expected a value, found '+'"},
        {"{\"a\":-}", 6, "expected a digit, found '}'"},
        {"{\"a\":01}", 6, "expected ',' or '}', found '1'"},
        {"{\"a\":1.}", 7, "expected a digit"},
        {"{\"a\":1e+}", 8, "expected a digit"},
        {"{\"a\":1e}", 7, "expected a digit"},
        {"{\"a\":.5}", 5, "expected a value, found '.'"},
        {"{\"a\":0x1}", 6, "expected ',' or '}', found 'x'"},
        {"{} x", 3, "expected nothing after the object, found 'x'"},
        {"{}}", 2, "expected nothing after the object, found '}'"},
        {"{}\n{}", 3, "line 2, column 1 (byte 3)"},
        {"{\"a\":1 /* c */}", 7, "expected ',' or '}', found '/'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_scan s;
        struct exact e = exact_of(str_c(rows[i].text));
        assert_int_equal(scan(str_n(e.ptr, e.len), &s), -ERR_INVALID);
        if (s.error_offset != rows[i].offset || strstr(err_slot()->message, rows[i].says) == NULL)
            fail_msg("%s: offset %zu: %s", rows[i].text, s.error_offset, err_slot()->message);
        free(e.ptr);
    }
    struct json_scan s;
    assert_int_equal(scan(STR_EMPTY, &s), -ERR_INVALID);
    assert_int_equal(scan(STR("{\"a\":1\0}"), &s), -ERR_INVALID);
    assert_int_equal(s.error_offset, 6);
}

static const char sample[] =
    "{\"model\":\"gpt\\u0020\\\"4\\\\\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
    "\"text\":\"a long text that goes on for more than sixty-four bytes so that the wide loop has"
    " something to do, \\\\ and ends\"},null,true,[[],{}]]}],\"stream\" : false , \"n\":-0.25E-7,"
    "\"stream_options\":{\"include_usage\":true},\"metadata\":{\"user\":{\"id\":\"\"}}}";

static void a_cut_text_is_refused_at_every_length(void **state)
{
    (void)state;
    struct str whole = str_c(sample);
    struct json_scan s;
    assert_int_equal(scan(whole, &s), 0);
    for (size_t len = 0; len < whole.len; len++) {
        struct exact e = exact_of(str_head(whole, len));
        if (scan(str_n(e.ptr, e.len), &s) != -ERR_INVALID)
            fail_msg("taken when cut at %zu", len);
        free(e.ptr);
    }
}

/* depth containers inside one another, all arrays, or all objects, in an object. */
static struct exact nested(size_t depth, bool is_object)
{
    struct str open = is_object ? STR("{\"a\":") : STR("["),
               close = is_object ? STR("}") : STR("]");
    struct buf b = BUF_INIT;
    BUF_LIT(&b, "{\"a\":");
    for (size_t i = 1; i < depth; i++)
        buf_add_str(&b, open);
    BUF_LIT(&b, "1");
    for (size_t i = 1; i < depth; i++)
        buf_add_str(&b, close);
    BUF_LIT(&b, "}");
    assert_true(buf_ok(&b));
    struct exact e = exact_of(buf_str(&b));
    buf_fini(&b);
    return e;
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static const unsigned limits[] = {1, 2, 3, 63, 64, 65, 127, 128, 129, 1023, 1024};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        for (int is_object = 0; is_object < 2; is_object++) {
            struct json_scan s;
            struct exact fits = nested(limits[i], is_object != 0);
            assert_int_equal(json_scan_object(str_n(fits.ptr, fits.len), limits[i], NULL, 0, &s),
                             0);
            free(fits.ptr);
            struct exact deep = nested(limits[i] + 1, is_object != 0);
            assert_int_equal(json_scan_object(str_n(deep.ptr, deep.len), limits[i], NULL, 0, &s),
                             -ERR_LIMIT);
            assert_int_equal(s.error_offset, 5 + (limits[i] - 1) * (is_object != 0 ? 5 : 1));
            free(deep.ptr);
        }
    }
    struct json_scan s;
    /* Also on the way to a wanted member. */
    struct str text = STR("{\"metadata\":{\"user\":{\"id\":[]}}}");
    assert_int_equal(json_scan_object(text, 4, wants, WANTS, &s), 0);
    for (unsigned limit = 0; limit < 4; limit++)
        assert_int_equal(json_scan_object(text, limit, wants, WANTS, &s), -ERR_LIMIT);
    assert_non_null(strstr(err_slot()->message, "more than 3 levels"));
}

static void a_body_nested_100000_deep_is_refused(void **state)
{
    (void)state;
    for (int is_object = 0; is_object < 2; is_object++) {
        struct exact e = nested(100000, is_object != 0);
        struct json_scan s;
        assert_int_equal(json_scan_object(str_n(e.ptr, e.len), 128, wants, WANTS, &s), -ERR_LIMIT);
        assert_int_equal(json_scan_object(str_n(e.ptr, e.len), UINT32_MAX, wants, WANTS, &s),
                         -ERR_LIMIT);
        struct json_cursor c;
        struct str key;
        struct json_value v;
        json_cursor_init(&c, str_n(e.ptr, e.len));
        assert_int_equal(json_iter_object(&c, &key, &v), -ERR_LIMIT);
        assert_int_equal(json_iter_object(&c, &key, &v), -ERR_LIMIT);
        assert_false(json_find(str_n(e.ptr, e.len), "a", &v));
        free(e.ptr);
    }
}

static void strings_end_where_they_end(void **state)
{
    (void)state;
    /* A quote, escaped or not, at every distance from the wide steps of the scanner. */
    char text[512];
    for (size_t len = 0; len < 180; len++) {
        for (size_t slashes = 0; slashes <= MIN(len, 3); slashes++) {
            size_t n = 0;
            text[n++] = '{';
            text[n++] = '"';
            for (size_t i = 0; i + slashes < len; i++)
                text[n++] = i % 7 == 3 ? '\n' : (char)('a' + i % 26);
            for (size_t i = 0; i < slashes; i++)
                text[n++] = '\\';
            text[n++] = '"';
            bool is_over = slashes % 2 == 0;
            if (!is_over)
                text[n++] = '"';
            memcpy(text + n, ":1}", 3);
            struct exact e = exact_of(str_n(text, n + 3));
            struct json_cursor c;
            struct str key;
            struct json_value v;
            json_cursor_init(&c, str_n(e.ptr, e.len));
            assert_int_equal(json_iter_object(&c, &key, &v), 1);
            assert_int_equal(key.len, len + (is_over ? 0 : 1));
            assert_str(v.text, "1");
            assert_int_equal(json_iter_object(&c, &key, &v), 0);
            free(e.ptr);
        }
    }
}

static void a_large_body_is_scanned(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    BUF_LIT(&b, "{\"messages\":[");
    while (b.len < 8 * 1024 * 1024) {
        BUF_LIT(&b, "{\"role\":\"user\",\"content\":\"");
        for (int i = 0; i < 2000; i++)
            BUF_LIT(&b, "data \\\" and \\\\ ");
        BUF_LIT(&b, "\"},");
    }
    BUF_LIT(&b, "[]],\"model\":\"last\"}");
    assert_true(buf_ok(&b));
    struct json_scan s;
    assert_int_equal(scan(buf_str(&b), &s), 0);
    assert_str(json_span_str(buf_str(&b), s.found[MODEL].value), "\"last\"");
    b.ptr[b.len - 1] = ']';
    assert_int_equal(scan(buf_str(&b), &s), -ERR_INVALID);
    assert_int_equal(s.error_offset, b.len - 1);
    buf_fini(&b);
}

/* --- beside yyjson --- */

static uint64_t seed = 88172645463325252u;

static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

static void make_value(struct buf *b, unsigned depth);

static void make_space(struct buf *b)
{
    static const char *const spaces[] = {"", "", "", " ", "\n  ", "\t", "\r\n"};
    buf_add_str(b, str_c(spaces[below(ARRAY_LEN(spaces))]));
}

static void make_string(struct buf *b)
{
    static const char *const parts[] = {
        "a",       "model",    "\\\"",   "\\\\",           "\\n",
        "\\u00e9", "\xc3\xa9", "{[,:]}", "\\ud83d\\ude00", "stream"};
    buf_add_char(b, '"');
    for (unsigned n = below(4) == 0 ? below(60) : below(4); n > 0; n--)
        buf_add_str(b, str_c(parts[below(ARRAY_LEN(parts))]));
    buf_add_char(b, '"');
}

static void make_key(struct buf *b)
{
    static const char *const keys[] = {"model",    "stream",     "stream_options",
                                       "metadata", "user",       "include_usage",
                                       "id",       "mod\\u0065l"};
    if (below(3) == 0) {
        make_string(b);
        return;
    }
    buf_printf(b, "\"%s\"", keys[below(ARRAY_LEN(keys))]);
}

static void make_container(struct buf *b, bool is_object, unsigned depth)
{
    buf_add_char(b, is_object ? '{' : '[');
    make_space(b);
    for (unsigned i = 0, n = below(5); i < n; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        make_space(b);
        if (is_object) {
            make_key(b);
            make_space(b);
            buf_add_char(b, ':');
        }
        make_space(b);
        make_value(b, depth + 1);
        make_space(b);
    }
    buf_add_char(b, is_object ? '}' : ']');
}

static void make_value(struct buf *b, unsigned depth)
{
    static const char *const scalars[] = {
        "true", "false", "null", "0", "-1", "12.50", "1e9", "2E-3", "123456789012345678901234"};
    unsigned kind = below(depth > 5 ? 2 : 4);
    if (kind == 0)
        buf_add_str(b, str_c(scalars[below(ARRAY_LEN(scalars))]));
    else if (kind == 1)
        make_string(b);
    else
        make_container(b, kind == 2, depth);
}

static void mutate(struct buf *b)
{
    static const char alphabet[] = "{}[]\",:\\ \n0-.eEtfnu+a1";
    for (unsigned n = 1 + below(3); n > 0 && b->len > 0; n--) {
        size_t at = below((unsigned)b->len);
        if (below(3) == 0) {
            memmove(b->ptr + at, b->ptr + at + 1, b->len - at - 1);
            b->len--;
        } else {
            b->ptr[at] = alphabet[below(sizeof(alphabet) - 1)];
        }
    }
}

/* The value of the last member of that name, as readers that keep the last would see it. */
static yyjson_val *last_member(yyjson_val *object, struct str name, unsigned *count)
{
    yyjson_val *found = NULL;
    yyjson_obj_iter iter = yyjson_obj_iter_with(object);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&iter)) != NULL;) {
        if (!str_eq(str_n(yyjson_get_str(key), yyjson_get_len(key)), name))
            continue;
        found = yyjson_obj_iter_get_val(key);
        (*count)++;
    }
    return found;
}

static void compare_found(struct str text, const struct json_scan *s, yyjson_val *root)
{
    for (int i = 0; i < 3; i++) { /* the wants of one key */
        unsigned count = 0;
        yyjson_val *val = last_member(root, wants[i].path[0], &count);
        const struct json_found *found = &s->found[i];
        assert_int_equal(found->kind == JSON_NONE, val == NULL);
        assert_int_equal(found->is_duplicate, count > 1);
        if (val == NULL)
            continue;
        struct str span = json_span_str(text, found->value);
        yyjson_doc *alone = yyjson_read(span.ptr, span.len, YYJSON_READ_NUMBER_AS_RAW);
        assert_non_null(alone);
        assert_true(yyjson_equals(yyjson_doc_get_root(alone), val));
        yyjson_doc_free(alone);
    }
}

static void check_beside_yyjson(struct str text, unsigned *taken, unsigned *refused)
{
    yyjson_read_err err;
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len,
                                       YYJSON_READ_NUMBER_AS_RAW, NULL, &err);
    bool is_object = yyjson_is_obj(yyjson_doc_get_root(doc));
    struct json_scan s;
    int r = scan(text, &s);
    if (is_object != (r == 0)) {
        /* What is inside strings is not our business. */
        if (doc != NULL || r != 0 || err.code != YYJSON_READ_ERROR_INVALID_STRING)
            fail_msg("yyjson: %s at %zu; ours: %s; text: %.*s", err.msg, err.pos,
                     r == 0 ? "taken" : err_slot()->message, STR_ARG(text));
    }
    if (is_object)
        compare_found(text, &s, yyjson_doc_get_root(doc));
    *(r == 0 ? taken : refused) += 1;
    yyjson_doc_free(doc);
}

static void verdicts_and_spans_are_those_of_yyjson(void **state)
{
    (void)state;
    unsigned taken = 0, refused = 0;
    struct buf b = BUF_INIT;
    for (int round = 0; round < 60000; round++) {
        buf_clear(&b);
        make_space(&b);
        make_container(&b, below(20) != 0, 0);
        make_space(&b);
        if (round % 3 != 0)
            mutate(&b);
        struct exact e = exact_of(buf_str(&b));
        if (e.len > 0)
            check_beside_yyjson(str_n(e.ptr, e.len), &taken, &refused);
        free(e.ptr);
    }
    assert_true(taken > 20000);
    assert_true(refused > 10000);
    buf_fini(&b);
}

/* --- strings and numbers --- */

static void escapes_are_resolved(void **state)
{
    (void)state;
    static const struct {
        struct str raw, text;
    } rows[] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT("plain"), STR_INIT("plain")},
        {STR_INIT("\\\"\\\\\\/\\b\\f\\n\\r\\t"), STR_INIT("\"\\/\b\f\n\r\t")},
        {STR_INIT("a\\u0041b"), STR_INIT("aAb")},
        {STR_INIT("\\u0000x"), STR_INIT("\0x")},
        {STR_INIT("\\u007f\\u0080\\u07FF\\u0800\\uffff"),
         STR_INIT("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")},
        {STR_INIT("\\ud83d\\ude00!"), STR_INIT("\xf0\x9f\x98\x80!")},
        {STR_INIT("\\uD800\\uDC00\\uDBFF\\uDFFF"), STR_INIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {STR_INIT("\\ud83d"), STR_INIT("\xef\xbf\xbd")},
        {STR_INIT("\\ud83dx"), STR_INIT("\xef\xbf\xbdx")},
        {STR_INIT("\\ude00\\ud83d"), STR_INIT("\xef\xbf\xbd\xef\xbf\xbd")},
        {STR_INIT("\\ud83d\\n"), STR_INIT("\xef\xbf\xbd\n")},
        {STR_INIT("\\ud83d\\u0041"), STR_INIT("\xef\xbf\xbd\x41")},
        {STR_INIT("\\ud83d\\ud83d\\ude00"), STR_INIT("\xef\xbf\xbd\xf0\x9f\x98\x80")},
        {STR_INIT("caf\xc3\xa9 \\u00e9"), STR_INIT("caf\xc3\xa9 \xc3\xa9")},
    };
    struct arena *arena = arena_new(1024);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str out;
        assert_int_equal(json_unescape(arena, rows[i].raw, &out), 0);
        if (!str_eq(out, rows[i].text))
            fail_msg("%.*s became %.*s", STR_ARG(rows[i].raw), STR_ARG(out));
        assert_true(json_string_eq(rows[i].raw, rows[i].text));
        assert_false(json_string_eq(rows[i].raw, STR("other")));
        if (rows[i].text.len > 0)
            assert_false(json_string_eq(rows[i].raw, str_skip(rows[i].text, 1)));
        assert_false(json_string_eq(
            rows[i].raw, arena_concat(arena, (struct str[]){rows[i].text, STR("x")}, 2)));
    }
    static const char *const wrong[] = {"\\",     "\\x",     "a\\",        "\\u",         "\\u12",
                                        "\\u123", "\\u12g4", "\\u-123",    "ab\\u 123",   "\\U0041",
                                        "\\'",    "\\0",     "\\ud83d\\u", "\\ud83d\\u12"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct str out;
        struct exact e = exact_of(str_c(wrong[i]));
        assert_int_equal(json_unescape(arena, str_n(e.ptr, e.len), &out), -ERR_INVALID);
        assert_false(json_string_eq(str_n(e.ptr, e.len), STR("a")));
        free(e.ptr);
    }
    arena_free(arena);
}

static void a_plain_string_is_not_copied(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    struct str raw = STR("gpt-4o"), out;
    assert_true(json_string_is_plain(raw));
    assert_false(json_string_is_plain(STR("gpt\\u002d4o")));
    assert_int_equal(json_unescape(arena, raw, &out), 0);
    assert_ptr_equal(out.ptr, raw.ptr);
    arena_free(arena);
}

static void random_strings_unescape_as_in_yyjson(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    struct arena_mark mark = arena_mark(arena);
    struct buf b = BUF_INIT;
    for (int i = 0; i < 5000; i++) {
        buf_clear(&b);
        make_string(&b);
        yyjson_doc *doc = yyjson_read(b.ptr, b.len, 0);
        assert_non_null(doc);
        yyjson_val *val = yyjson_doc_get_root(doc);
        struct str out, text = str_n(yyjson_get_str(val), yyjson_get_len(val));
        struct json_value value = {JSON_STRING, buf_str(&b)};
        assert_int_equal(json_unescape(arena, json_string_raw(value), &out), 0);
        assert_true(str_eq(out, text));
        assert_true(json_string_eq(json_string_raw(value), text));
        yyjson_doc_free(doc);
        arena_rewind(arena, mark);
    }
    buf_fini(&b);
    arena_free(arena);
}

static void numbers_keep_their_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_whole;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"17", true, 17},
        {"-17", true, -17},
        {"9007199254740993", true, 9007199254740993},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"12.0", true, 12},
        {"1.2e1", true, 12},
        {"1e3", true, 1000},
        {"1.5", false, 0},
        {"1e300", false, 0},
        {"1e999", false, 0},
        {"-1e999", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_value v = {JSON_NUMBER, str_c(rows[i].text)};
        int64_t out = 0;
        if (json_number_i64(v, &out) != rows[i].is_whole || out != rows[i].value)
            fail_msg("%s", rows[i].text);
        double d;
        assert_true(json_number_double(v, &d));
    }
    int64_t out;
    double d;
    assert_false(json_number_i64((struct json_value){JSON_STRING, STR("\"1\"")}, &out));
    assert_false(json_number_double((struct json_value){JSON_TRUE, STR("true")}, &d));
    assert_true(json_number_double((struct json_value){JSON_NUMBER, STR("-2.5e1")}, &d));
    assert_true(d == -25.0);
}

/* --- cursors --- */

static void members_come_in_their_order(void **state)
{
    (void)state;
    struct json_cursor c;
    struct str key;
    struct json_value v;
    json_cursor_init(&c, STR(" {\"a\" : [1,{\"x\":2}] ,\"b\\n\":\"t\\\"\",\"\":{},\"a\":null} "));
    assert_int_equal(json_iter_object(&c, &key, &v), 1);
    assert_str(key, "a");
    assert_int_equal(v.kind, JSON_ARRAY);
    assert_str(v.text, "[1,{\"x\":2}]");
    struct json_cursor inner;
    struct json_value element;
    json_cursor_init(&inner, v.text);
    assert_int_equal(json_iter_array(&inner, &element), 1);
    assert_str(element.text, "1");
    assert_int_equal(json_iter_array(&inner, &element), 1);
    assert_int_equal(element.kind, JSON_OBJECT);
    assert_int_equal(json_iter_array(&inner, &element), 0);
    assert_int_equal(json_iter_array(&inner, &element), 0);
    assert_int_equal(json_iter_object(&c, &key, &v), 1);
    assert_str(key, "b\\n");
    assert_str(json_string_raw(v), "t\\\"");
    assert_int_equal(json_iter_object(&c, &key, &v), 1);
    assert_str(key, "");
    assert_str(v.text, "{}");
    assert_str(json_string_raw(v), "");
    assert_int_equal(json_iter_object(&c, &key, &v), 1);
    assert_int_equal(v.kind, JSON_NULL);
    assert_int_equal(json_iter_object(&c, &key, &v), 0);
    assert_int_equal(json_iter_object(&c, &key, &v), 0);
}

/* Everything that a reader would do, to the bottom. Returns the first error. */
static int walk_all(struct json_value v, unsigned *count)
{
    struct json_cursor c;
    struct json_value child;
    struct str key;
    int r = 0;
    if (v.kind != JSON_OBJECT && v.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&c, v.text);
    while ((r = v.kind == JSON_OBJECT ? json_iter_object(&c, &key, &child)
                                      : json_iter_array(&c, &child)) == 1) {
        (*count)++;
        r = walk_all(child, count);
        if (r < 0)
            return r;
    }
    return r;
}

static void a_cut_document_is_never_taken_as_whole(void **state)
{
    (void)state;
    struct str whole = str_c(sample);
    unsigned count = 0;
    assert_int_equal(walk_all((struct json_value){JSON_OBJECT, whole}, &count), 0);
    assert_int_equal(count, 20);
    for (size_t len = 0; len < whole.len; len++) {
        struct exact e = exact_of(str_head(whole, len));
        count = 0;
        if (walk_all((struct json_value){JSON_OBJECT, str_n(e.ptr, e.len)}, &count) != -ERR_INVALID)
            fail_msg("taken when cut at %zu", len);
        free(e.ptr);
    }
    static const char *const bad[] = {"[]",   "{} {}",      "{\"a\":1}]", "",
                                      "null", "{\"a\":1,}", "{\"a\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct exact e = exact_of(str_c(bad[i]));
        count = 0;
        assert_int_equal(walk_all((struct json_value){JSON_OBJECT, str_n(e.ptr, e.len)}, &count),
                         -ERR_INVALID);
        free(e.ptr);
    }
    struct json_cursor c;
    struct json_value v;
    json_cursor_init(&c, STR_EMPTY);
    assert_int_equal(json_iter_array(&c, &v), -ERR_INVALID);
    json_cursor_init(&c, STR("{}"));
    assert_int_equal(json_iter_array(&c, &v), -ERR_INVALID);
}

static void paths_lead_to_values(void **state)
{
    (void)state;
    struct str text =
        STR("{\"choices\":[{\"delta\":{\"content\":\"hi\"}},{\"finish_reason\":\"stop\"}],"
            "\"usage\":{\"a\":1,\"a\":2},\"err\\u006fr\":null,\"m\":[[1,2],[3]]}");
    struct json_value v;
    assert_true(json_find(text, "choices[0].delta.content", &v));
    assert_str(v.text, "\"hi\"");
    assert_true(json_find(text, "choices[1].finish_reason", &v));
    assert_str(json_string_raw(v), "stop");
    assert_true(json_find(text, "usage.a", &v));
    assert_str(v.text, "1");
    assert_true(json_find(text, "error", &v));
    assert_int_equal(v.kind, JSON_NULL);
    assert_true(json_find(text, "m[1][0]", &v));
    assert_str(v.text, "3");
    static const char *const none[] = {"choice",    "choices[2]", "choices.delta", "usage[0]",
                                       "usage.a.b", "error.code", "m[0][2]",       "m[0"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_false(json_find(text, none[i], &v));
    /* What comes before must be JSON; what comes after is not looked at. */
    assert_true(json_find(STR("{\"a\":1,!"), "a", &v));
    assert_false(json_find(STR("{!\"a\":1}"), "a", &v));
    assert_true(json_find(STR("[5]"), "[0]", &v));
    assert_str(v.text, "5");
}

/* --- splicing --- */

static void assert_splice(struct str text, const struct json_edit *edits, unsigned n,
                          const char *expected)
{
    struct iovec iov[16];
    int count = json_splice_iov(text, edits, n, iov, 2 * n + 1);
    assert_in_range(count, 0, 2 * n + 1);
    struct buf b = BUF_INIT;
    for (int i = 0; i < count; i++) {
        assert_true(iov[i].iov_len > 0);
        buf_add(&b, iov[i].iov_base, iov[i].iov_len);
    }
    assert_str(buf_str(&b), expected);
    buf_fini(&b);
}

static void edits_change_their_spans_only(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    struct str text =
        STR("{ \"model\" : \"old\", \"x\":1e2,\"stream_options\":{ } ,\"stream\":true }");
    struct json_scan s;
    assert_int_equal(scan(text, &s), 0);
    struct json_edit model = json_edit_replace(s.found[MODEL].value, STR("\"new\""));
    struct json_edit usage =
        json_edit_add(arena, s.found[OPTIONS].value, true, STR("include_usage"), STR("true"));
    struct json_edit user = json_edit_add(arena, s.object, s.is_empty, STR("user"), STR("\"u\""));
    assert_splice(text, NULL, 0, text.ptr);
    assert_splice(text, &model, 1,
                  "{ \"model\" : \"new\", \"x\":1e2,\"stream_options\":{ } ,\"stream\":true }");
    assert_splice(text, &usage, 1,
                  "{ \"model\" : \"old\", \"x\":1e2,\"stream_options\":{\"include_usage\":true } ,"
                  "\"stream\":true }");
    const char *all = "{\"user\":\"u\", \"model\" : \"new\", \"x\":1e2,"
                      "\"stream_options\":{\"include_usage\":true } ,\"stream\":true }";
    assert_splice(text, (struct json_edit[]){model, usage, user}, 3, all);
    assert_splice(text, (struct json_edit[]){user, usage, model}, 3, all);
    assert_splice(text, (struct json_edit[]){usage, user, model}, 3, all);
    /* Two at the same place: in the order given. */
    struct json_edit n = json_edit_add(arena, s.object, s.is_empty, STR("n"), STR("1"));
    assert_splice(STR("{\"a\":0}"), (struct json_edit[]){user, n}, 2,
                  "{\"user\":\"u\",\"n\":1,\"a\":0}");
    arena_free(arena);
}

static void members_are_taken_out_with_a_comma(void **state)
{
    (void)state;
    static const struct {
        const char *text, *without;
    } rows[] = {
        {"{\"model\":1,\"b\":2}", "{\"b\":2}"},
        {"{\"b\":2 , \"model\" : 1}", "{\"b\":2 }"},
        {"{\"b\":2,\"model\":1 , \"c\":3}", "{\"b\":2, \"c\":3}"},
        {"{ \"model\":[{}] }", "{  }"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str text = str_c(rows[i].text);
        struct json_scan s;
        assert_int_equal(scan(text, &s), 0);
        struct json_edit e = json_edit_remove(text, &s.found[MODEL]);
        assert_splice(text, &e, 1, rows[i].without);
    }
    /* Beside an insertion at the same place, in either order. */
    struct arena *arena = arena_new(1024);
    struct str text = STR("{\"model\":1,\"b\":2}");
    struct json_scan s;
    assert_int_equal(scan(text, &s), 0);
    struct json_edit remove = json_edit_remove(text, &s.found[MODEL]);
    struct json_edit add = json_edit_add(arena, s.object, false, STR("n"), STR("1"));
    assert_splice(text, (struct json_edit[]){remove, add}, 2, "{\"n\":1,\"b\":2}");
    assert_splice(text, (struct json_edit[]){add, remove}, 2, "{\"n\":1,\"b\":2}");
    arena_free(arena);
}

static void wrong_edits_are_refused(void **state)
{
    (void)state;
    struct str text = STR("0123456789");
    struct iovec iov[8];
    struct json_edit overlap[] = {{2, 4, STR("a")}, {4, 1, STR("b")}};
    assert_int_equal(json_splice_iov(text, overlap, 2, iov, 8), -ERR_INVALID);
    struct json_edit beyond[] = {{8, 3, STR("a")}};
    assert_int_equal(json_splice_iov(text, beyond, 1, iov, 8), -ERR_INVALID);
    struct json_edit outside[] = {{11, 0, STR("a")}};
    assert_int_equal(json_splice_iov(text, outside, 1, iov, 8), -ERR_INVALID);
    struct json_edit huge[] = {{1, SIZE_MAX, STR("a")}};
    assert_int_equal(json_splice_iov(text, huge, 1, iov, 8), -ERR_INVALID);
    struct json_edit fine[] = {{2, 1, STR("a")}, {5, 1, STR("b")}};
    assert_int_equal(json_splice_iov(text, fine, 2, iov, 4), -ERR_LIMIT);
    assert_int_equal(json_splice_iov(text, fine, 2, iov, 5), 5);
    struct json_edit ends[] = {{0, 1, STR("a")}, {9, 1, STR("")}};
    assert_int_equal(json_splice_iov(text, ends, 2, iov, 5), 2);
}

static void without_memory_there_is_an_error(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    static char raw[1000];
    memset(raw, 'a', sizeof(raw));
    memcpy(raw, "\\n", 2);
    struct str out;
    mem_fail_at(1);
    assert_int_equal(json_unescape(arena, str_n(raw, sizeof(raw)), &out), -ERR_NOMEM);
    mem_fail_at(1);
    struct json_span object = {0, 2};
    struct json_edit e = json_edit_add(arena, object, true, str_n(raw, sizeof(raw)), STR("1"));
    mem_fail_at(0);
    assert_null(e.insert.ptr);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wanted_members_are_found_where_they_stand),
        cmocka_unit_test(what_is_not_there_is_none),
        cmocka_unit_test(repeated_members_are_told),
        cmocka_unit_test(a_key_in_escapes_is_the_same_key),
        cmocka_unit_test(bad_texts_are_refused_with_the_place),
        cmocka_unit_test(a_cut_text_is_refused_at_every_length),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_body_nested_100000_deep_is_refused),
        cmocka_unit_test(strings_end_where_they_end),
        cmocka_unit_test(a_large_body_is_scanned),
        cmocka_unit_test(verdicts_and_spans_are_those_of_yyjson),
        cmocka_unit_test(escapes_are_resolved),
        cmocka_unit_test(a_plain_string_is_not_copied),
        cmocka_unit_test(random_strings_unescape_as_in_yyjson),
        cmocka_unit_test(numbers_keep_their_value),
        cmocka_unit_test(members_come_in_their_order),
        cmocka_unit_test(a_cut_document_is_never_taken_as_whole),
        cmocka_unit_test(paths_lead_to_values),
        cmocka_unit_test(edits_change_their_spans_only),
        cmocka_unit_test(members_are_taken_out_with_a_comma),
        cmocka_unit_test(wrong_edits_are_refused),
        cmocka_unit_test(without_memory_there_is_an_error),
    };
    return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
