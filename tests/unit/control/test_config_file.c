#include "control/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "unit/control/reading.h"

static int set_up(void **state)
{
    (void)state;
    clear_environment();
    return 0;
}

/* --- values ------------------------------------------------------------------------------------
 */

static void an_empty_file_is_a_gateway_on_loopback(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "");
    const struct settings *s = r.settings;
    assert_int_equal(s->listener_count, 1);
    assert_true(str_is(s->listeners[0].text, "127.0.0.1:8080"));
    assert_int_equal(net_addr_kind(&s->listeners[0].addr), NET_LOOPBACK);
    assert_int_equal(s->provider_count, 1);
    assert_true(str_is(s->providers[0].name, "sim"));
    assert_true(s->providers[0].is_simulated);
    assert_int_equal(s->auth, AUTH_MODE_KEYS);
    assert_int_equal(s->limits.body_bytes, 32 << 20);
    assert_int_equal(s->json_depth, 128);
    assert_int_equal(s->timeouts.heartbeat, 15 * NS_PER_SEC);
    assert_int_equal(s->timeouts.drain, 30 * NS_PER_SEC);
    assert_int_equal(s->pool.idle_total, 1024);
    assert_string_equal(s->access_log, "stdout");
    assert_int_equal(s->log_level, LOG_INFO);
    assert_false(s->metrics_need_key);
    reading_end(&r);
}

static void every_kind_of_value_arrives(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "listen: [\"[::1]:9000\", 9001]\n"
                    "threads: 3\n"
                    "keys:\n"
                    "  - name: team\n"
                    "    hash: sha256:"
                    "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5\n"
                    "    models: [\"openai/*\", fast]\n"
                    "    expires: 2199-01-31T00:00:00Z\n"
                    "    disabled: true\n"
                    "providers:\n"
                    "  vllm:\n"
                    "    base_url: http://127.0.0.1:8000/v1/\n"
                    "    headers: {X-Team: a, X-Other: 7}\n"
                    "    models: [m1, m2]\n"
                    "    quirks: {stream_usage: always, refused_params: [seed]}\n"
                    "models:\n"
                    "  fast: vllm/m1\n"
                    "  slow: {target: vllm/m2}\n"
                    "limits: {request_body: 1MiB, json_depth: 64}\n"
                    "timeouts: {stall: 1m30s, total: 0s}\n"
                    "pool: {idle_timeout: 5s}\n"
                    "log: {access: off, level: warn}\n"
                    "metrics: {require_key: true}\n");
    const struct settings *s = r.settings;
    assert_int_equal(s->listener_count, 2);
    assert_int_equal(net_addr_port(&s->listeners[0].addr), 9000);
    assert_int_equal(net_addr_port(&s->listeners[1].addr), 9001);
    assert_int_equal(s->threads, 3);
    assert_int_equal(s->key_count, 1);
    assert_true(str_is(s->keys[0].name, "team"));
    uint8_t hash[KEY_HASH_BYTES];
    key_hash(STR("12345"), hash);
    assert_memory_equal(s->keys[0].sha256, hash, sizeof(hash));
    assert_int_equal(s->keys[0].model_count, 2);
    assert_true(str_is(s->keys[0].models[1], "fast"));
    assert_true(s->keys[0].expires_wall_ns > 0);
    assert_true(s->keys[0].is_disabled);
    const struct provider *p = provider_of(&r, "vllm");
    assert_true(str_is(p->base_url, "http://127.0.0.1:8000/v1"));
    assert_true(str_is(p->paths[OPERATION_CHAT], "/chat/completions"));
    assert_int_equal(p->headers.count, 2);
    assert_true(str_is(p->headers.items[1].value, "7"));
    assert_int_equal(p->model_count, 2);
    assert_int_equal(p->quirks.stream_usage, STREAM_USAGE_ALWAYS);
    assert_true(str_is(p->llm_quirks.refused_params[0], "seed"));
    assert_int_equal(s->alias_count, 2);
    assert_true(str_is(s->aliases[1].name, "slow"));
    assert_true(str_is(s->aliases[1].target, "vllm/m2"));
    assert_int_equal(s->limits.body_bytes, 1 << 20);
    assert_int_equal(s->json_depth, 64);
    assert_int_equal(s->timeouts.stall, 90 * NS_PER_SEC);
    assert_int_equal(s->timeouts.total, 0);
    assert_int_equal(s->pool.idle_timeout_ns, 5 * NS_PER_SEC);
    assert_null(s->access_log);
    assert_int_equal(s->log_level, LOG_WARN);
    assert_true(s->metrics_need_key);
    reading_end(&r);
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"listn: [8080]", "weir.yaml:1:1: unknown key \"listn\"; did you mean \"listen\"?"},
        {"connect: 5s",
         "weir.yaml:1:1: unknown key \"connect\" here; expected it under \"timeouts\""},
        {"pool: {xyzzy: 1}", "weir.yaml:1:8: unknown key \"xyzzy\"; expected one of "
                             "idle_per_provider, idle_total, idle_timeout"},
        {"threads: 0", "weir.yaml:1:10: threads: found \"0\"; expected an integer from 1 to 512"},
        {"threads: four",
         "weir.yaml:1:10: threads: found \"four\"; expected an integer from 1 to 512"},
        {"threads: [4]", "weir.yaml:1:10: threads: found a list; expected an integer"},
        {"threads:", "weir.yaml:1:9: threads: found nothing; expected an integer"},
        {"auth: none_", "weir.yaml:1:7: auth: found \"none_\"; expected one of keys, none; did "
                        "you mean \"none\"?"},
        {"listen: 127.0.0.1:80",
         "weir.yaml:1:9: listen: found text; expected a list, one \"- \" an entry"},
        {"listen: []", "weir.yaml:1:9: listen: found nothing; expected at least one address, or "
                       "no \"listen\" at all, which means 127.0.0.1:8080"},
        {"listen: [example.com:80]",
         "weir.yaml:1:10: listen: found \"example.com:80\"; expected ADDRESS:PORT like "
         "\"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\""},
        {"listen: [8080, \"127.0.0.1:8080\"]",
         "weir.yaml:1:16: listen: found \"127.0.0.1:8080\" twice"},
        {"listen: [{tls: {cert_file: a}}]",
         "weir.yaml:1:10: found no \"address\" here; expected text: address and port\n"
         "weir.yaml:1:16: found no \"key_file\" here; expected the path of a file: private key "
         "of the certificate, PEM"},
        {"timeouts: {drain: 30}",
         "weir.yaml:1:19: drain: found \"30\"; expected a duration with its unit (ms, s, m, h or "
         "d); did you mean \"30s\"?"},
        {"limits: {request_headers: 2MiB}",
         "weir.yaml:1:27: request_headers: found \"2MiB\"; expected a size from 1KiB to 1MiB"},
        {"metrics: {require_key: yes}",
         "weir.yaml:1:24: require_key: found \"yes\"; expected true or false; did you mean "
         "\"true\"?"},
        {"log: stdout", "weir.yaml:1:6: found text; expected a mapping of keys to values"},
        {"providers: [openai]",
         "weir.yaml:1:12: providers: found a list; expected a mapping of names to entries"},
        {"models: {a: sim}", "weir.yaml:1:10: model \"a\": found no \"/\" in what is "
                             "behind it; expected provider/model"},
        {"models: {a: sum/b}", "weir.yaml:1:10: model \"a\": the provider of \"sum/b\" is not "
                               "configured; expected one of \"providers\"; did you mean \"sim\"?"},
        {"- a", "weir.yaml:1:1: found a list; expected a mapping of keys to values"},
        {"just text", "weir.yaml:1:1: found text; expected a mapping of keys to values"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        must_refuse(cases[i].text, cases[i].said);
}

static void all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    must_refuse("lissten: [8080]\n"
                "threads: x\n"
                "timeouts:\n"
                "  connect: 3\n"
                "providers:\n"
                "  opnai: {api_key: k}\n",
                "weir.yaml:1:1: unknown key \"lissten\"; did you mean \"listen\"?\n"
                "weir.yaml:2:10: threads: found \"x\"; expected an integer from 1 to 512\n"
                "weir.yaml:4:12: connect: found \"3\"; expected a duration with its unit (ms, s, "
                "m, h or d); did you mean \"3s\"?\n"
                "weir.yaml:6:3: provider \"opnai\" is not in the built-in catalogue; expected "
                "\"base_url\" (and \"dialect\" unless it speaks OpenAI's), or a name that is; did "
                "you mean \"openai\"?");
}

/* The second one is told, and nothing follows from it. */
static void a_section_that_comes_twice(void **state)
{
    (void)state;
    must_refuse("providers: {a: {base_url: \"http://a\"}}\n"
                "models: {m: a/b}\n"
                "providers: {c: {base_url: \"http://c\"}, d: {}}\n"
                "models: {n: c/d, o: d/e}\n",
                "weir.yaml:3:1: key \"providers\" is written a second time; it stands in line 1 "
                "already\n"
                "weir.yaml:4:1: key \"models\" is written a second time; it stands in line 2 "
                "already");
}

/* --- substitution ------------------------------------------------------------------------------
 */

static void variables_are_put_in(void **state)
{
    (void)state;
    setenv("WEIR_T_THREADS", "7", 1);
    setenv("WEIR_T_EMPTY", "", 1);
    setenv("WEIR_T_HOST", "llm.example", 1);
    struct reading r;
    must_accept(&r, "threads: ${WEIR_T_THREADS}\n"
                    "pool: {idle_total: \"${WEIR_T_NONE:-12}\", "
                    "idle_timeout: \"${WEIR_T_EMPTY:-3}s\"}\n"
                    "providers:\n"
                    "  a:\n"
                    "    base_url: https://${WEIR_T_HOST}/${WEIR_T_EMPTY}v1\n"
                    "    api_key: a$$b$$${WEIR_T_THREADS}$c$\n"
                    "    models: [\"m-${WEIR_T_THREADS}\"]\n");
    assert_int_equal(r.settings->threads, 7);
    assert_int_equal(r.settings->pool.idle_total, 12);
    assert_int_equal(r.settings->pool.idle_timeout_ns, 3 * NS_PER_SEC);
    const struct provider *p = provider_of(&r, "a");
    assert_true(str_is(p->base_url, "https://llm.example/v1"));
    assert_true(str_is(p->api_key, "a$b$7$c$"));
    assert_true(str_is(p->models[0], "m-7"));
    reading_end(&r);
}

static void bad_variables_are_told(void **state)
{
    (void)state;
    setenv("WEIR_T_SECRET", "sk-do-not-show", 1);
    must_refuse("threads: ${WEIR_T_MISSING}",
                "weir.yaml:1:10: environment variable WEIR_T_MISSING is not set; expected it to "
                "be, or a default as in ${WEIR_T_MISSING:-default}");
    must_refuse("threads: ${WEIR_T_SECRET}",
                "weir.yaml:1:10: threads: found \"${WEIR_T_SECRET}\" (its value is not shown); "
                "expected an integer from 1 to 512");
    must_refuse("threads: ${WEIR T}", "weir.yaml:1:10: found \"${WEIR T}\"; expected ${NAME} or "
                                      "${NAME:-default}, and $$ for a dollar sign");
    must_refuse("threads: ${WEIR_T", "weir.yaml:1:10: found \"${\" without its \"}\"; expected "
                                     "${NAME}, and $$ for a dollar sign");
    /* Not in keys. */
    must_refuse(
        "${WEIR_T_SECRET}: 1",
        "weir.yaml:1:1: unknown key \"${WEIR_T_SECRET}\"; expected one of listen, "
        "threads, auth, keys, providers, models, routes, prices, unmappable, responses, limits, "
        "timeouts, routing, journal, realtime, bridge, pool, log, metrics");
}

static void a_secret_is_in_no_message(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "keys: [{name: a, hash: sk-do-not-show}]",
        "keys: [{name: a, value: \"sk do-not-show\"}]",
        "keys: [{name: a, value: ${WEIR_T_SECRET}, hash: sk-do-not-show}]",
        "keys: [{name: a, aws: {access_key_id: AKIA, secret_access_key: do-not-show}}]",
        "keys: [{name: a, aws: {access_key_id: AKIA, secret_access_key: \"a long do-not-show\"}}]",
        "providers: {a: {base_url: \"ftp://me:do-not-show@x\"}}",
        "providers: {a: {base_url: \"https://me:do-not-show@x\"}}",
        "providers: {a: {base_url: \"https://x\", api_key: \"do-not-show\\nb\"}}",
        "providers: {a: {base_url: \"https://x\", api_key: [do-not-show]}}",
        "providers: {a: {base_url: \"https://x\", headers: {A: \"do-not-show\\nb\"}}}",
        "providers: {a: {base_url: \"https://x\", proxy: \"do-not-show://b\"}}",
        "threads: ${WEIR_T_SECRET}",
    };
    setenv("WEIR_T_SECRET", "sk-do-not-show", 1);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reading r;
        read_config(&r, texts[i], NULL);
        if (strstr(r.said, "do-not-show") != NULL)
            fail_msg("%s\nsaid: %s", texts[i], r.said);
        reading_end(&r);
    }
}

/* --- secrets in files --------------------------------------------------------------------------
 */

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
}

static void secrets_come_from_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/weir-test-XXXXXX", path[64], secret[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/weir.yaml", folder);
    snprintf(secret, sizeof(secret), "%s/key", folder);
    write_file(path,
               "keys: [{name: a, value: {file: key}}]\n"
               "providers: {openai: {api_key: {file: ./key}}}\n",
               0600);
    write_file(secret, "sk-1234567890\r\n\n", 0600);
    struct arena *arena = arena_new(4096);
    struct config_report report;
    config_report_init(&report, arena, str_c(path));
    struct config_files files = {.count = 0};
    struct settings *s = config_read_file(path, NULL, &report, &files);
    assert_non_null(s);
    assert_int_equal(report.warnings, 0);
    assert_true(str_is(s->providers[0].api_key, "sk-1234567890"));
    uint8_t hash[KEY_HASH_BYTES];
    key_hash(STR("sk-1234567890"), hash);
    assert_memory_equal(s->keys[0].sha256, hash, sizeof(hash));
    assert_string_equal(files.paths[0], path);
    assert_string_equal(files.paths[1], secret);
    settings_free(s);
    config_files_free(&files);

    chmod(secret, 0644);
    config_report_init(&report, arena, str_c(path));
    s = config_read_file(path, NULL, &report, NULL);
    assert_non_null(s);
    assert_int_equal(report.warnings, 2);
    settings_free(s);

    unlink(secret);
    config_report_init(&report, arena, str_c("f"));
    assert_null(config_read_file(path, NULL, &report, NULL));
    struct str said = report.problems[0].text;
    assert_true(str_starts(said, STR("cannot read ")));
    assert_true(str_ends(said, STR("key: No such file or directory")));
    assert_int_equal(report.problems[0].mark.line, 1);
    assert_int_equal(report.problems[0].mark.column, 32);
    unlink(path);
    rmdir(folder);
    arena_free(arena);
}

static void a_secret_is_text_or_a_file(void **state)
{
    (void)state;
    static const char said[] = "weir.yaml:1:31: found a mapping; expected the secret itself, or "
                               "{file: PATH} and nothing else";
    must_refuse("providers: {openai: {api_key: {fil: x}}}", said);
    must_refuse("providers: {openai: {api_key: {file: x, b: c}}}", said);
    must_refuse("providers: {openai: {api_key: {file: [x]}}}", said);
    must_refuse("providers: {openai: {api_key: \"\"}}",
                "weir.yaml:1:31: api_key: found a value that is not shown; expected a text that "
                "is not empty");
}

static void a_file_that_cannot_be_read(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    struct config_report report;
    config_report_init(&report, arena, STR("f"));
    assert_null(config_read_file("/nonexistent/weir.yaml", NULL, &report, NULL));
    assert_true(str_is(report.problems[0].text, "cannot be read: No such file or directory"));
    config_report_init(&report, arena, STR("f"));
    assert_null(config_read_file("/", NULL, &report, NULL));
    assert_true(str_is(report.problems[0].text, "cannot be read: Is a directory"));
    arena_free(arena);
}

/* --- providers ---------------------------------------------------------------------------------
 */

static void a_known_provider_needs_only_its_key(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "providers: {openai: {api_key: sk-1}, groq: {api_key: gsk-1}}");
    assert_true(str_is(provider_of(&r, "openai")->base_url, "https://api.openai.com/v1"));
    assert_true(str_is(provider_of(&r, "openai")->api_key, "sk-1"));
    assert_true(str_starts(provider_of(&r, "groq")->base_url, STR("https://api.groq.com/")));
    assert_true(provider_of(&r, "sim")->is_simulated);
    reading_end(&r);
}

static void the_key_may_come_from_the_catalogues_variable(void **state)
{
    (void)state;
    must_refuse("providers: {openai: }",
                "weir.yaml:1:13: provider \"openai\" has no \"api_key\"; expected one here, or in "
                "the environment variable OPENAI_API_KEY");
    setenv("OPENAI_API_KEY", " sk-env\n", 1);
    struct reading r;
    must_accept(&r, "providers:\n  openai:\n  eu: {catalogue: openai}\n");
    assert_true(str_is(provider_of(&r, "openai")->api_key, "sk-env"));
    assert_true(str_is(provider_of(&r, "eu")->base_url, "https://api.openai.com/v1"));
    reading_end(&r);
    /* A key must not follow a base_url that somebody wrote. */
    must_accept(&r, "providers: {openai: {base_url: \"https://elsewhere.example/v1\"}}");
    assert_int_equal(provider_of(&r, "openai")->api_key.len, 0);
    reading_end(&r);
    unsetenv("OPENAI_API_KEY");
}

static void a_row_is_laid_over_the_catalogues(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "providers:\n"
                    "  eu: {catalogue: openai, api_key: k1234567, title: Europe,\n"
                    "       base_url: \"https://eu.example/v1\", paths: {chat: /c}}\n");
    const struct provider *p = provider_of(&r, "eu");
    assert_true(str_is(p->name, "eu"));
    assert_true(str_is(p->title, "Europe"));
    assert_true(str_is(p->env_key, "OPENAI_API_KEY"));
    assert_true(str_is(p->base_url, "https://eu.example/v1"));
    assert_true(str_is(p->paths[OPERATION_CHAT], "/c"));
    reading_end(&r);
    must_refuse("providers: {a: {catalogue: opnai, base_url: \"http://x\"}}",
                "weir.yaml:1:28: catalogue: found \"opnai\"; expected the name of a row of the "
                "built-in catalogue; did you mean \"openai\"?");
}

static void clouds_are_told_where_they_are(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "providers:\n"
                    "  bedrock: {region: eu-central-1}\n"
                    "  bedrock-anthropic: {region: us-east-1, auth: {profile: models}}\n"
                    "  vertex: {project: p-1, location: global}\n"
                    "  azure: {resource: res, auth: {kind: entra}}\n"
                    "  az: {catalogue: azure, resource: res, api_key: k1234567}\n");
    const struct provider *p = provider_of(&r, "bedrock");
    assert_true(str_is(p->url_host, "bedrock-runtime.eu-central-1.amazonaws.com"));
    assert_true(str_is(p->paths[OPERATION_CHAT_STREAM], "/model/{model}/converse-stream"));
    assert_int_equal(p->auth, AUTH_AWS);
    p = provider_of(&r, "bedrock-anthropic");
    assert_int_equal(p->variant, VARIANT_BEDROCK);
    assert_true(str_is(p->auth_settings.profile, "models"));
    p = provider_of(&r, "vertex");
    assert_true(str_is(p->url_host, "aiplatform.googleapis.com"));
    assert_true(str_is(p->paths[OPERATION_CHAT],
                       "/v1beta1/projects/p-1/locations/global/publishers/"
                       "google/models/{model}:generateContent"));
    p = provider_of(&r, "azure");
    assert_int_equal(p->auth, AUTH_ENTRA);
    assert_int_equal(p->api_key.len, 0);
    assert_true(str_is(p->paths[OPERATION_RESPONSES], "/openai/v1/responses"));
    p = provider_of(&r, "az");
    assert_int_equal(p->auth, AUTH_HEADER);
    assert_true(str_is(p->url_host, "res.openai.azure.com"));
    reading_end(&r);
    setenv("AWS_DEFAULT_REGION", "us-west-2", 1);
    setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key", 1);
    must_accept(&r, "providers: {bedrock: , bedrock-anthropic: {auth: {profile: a}},\n"
                    "            mine: {catalogue: bedrock-anthropic}}");
    assert_true(
        str_is(provider_of(&r, "bedrock")->url_host, "bedrock-runtime.us-west-2.amazonaws.com"));
    assert_true(str_is(provider_of(&r, "bedrock")->api_key, "bedrock-key"));
    assert_true(str_is(provider_of(&r, "mine")->api_key, "bedrock-key"));
    assert_int_equal(provider_of(&r, "bedrock-anthropic")->api_key.len, 0);
    reading_end(&r);
    unsetenv("AWS_DEFAULT_REGION");
    unsetenv("AWS_BEARER_TOKEN_BEDROCK");
    must_refuse("providers: {bedrock: {}}",
                "weir.yaml:1:13: provider \"bedrock\" has no \"region\"; expected one here, or in "
                "the environment variable AWS_REGION");
    must_refuse("providers: {bedrock: {region: \"x/y\"}}",
                "weir.yaml:1:31: provider \"bedrock\": region: \"x/y\" cannot stand in a URL");
}

static void quirks_and_traits_reach_the_dialects(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "providers:\n"
                    "  mine:\n"
                    "    base_url: https://llm.example/v1\n"
                    "    quirks: {max_tokens_field: max_completion_tokens, short_tool_ids: true,\n"
                    "             alternating_roles: true, total_includes_reasoning: true}\n"
                    "    traits:\n"
                    "      - {models: \"coder-*\", max_output_tokens: 16384, thinking: effort,\n"
                    "         structured: by_tool, images: false, tools: true}\n"
                    "      - {models: \"gpt-4o*\", max_output_tokens: 99}\n");
    const struct provider *p = provider_of(&r, "mine");
    assert_true(str_is(p->llm_quirks.max_tokens_field, "max_completion_tokens"));
    assert_true(p->llm_quirks.has_short_tool_ids && p->llm_quirks.needs_alternating_roles &&
                p->llm_quirks.total_includes_reasoning && p->llm_quirks.has_no_developer_role);
    const struct llm_traits *t = provider_traits(p, STR("coder-7"));
    assert_int_equal(t->max_output_tokens, 16384);
    assert_int_equal(t->thinking, THINKING_EFFORT);
    assert_int_equal(t->structured, STRUCTURED_BY_TOOL);
    assert_int_equal(t->takes_images, TRI_NO);
    assert_int_equal(t->takes_tools, TRI_YES);
    assert_int_equal(t->takes_audio, TRI_UNSET);
    t = provider_traits(p, STR("gpt-4o-mini"));
    assert_int_equal(t->max_output_tokens, 99);
    assert_int_equal(t->takes_images, TRI_YES);
    reading_end(&r);
    must_accept(&r, "providers: {openai: {api_key: k1234567}}");
    assert_false(provider_of(&r, "openai")->llm_quirks.has_no_developer_role);
    reading_end(&r);
    must_refuse("providers: {a: {base_url: \"https://x\", traits: [{thinking: hard, models: m}]}}",
                "weir.yaml:1:60: thinking: found \"hard\"; expected one of unknown, none, budget, "
                "effort, adaptive, level");
}

static void a_written_path_list_is_whole(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "providers: {a: {base_url: \"http://x\", paths: {chat: /c, models: \"\"}},\n"
                    "            b: {base_url: \"http://x\"}}");
    const struct provider *a = provider_of(&r, "a"), *b = provider_of(&r, "b");
    assert_true(str_is(a->paths[OPERATION_CHAT], "/c"));
    assert_int_equal(a->paths[OPERATION_COMPLETIONS].len, 0);
    assert_int_equal(a->paths[OPERATION_MODELS].len, 0);
    assert_true(str_is(b->paths[OPERATION_COMPLETIONS], "/completions"));
    assert_true(str_is(b->paths[OPERATION_MODELS], "/models"));
    reading_end(&r);
}

static void a_provider_can_be_switched_off(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "providers: {sim: {enabled: false}, a: {base_url: \"http://x\"}}");
    assert_int_equal(r.settings->provider_count, 1);
    assert_true(str_is(r.settings->providers[0].name, "a"));
    reading_end(&r);
    /* One that is off needs no credential, but must be written right. */
    must_accept(&r, "providers: {openai: {enabled: false}}");
    assert_int_equal(r.settings->provider_count, 1);
    reading_end(&r);
    must_refuse("providers: {openai: {enabled: maybe}}",
                "weir.yaml:1:13: provider \"openai\" has no \"api_key\"; expected one here, or in "
                "the environment variable OPENAI_API_KEY\n"
                "weir.yaml:1:31: enabled: found \"maybe\"; expected true or false");
}

static void odd_providers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"providers: {Foo: {base_url: \"http://x\"}}",
         "weir.yaml:1:13: found the provider name \"Foo\"; expected lower-case letters, digits, "
         "\".\", \"_\" and \"-\", at most 64"},
        {"providers: {a: {base_url: \"x.example\"}}",
         "weir.yaml:1:27: provider \"a\": base_url begins with neither http:// nor https://"},
        {"providers: {a: {base_url: \"http://x\", paths: {chat: c}}}",
         "weir.yaml:1:46: provider \"a\": paths.chat is not a path that begins with \"/\""},
        {"providers: {a: {base_url: \"http://x\", headers: {Connection: x}}}",
         "weir.yaml:1:48: provider \"a\": headers: \"Connection\" is set by weir itself"},
        {"providers: {a: {base_url: \"http://x\", auth: {kind: header}}}",
         "weir.yaml:1:45: provider \"a\": auth.name is not the name of a header or query "
         "parameter"},
        {"providers: {a: {base_url: \"http://x\", tls: {cert_file: a}}}",
         "weir.yaml:1:13: provider \"a\": found one of tls.cert_file and tls.key_file; expected "
         "both or neither"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        must_refuse(cases[i].text, cases[i].said);
}

/* --- keys and exposure -------------------------------------------------------------------------
 */

static void keys_are_checked(void **state)
{
    (void)state;
    must_refuse("keys: [{name: a}]", "weir.yaml:1:8: key \"a\": found neither \"hash\" nor "
                                     "\"value\"; expected one of the two");
    must_refuse("keys: [{name: a, value: 12345678}, {name: a, value: 87654321}]",
                "weir.yaml:1:36: keys: found the name \"a\" twice");
    must_refuse("keys: [{name: a, value: 12345678}, {name: b, value: 12345678}]",
                "weir.yaml:1:36: keys: \"a\" and \"b\" are the same key");
    struct reading r;
    read_config(&r, "keys: [{name: a, value: 12345678, expires: 2020-01-01}]", NULL);
    assert_non_null(r.settings);
    assert_string_equal(r.said, "weir.yaml:1:8: warning: key \"a\" has expired");
    reading_end(&r);
}

static void a_key_may_have_a_pair_for_signatures(void **state)
{
    (void)state;
    struct reading r;
    setenv("WEIR_T_SECRET", "a-secret-that-is-long", 1);
    must_accept(&r, "keys:\n"
                    "  - name: a\n"
                    "    value: 12345678\n"
                    "    aws: {access_key_id: AKIAONE, secret_access_key: \"${WEIR_T_SECRET}\"}\n"
                    "  - name: b\n"
                    "    aws: {access_key_id: AKIATWO, secret_access_key: 0123456789abcdef}\n"
                    "  - name: c\n"
                    "    aws: {access_key_id: AKIA-3, secret_access_key: 0123456789abcdef}\n");
    assert_true(str_is(r.settings->keys[0].aws_access_key_id, "AKIAONE"));
    assert_true(str_is(r.settings->keys[0].aws_secret_access_key, "a-secret-that-is-long"));
    assert_false(r.settings->keys[0].is_aws_only);
    assert_true(r.settings->keys[1].is_aws_only);
    assert_true(str_is(r.settings->keys[2].aws_access_key_id, "AKIA-3"));
    reading_end(&r);
    must_refuse(
        "keys: [{name: a, aws: {access_key_id: AKIAONE}}]",
        "weir.yaml:1:23: found no \"secret_access_key\" here; expected a secret as text, or "
        "{file: PATH}: the secret of the pair, best from the environment or a file");
    must_refuse("keys: [{name: a, aws: {access_key_id: a/b, secret_access_key: 0123456789abcdef}}]",
                "weir.yaml:1:39: access_key_id: found \"a/b\"; expected 4 to 128 letters, digits, "
                "\"_\" and \"-\"");
    must_refuse("keys: [{name: a, aws: {access_key_id: AKIA, secret_access_key: 0123456789abcde}}]",
                "weir.yaml:1:64: secret_access_key: found a value that is not shown; expected a "
                "secret of at least 16 characters");
    must_refuse("keys:\n"
                "- {name: a, aws: {access_key_id: AKIA, secret_access_key: 0123456789abcdef}}\n"
                "- {name: b, aws: {access_key_id: AKIA, secret_access_key: 0123456789abcdeg}}\n",
                "weir.yaml:3:3: keys: \"a\" and \"b\" have the same aws.access_key_id");
}

static void an_open_gateway_must_be_written_out(void **state)
{
    (void)state;
    struct reading r;
    must_refuse("listen: [\"127.0.0.1:1\", \"0.0.0.0:8080\"]",
                "weir.yaml:1:25: listening on 0.0.0.0:8080, where other machines can connect, "
                "without a key: whoever connects could use your providers' credentials; expected "
                "\"keys\" (make one with `weir keys hash --generate`), an address of loopback such "
                "as 127.0.0.1:8080, or \"auth: none\" if that is what you want");
    must_accept(&r, "listen: [\"0.0.0.0:8080\"]\nauth: none\n");
    assert_false(r.settings->metrics_need_key);
    reading_end(&r);
    must_accept(&r, "listen: [\"[::]:8080\"]\nkeys: [{name: a, value: 12345678}]\n");
    assert_true(r.settings->metrics_need_key);
    reading_end(&r);
    must_accept(&r, "listen: [\"[::]:8080\"]\nkeys: [{name: a, value: 12345678}]\n"
                    "metrics: {require_key: false}\n");
    assert_false(r.settings->metrics_need_key);
    reading_end(&r);
}

static void the_command_line_goes_before_the_file(void **state)
{
    (void)state;
    const char *const listen[] = {"127.0.0.1:0"};
    const struct config_options options = {.listen = listen, .listen_count = 1, .threads = 2};
    struct reading r;
    read_config(&r, "listen: [\"0.0.0.0:8080\"]\nthreads: 9\n", &options);
    assert_non_null(r.settings);
    assert_int_equal(r.settings->listener_count, 1);
    assert_int_equal(net_addr_port(&r.settings->listeners[0].addr), 0);
    assert_int_equal(r.settings->threads, 2);
    reading_end(&r);
    const char *const bad[] = {"somewhere"};
    const struct config_options bad_options = {.listen = bad, .listen_count = 1};
    read_config(&r, "", &bad_options);
    assert_null(r.settings);
    assert_string_equal(r.said,
                        "weir.yaml: --listen: found \"somewhere\"; expected ADDRESS:PORT like "
                        "\"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\"");
    reading_end(&r);
}

static void sockets_that_were_handed_over_are_listened_on(void **state)
{
    (void)state;
    struct net_addr activated[2];
    assert_true(net_addr_parse_listen(STR("127.0.0.1:9999"), &activated[0]));
    assert_true(net_addr_parse_listen(STR("127.0.0.1:9998"), &activated[1]));
    const struct config_options options = {.activated = activated, .activated_count = 2};
    struct reading r;
    read_config(&r, "", &options);
    assert_int_equal(r.settings->listener_count, 2); /* and not the default one */
    reading_end(&r);
    read_config(&r, "listen: [9998, 9997]", &options);
    assert_int_equal(r.settings->listener_count, 3);
    assert_true(str_is(r.settings->listeners[2].text, "127.0.0.1:9999"));
    reading_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_is_a_gateway_on_loopback),
        cmocka_unit_test(every_kind_of_value_arrives),
        cmocka_unit_test(mistakes_are_told_with_their_place),
        cmocka_unit_test(all_mistakes_are_told_at_once),
        cmocka_unit_test(a_section_that_comes_twice),
        cmocka_unit_test(variables_are_put_in),
        cmocka_unit_test(bad_variables_are_told),
        cmocka_unit_test(a_secret_is_in_no_message),
        cmocka_unit_test(secrets_come_from_files),
        cmocka_unit_test(a_secret_is_text_or_a_file),
        cmocka_unit_test(a_file_that_cannot_be_read),
        cmocka_unit_test(a_known_provider_needs_only_its_key),
        cmocka_unit_test(the_key_may_come_from_the_catalogues_variable),
        cmocka_unit_test(a_row_is_laid_over_the_catalogues),
        cmocka_unit_test(a_written_path_list_is_whole),
        cmocka_unit_test(clouds_are_told_where_they_are),
        cmocka_unit_test(quirks_and_traits_reach_the_dialects),
        cmocka_unit_test(a_provider_can_be_switched_off),
        cmocka_unit_test(odd_providers_are_refused),
        cmocka_unit_test(keys_are_checked),
        cmocka_unit_test(a_key_may_have_a_pair_for_signatures),
        cmocka_unit_test(an_open_gateway_must_be_written_out),
        cmocka_unit_test(the_command_line_goes_before_the_file),
        cmocka_unit_test(sockets_that_were_handed_over_are_listened_on),
    };
    return cmocka_run_group_tests_name("control/config_file", tests, set_up, NULL);
}
