#include "control/config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "unit/control/reading.h"

static int set_up(void **state)
{
    (void)state;
    clear_environment();
    return 0;
}

static void an_empty_environment_offers_the_simulated_provider(void **state)
{
    (void)state;
    struct reading r;
    read_environment(&r, NULL);
    assert_non_null(r.settings);
    assert_int_equal(r.settings->provider_count, 1);
    assert_true(str_is(r.settings->providers[0].name, "sim"));
    assert_true(str_is(r.settings->source, "environment"));
    assert_true(str_is(r.settings->listeners[0].text, "127.0.0.1:8080"));
    reading_end(&r);
}

static void a_key_switches_its_provider_on(void **state)
{
    (void)state;
    setenv("OPENAI_API_KEY", "sk-1\n", 1);
    setenv("GROQ_API_KEY", "gsk-1", 1);
    setenv("MISTRAL_API_KEY", "", 1);
    struct reading r;
    read_environment(&r, NULL);
    assert_string_equal(r.said, "");
    assert_int_equal(r.settings->provider_count, 3);
    assert_true(str_is(provider_of(&r, "openai")->api_key, "sk-1"));
    assert_true(str_is(provider_of(&r, "openai")->url_host, "api.openai.com"));
    assert_true(str_is(provider_of(&r, "groq")->api_key, "gsk-1"));
    reading_end(&r);
}

static void a_base_url_moves_its_provider(void **state)
{
    (void)state;
    setenv("OPENAI_BASE_URL", "http://127.0.0.1:4010/v1/", 1);
    struct reading r;
    read_environment(&r, NULL);
    const struct provider *p = provider_of(&r, "openai");
    assert_int_equal(p->api_key.len, 0);
    assert_true(str_is(p->base_url, "http://127.0.0.1:4010/v1"));
    assert_int_equal(p->url_port, 4010);
    assert_true(str_is(p->paths[OPERATION_CHAT], "/chat/completions"));
    reading_end(&r);
    setenv("OPENAI_BASE_URL", "127.0.0.1:4010", 1);
    read_environment(&r, NULL);
    assert_null(r.settings);
    assert_string_equal(r.said,
                        "environment variable OPENAI_BASE_URL: base_url begins with neither "
                        "http:// nor https://");
    reading_end(&r);
}

static void ollama_host_in_its_usual_forms(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *base_url;
    } cases[] = {
        {"127.0.0.1:11434", "http://127.0.0.1:11434/v1"},
        {"127.0.0.1", "http://127.0.0.1:11434/v1"},
        {"0.0.0.0", "http://127.0.0.1:11434/v1"},
        {"0.0.0.0:8000", "http://127.0.0.1:8000/v1"},
        {":8000", "http://127.0.0.1:8000/v1"},
        {"gpu.lan", "http://gpu.lan:11434/v1"},
        {"gpu.lan:8000", "http://gpu.lan:8000/v1"},
        {"[::1]:8000", "http://[::1]:8000/v1"},
        {"[::1]", "http://[::1]:11434/v1"},
        {"::1", "http://[::1]:11434/v1"},
        {"http://gpu.lan:8000", "http://gpu.lan:8000/v1"},
        {"http://gpu.lan:8000/", "http://gpu.lan:8000/v1"},
        {"https://ollama.example", "https://ollama.example/v1"},
        {"https://ollama.example/sub/v1", "https://ollama.example/sub/v1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        setenv("OLLAMA_HOST", cases[i].value, 1);
        struct reading r;
        read_environment(&r, NULL);
        assert_string_equal(r.said, "");
        if (!str_is(provider_of(&r, "ollama")->base_url, cases[i].base_url))
            fail_msg("%s gave %.*s", cases[i].value, STR_ARG(provider_of(&r, "ollama")->base_url));
        reading_end(&r);
    }
}

static void client_keys(void **state)
{
    (void)state;
    setenv("WEIR_KEYS", "web=12345678, sk-abcdefgh== ,, ci.2=a=b=c=d=e", 1);
    struct reading r;
    read_environment(&r, NULL);
    assert_string_equal(r.said, "");
    assert_int_equal(r.settings->key_count, 3);
    static const char *const names[] = {"web", "key-2", "ci.2"};
    static const char *const values[] = {"12345678", "sk-abcdefgh==", "a=b=c=d=e"};
    for (unsigned i = 0; i < 3; i++) {
        uint8_t hash[KEY_HASH_BYTES];
        key_hash(str_c(values[i]), hash);
        assert_true(str_is(r.settings->keys[i].name, names[i]));
        assert_memory_equal(r.settings->keys[i].sha256, hash, sizeof(hash));
    }
    reading_end(&r);
    setenv("WEIR_KEYS", "web=12345678,short", 1);
    read_environment(&r, NULL);
    assert_null(r.settings);
    assert_string_equal(r.said, "environment variable WEIR_KEYS, entry 2: expected a key of at "
                                "least 8 characters");
    reading_end(&r);
    setenv("WEIR_KEYS", "web=12345678,app=12345678", 1);
    read_environment(&r, NULL);
    assert_string_equal(r.said, "keys: \"web\" and \"app\" are the same key");
    reading_end(&r);
}

static void listening_and_openness(void **state)
{
    (void)state;
    struct reading r;
    setenv("WEIR_LISTEN", "127.0.0.1:1, [::1]:2", 1);
    read_environment(&r, NULL);
    assert_int_equal(r.settings->listener_count, 2);
    reading_end(&r);

    setenv("WEIR_LISTEN", "nowhere", 1);
    read_environment(&r, NULL);
    assert_string_equal(r.said, "environment variable WEIR_LISTEN: found \"nowhere\"; expected "
                                "ADDRESS:PORT like \"127.0.0.1:8080\", \"0.0.0.0:8080\" or "
                                "\"[::1]:8080\"");
    reading_end(&r);

    setenv("WEIR_LISTEN", "0.0.0.0:8080", 1);
    read_environment(&r, NULL);
    assert_null(r.settings);
    assert_non_null(strstr(r.said, "client keys in WEIR_KEYS"));
    assert_non_null(strstr(r.said, "WEIR_AUTH=none"));
    reading_end(&r);

    setenv("WEIR_AUTH", "none", 1);
    read_environment(&r, NULL);
    assert_non_null(r.settings);
    reading_end(&r);

    setenv("WEIR_AUTH", "open", 1);
    read_environment(&r, NULL);
    assert_string_equal(r.said,
                        "environment variable WEIR_AUTH: found \"open\"; expected keys or none");
    reading_end(&r);

    const char *const listen[] = {"127.0.0.1:5"};
    const struct config_options options = {.listen = listen, .listen_count = 1};
    setenv("WEIR_AUTH", "keys", 1);
    read_environment(&r, &options);
    assert_non_null(r.settings);
    assert_int_equal(r.settings->listener_count, 1);
    assert_int_equal(net_addr_port(&r.settings->listeners[0].addr), 5);
    reading_end(&r);
}

static void a_bad_key_is_told_by_its_variable(void **state)
{
    (void)state;
    setenv("OPENAI_API_KEY", "sk-secret\nX-Injected: 1", 1);
    struct reading r;
    read_environment(&r, NULL);
    assert_null(r.settings);
    assert_true(strncmp(r.said, "environment variable OPENAI_API_KEY: ", 37) == 0);
    assert_null(strstr(r.said, "sk-secret"));
    reading_end(&r);
}

static int clear(void **state)
{
    return set_up(state);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_empty_environment_offers_the_simulated_provider),
        CASE(a_key_switches_its_provider_on),
        CASE(a_base_url_moves_its_provider),
        CASE(ollama_host_in_its_usual_forms),
        CASE(client_keys),
        CASE(listening_and_openness),
        CASE(a_bad_key_is_told_by_its_variable),
    };
    return cmocka_run_group_tests_name("control/config_env", tests, NULL, NULL);
}
