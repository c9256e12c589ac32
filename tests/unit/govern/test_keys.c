#include "govern/keys.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

static struct virtual_key key_of(const char *text)
{
    struct virtual_key key = {.name = str_c(text)};
    key_hash(str_c(text), key.sha256);
    return key;
}

static void the_hash_is_sha256(void **state)
{
    (void)state;
    /* FIPS 180-4, the "abc" example. */
    uint8_t expected[KEY_HASH_BYTES];
    uint8_t hash[KEY_HASH_BYTES];
    assert_true(key_hash_parse(
        STR("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), expected));
    key_hash(STR("abc"), hash);
    assert_memory_equal(hash, expected, KEY_HASH_BYTES);
}

static void a_written_hash_must_be_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "sha256:",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag",
        "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };
    uint8_t out[KEY_HASH_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(key_hash_parse(str_c(bad[i]), out));
    assert_true(key_hash_parse(
        STR("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"), out));
}

static void a_key_is_found_and_nothing_else_is(void **state)
{
    (void)state;
    enum { KEYS = 1000 };
    static struct virtual_key keys[KEYS];
    static char texts[KEYS][24];
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "wk-%u", i);
        keys[i] = key_of(texts[i]);
    }
    unsigned duplicate = 0;
    struct key_table *table = key_table_new(keys, KEYS, &duplicate);
    assert_non_null(table);
    assert_int_equal(key_table_count(table), KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        const struct virtual_key *found = NULL;
        assert_int_equal(key_table_check(table, str_c(texts[i]), 0, &found), KEY_OK);
        assert_ptr_equal(found, &keys[i]);
    }
    static const char *const unknown[] = {"wk-", "wk-1000", "WK-1", "wk-1 ", " wk-1", "sha256:00"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        const struct virtual_key *found = NULL;
        assert_int_equal(key_table_check(table, str_c(unknown[i]), 0, &found), KEY_UNKNOWN);
        assert_null(found);
    }
    key_table_free(table);
}

static void keys_that_begin_alike_are_told_apart(void **state)
{
    (void)state;
    /* Hashes that agree in all but the last byte share a place in the table; none of them is the
     * hash of the credential that is presented. */
    struct virtual_key keys[3] = {key_of("a"), key_of("a"), key_of("a")};
    keys[0].sha256[KEY_HASH_BYTES - 1] ^= 1;
    keys[1].sha256[KEY_HASH_BYTES - 1] ^= 2;
    unsigned duplicate = 0;
    const struct virtual_key *found = NULL;
    struct key_table *table = key_table_new(keys, 3, &duplicate);
    assert_non_null(table);
    assert_int_equal(key_table_check(table, STR("a"), 0, &found), KEY_OK);
    assert_ptr_equal(found, &keys[2]);
    key_table_free(table);

    table = key_table_new(keys, 2, &duplicate);
    assert_non_null(table);
    assert_int_equal(key_table_check(table, STR("a"), 0, &found), KEY_UNKNOWN);
    key_table_free(table);
}

static void the_second_of_two_equal_keys_is_named(void **state)
{
    (void)state;
    struct virtual_key keys[] = {key_of("a"), key_of("b"), key_of("c"), key_of("b")};
    unsigned duplicate = 0;
    assert_null(key_table_new(keys, 4, &duplicate));
    assert_int_equal(duplicate, 3);
}

static void a_key_ends_when_it_expires_or_is_disabled(void **state)
{
    (void)state;
    struct virtual_key keys[] = {key_of("short"), key_of("off")};
    keys[0].expires_wall_ns = 100 * NS_PER_SEC;
    keys[1].is_disabled = true;
    keys[1].expires_wall_ns = 1;
    unsigned duplicate = 0;
    struct key_table *table = key_table_new(keys, 2, &duplicate);
    assert_non_null(table);
    const struct virtual_key *found = NULL;
    assert_int_equal(key_table_check(table, STR("short"), 100 * NS_PER_SEC - 1, &found), KEY_OK);
    found = NULL;
    assert_int_equal(key_table_check(table, STR("short"), 100 * NS_PER_SEC, &found), KEY_EXPIRED);
    assert_ptr_equal(found, &keys[0]);
    assert_int_equal(key_table_check(table, STR("off"), 100 * NS_PER_SEC, &found), KEY_DISABLED);
    key_table_free(table);
}

static void no_key_and_no_keys_let_nobody_in(void **state)
{
    (void)state;
    unsigned duplicate = 0;
    const struct virtual_key *found = NULL;
    struct key_table *table = key_table_new(NULL, 0, &duplicate);
    assert_non_null(table);
    assert_int_equal(key_table_count(table), 0);
    assert_int_equal(key_table_check(table, STR_EMPTY, 0, &found), KEY_MISSING);
    assert_int_equal(key_table_check(table, STR("x"), 0, &found), KEY_UNKNOWN);
    assert_null(found);
    key_table_free(table);
}

static void a_key_may_use_the_models_it_lists(void **state)
{
    (void)state;
    struct str globs[] = {STR("fast"), STR("openai/gpt-4o*"), STR("groq/*")};
    struct virtual_key some = {.models = globs, .model_count = 3};
    struct virtual_key all = {0};
    static const struct {
        const char *asked, *resolved;
        bool allowed;
    } cases[] = {
        {"fast", "anthropic/claude-opus-4", true},
        {"gpt-4o-mini", "openai/gpt-4o-mini", true},
        {"groq/meta/llama", "groq/meta/llama", true},
        {"gpt-4.1", "openai/gpt-4.1", false},
        {"faster", "openai/gpt-4.1", false},
        {"gpt-4o", "azure/gpt-4o", false},
        {"", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str asked = str_c(cases[i].asked);
        struct str resolved = str_c(cases[i].resolved);
        assert_int_equal(virtual_key_allows(&some, asked, resolved), cases[i].allowed);
        assert_true(virtual_key_allows(&all, asked, resolved));
    }
}

static void a_key_is_found_by_its_access_key_id(void **state)
{
    (void)state;
    struct virtual_key keys[] = {key_of("a"),
                                 {.name = STR("b"), .is_aws_only = true},
                                 {.name = STR("c"), .is_aws_only = true},
                                 key_of("d")};
    keys[0].aws_access_key_id = STR("AKIAONE");
    keys[1].aws_access_key_id = STR("AKIATWO");
    keys[2].aws_access_key_id = STR("AKIATHREE");
    unsigned duplicate = 0;
    struct key_table *table = key_table_new(keys, 4, &duplicate);
    assert_non_null(table);
    assert_int_equal(key_table_count(table), 4);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(key_table_find_aws(table, keys[i].aws_access_key_id), &keys[i]);
    static const char *const unknown[] = {"", "AKIA", "akiaone", "AKIAONE ", "AKIAFOUR"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_null(key_table_find_aws(table, str_c(unknown[i])));
    const struct virtual_key *found = NULL;
    assert_int_equal(key_table_check(table, STR("a"), 0, &found), KEY_OK);
    assert_ptr_equal(found, &keys[0]);
    assert_int_equal(key_table_check(table, STR("AKIATWO"), 0, &found), KEY_UNKNOWN);
    key_table_free(table);

    keys[3].aws_access_key_id = STR("AKIATWO");
    assert_null(key_table_new(keys, 4, &duplicate));
    assert_int_equal(duplicate, 3);

    keys[1].expires_wall_ns = 5;
    keys[2].is_disabled = true;
    assert_int_equal(virtual_key_verdict(&keys[0], 5), KEY_OK);
    assert_int_equal(virtual_key_verdict(&keys[1], 4), KEY_OK);
    assert_int_equal(virtual_key_verdict(&keys[1], 5), KEY_EXPIRED);
    assert_int_equal(virtual_key_verdict(&keys[2], 5), KEY_DISABLED);
}

static void without_memory_there_is_no_table(void **state)
{
    (void)state;
    struct virtual_key key = key_of("a");
    unsigned duplicate = 77;
    mem_fail_at(1);
    assert_null(key_table_new(&key, 1, &duplicate));
    mem_fail_at(0);
    assert_int_equal(duplicate, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_sha256),
        cmocka_unit_test(a_written_hash_must_be_whole),
        cmocka_unit_test(a_key_is_found_and_nothing_else_is),
        cmocka_unit_test(keys_that_begin_alike_are_told_apart),
        cmocka_unit_test(the_second_of_two_equal_keys_is_named),
        cmocka_unit_test(a_key_ends_when_it_expires_or_is_disabled),
        cmocka_unit_test(no_key_and_no_keys_let_nobody_in),
        cmocka_unit_test(a_key_may_use_the_models_it_lists),
        cmocka_unit_test(a_key_is_found_by_its_access_key_id),
        cmocka_unit_test(without_memory_there_is_no_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
