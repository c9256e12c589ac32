#include "control/config_docs.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <yyjson.h>

#include "control/config_keys.h"
#include "control/config_node.h"
#include "control/config_value.h"
#include "provider/provider.h"
#include "unit/control/reading.h"

/* Tests run in the root of the tree. */
#define REFERENCE "docs/reference/config.md"
#define GUIDE "docs/configuration.md"

static void read_whole(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s cannot be read", path);
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        buf_add(out, piece, n);
    fclose(f);
}

static void the_committed_reference_is_current(void **state)
{
    (void)state;
    struct buf page = BUF_INIT, file = BUF_INIT;
    config_write_reference(&page);
    assert_true(buf_ok(&page));
    read_whole(REFERENCE, &file);
    if (!str_eq(buf_str(&page), buf_str(&file)))
        fail_msg("%s is old: build/weir config reference > %s", REFERENCE, REFERENCE);
    buf_fini(&page);
    buf_fini(&file);
}

/* Sets the variables that a text names, so that only what it says is judged. */
static void set_variables_of(struct str text)
{
    for (ptrdiff_t at; (at = str_find(text, STR("${"))) >= 0;) {
        struct str name;
        text = str_skip(text, (size_t)at + 2);
        str_cut(&text, '}', &name);
        char z[64];
        snprintf(z, sizeof(z), "%.*s", STR_ARG(name));
        char value[80];
        snprintf(value, sizeof(value), "value-of-%s", z);
        setenv(z, value, 1);
    }
}

static void every_example_of_the_guide_is_accepted(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    read_whole(GUIDE, &file);
    struct str rest = buf_str(&file);
    unsigned count = 0;
    for (ptrdiff_t at; (at = str_find(rest, STR("```yaml\n"))) >= 0; count++) {
        rest = str_skip(rest, (size_t)at + 8);
        ptrdiff_t end = str_find(rest, STR("```"));
        assert_true(end > 0);
        char *text = strndup(rest.ptr, (size_t)end);
        rest = str_skip(rest, (size_t)end + 3);
        set_variables_of(str_c(text));
        struct reading r;
        read_config(&r, text, NULL);
        if (r.settings == NULL)
            fail_msg("%s\nis refused: %s", text, r.said);
        reading_end(&r);
        free(text);
    }
    assert_true(count >= 5);
    buf_fini(&file);
}

static unsigned keys_in(const struct config_section *section)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        count += 1 + (key->section != NULL ? keys_in(key->section) : 0);
    }
    return count;
}

static unsigned properties_in(yyjson_val *schema)
{
    unsigned count = 0;
    size_t i, max;
    yyjson_val *name, *value;
    yyjson_obj_foreach(schema, i, max, name, value)
    {
        if (yyjson_equals_str(name, "properties") && yyjson_is_obj(value))
            count += (unsigned)yyjson_obj_size(value);
        count += properties_in(value);
    }
    yyjson_val *item;
    yyjson_arr_foreach(schema, i, max, item)
    {
        count += properties_in(item);
    }
    return count;
}

static void the_schema_is_json_and_knows_every_key(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    config_write_schema(&text);
    assert_true(buf_ok(&text));
    yyjson_doc *doc = yyjson_read(text.ptr, text.len, 0);
    assert_non_null(doc);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "$schema")),
                        "https://json-schema.org/draft/2020-12/schema");
    assert_true(yyjson_is_false(yyjson_obj_get(root, "additionalProperties")));
    yyjson_val *drain = yyjson_ptr_get(root, "/properties/timeouts/properties/drain/default");
    assert_string_equal(yyjson_get_str(drain), "30s");
    /* Each {file: PATH} of a secret counts as a property as well. */
    assert_true(properties_in(root) >= keys_in(&config_root));
    yyjson_doc_free(doc);
    buf_fini(&text);
}

/* Every default and example of the table is one that the reader accepts. */
static void check_examples(const struct config_section *section, struct arena *arena)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        /* As large as any struct of a section. */
        static char object[sizeof(struct settings) + sizeof(struct provider)];
        if (key->section != NULL)
            check_examples(key->section, arena);
        if (key->type >= CONFIG_STRINGS)
            continue;
        const char *const texts[] = {key->fallback, key->example};
        for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
            if (texts[t] == NULL || strstr(texts[t], "${") != NULL)
                continue;
            const char *expected = config_store(key, object, arena, str_c(texts[t]));
            if (expected != NULL)
                fail_msg("%s: %s: expected %s", key->name, texts[t], expected);
        }
    }
}

static void defaults_and_examples_are_accepted(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    check_examples(&config_root, arena);
    arena_free(arena);
}

/* Names are said once: a table with a key twice would hide the second. */
static void check_names(const struct config_section *section)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        assert_ptr_equal(config_key_find(section, str_c(key->name)), key);
        assert_non_null(key->help);
        assert_true(key->help[strlen(key->help) - 1] != '.');
        if (key->detail != NULL)
            assert_true(key->detail[strlen(key->detail) - 1] == '.');
        if (key->section != NULL)
            check_names(key->section);
    }
}

static void every_key_is_named_once_and_explained(void **state)
{
    (void)state;
    check_names(&config_root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_committed_reference_is_current),
        cmocka_unit_test(every_example_of_the_guide_is_accepted),
        cmocka_unit_test(the_schema_is_json_and_knows_every_key),
        cmocka_unit_test(defaults_and_examples_are_accepted),
        cmocka_unit_test(every_key_is_named_once_and_explained),
    };
    return cmocka_run_group_tests_name("control/config_docs", tests, NULL, NULL);
}
