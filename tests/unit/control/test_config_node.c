#include "control/config_node.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct parsed {
    struct arena *arena;
    struct config_report report;
    struct config_node *root;
    char *said;
};

static void parse_bytes(struct parsed *p, struct str text)
{
    p->arena = arena_new(4096);
    config_report_init(&p->report, p->arena, STR("f"));
    p->root = config_node_parse(p->arena, text, &p->report);
    struct buf out = BUF_INIT;
    config_report_write(&p->report, &out);
    p->said = arena_cstr(p->arena, buf_str(&out));
    buf_fini(&out);
}

static void refused(struct str text, const char *said)
{
    struct parsed p;
    parse_bytes(&p, text);
    assert_string_equal(p.said, said);
    arena_free(p.arena);
}

static void nodes_know_their_place(void **state)
{
    (void)state;
    struct parsed p;
    parse_bytes(&p, STR("\xef\xbb\xbf# comment\nlisten:\n  - a\n  - {x: \"b\", y: [1, 2]}\n"
                        "gr\xc3\xbc\xc3\x9f: {k: v}\nnone:\n"));
    assert_string_equal(p.said, "");
    assert_int_equal(p.root->kind, NODE_MAP);
    assert_int_equal(p.root->count, 3);
    struct config_node *listen = config_node_get(p.root, STR("listen"));
    assert_int_equal(listen->kind, NODE_LIST);
    assert_int_equal(listen->key_mark.line, 2);
    assert_int_equal(listen->key_mark.column, 1);
    struct config_node *map = listen->last;
    struct config_node *x = config_node_get(map, STR("x"));
    assert_true(str_eq(x->text, STR("b")));
    assert_false(x->is_plain);
    assert_int_equal(x->mark.line, 4);
    assert_int_equal(x->mark.column, 9);
    assert_int_equal(config_node_get(map, STR("y"))->count, 2);
    /* Columns count characters, not bytes. */
    struct config_node *wide = config_node_get(p.root, STR("gr\xc3\xbc\xc3\x9f"));
    assert_int_equal(wide->mark.column, 7);
    assert_true(config_node_is_null(config_node_get(p.root, STR("none"))));
    assert_null(config_node_get(p.root, STR("nothing")));
    assert_null(config_node_get(x, STR("b")));
    assert_null(config_node_get(NULL, STR("b")));
    arena_free(p.arena);
}

static void nothing_is_an_empty_mapping(void **state)
{
    (void)state;
    static const struct str texts[] = {
        {NULL, 0}, STR_INIT(""), STR_INIT("# only a comment\n"), STR_INIT("---\n"), STR_INIT("~")};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct parsed p;
        parse_bytes(&p, texts[i]);
        assert_non_null(p.root);
        assert_int_equal(p.root->kind, NODE_MAP);
        assert_int_equal(p.root->count, 0);
        assert_string_equal(p.said, "");
        arena_free(p.arena);
    }
}

static void what_a_config_must_not_use(void **state)
{
    (void)state;
    refused(STR("a: &x 1\nb: 2\n"),
            "f:1:4: an anchor (&name); a config says everything where it stands\n");
    refused(STR("b: *x\n"), "f:1:4: an alias (*name); a config says everything where it stands\n");
    refused(STR("a: !!str 1\n"),
            "f:1:4: a tag (!type); the type of a value follows from its key\n");
    refused(STR("a:\n  <<: {b: 1}\n"),
            "f:2:3: a merge key (<<); a config says everything where it stands\n");
    refused(STR("a: 1\n---\nb: 2\n"),
            "f:2:1: a second document (---); a config file is one document\n");
    refused(STR("? [a]\n: 1\n"), "f:1:3: a list as a key; a key is plain text\n");
    refused(STR("? {a: b}\n: 1\n"), "f:1:3: a mapping as a key; a key is plain text\n");
    refused(STR("a: \"x\\0y\"\n"), "f:1:4: text with a zero byte in it\n");
    refused(STR("a: 1\nb: 2\na: 3\nb: 4\na: 5\n"),
            "f:3:1: key \"a\" is written a second time; it stands in line 1 already\n"
            "f:4:1: key \"b\" is written a second time; it stands in line 2 already\n"
            "f:5:1: key \"a\" is written a second time; it stands in line 1 already\n");
}

static void what_is_no_yaml(void **state)
{
    (void)state;
    refused(STR("a: 1\nb: \xff\n"), "f:2:4: not YAML: invalid leading UTF-8 octet; expected UTF-8 "
                                    "text\n");
    refused(STR("a: \x01\n"),
            "f:1:4: not YAML: control characters are not allowed; expected UTF-8 text\n");
    refused(STR("\xff\xfe"
                "a\0:\0"),
            "f:1:1: not YAML: invalid leading UTF-8 octet; expected UTF-8 text\n");
    refused(STR("a:\n\tb: 1\n"), "f:2:1: not YAML: found character that cannot start any token "
                                 "while scanning for the next token (line 2)\n");
    struct parsed p;
    parse_bytes(&p, STR("a: [1, 2\nb: 3\n"));
    assert_null(p.root);
    assert_int_equal(p.report.errors, 1);
    arena_free(p.arena);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    for (unsigned i = 0; i < 200000; i++)
        buf_add_char(&text, '[');
    refused(buf_str(&text), "f:1:33: nested deeper than 32 levels\n");
    buf_clear(&text);
    for (unsigned i = 0; i < CONFIG_DEPTH_MAX; i++)
        buf_add_char(&text, '[');
    for (unsigned i = 0; i < CONFIG_DEPTH_MAX; i++)
        buf_add_char(&text, ']');
    refused(buf_str(&text), "");
    buf_fini(&text);
}

static void a_large_file_is_refused(void **state)
{
    (void)state;
    size_t size = CONFIG_BYTES_MAX + 1;
    char *text = malloc(size);
    memset(text, '#', size);
    refused(str_n(text, size), "f: larger than 16 MiB\n");
    free(text);
}

/* Many keys must not take time that grows with their square. */
static void many_duplicates_are_told_up_to_a_bound(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    for (unsigned i = 0; i < 100000; i++)
        buf_printf(&text, "k%u: 1\n", i / 2);
    struct parsed p;
    parse_bytes(&p, buf_str(&text));
    assert_int_equal(p.report.errors, 50000);
    assert_int_equal(p.report.count, CONFIG_PROBLEMS_MAX);
    assert_non_null(strstr(p.said, "and 49980 more\n"));
    arena_free(p.arena);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_know_their_place),
        cmocka_unit_test(nothing_is_an_empty_mapping),
        cmocka_unit_test(what_a_config_must_not_use),
        cmocka_unit_test(what_is_no_yaml),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_large_file_is_refused),
        cmocka_unit_test(many_duplicates_are_told_up_to_a_bound),
    };
    return cmocka_run_group_tests_name("control/config_node", tests, NULL, NULL);
}
