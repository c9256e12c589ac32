/*
 * Any bytes as a config file: it is accepted, or refused with a place that is in the file. The same
 * bytes say the same twice, and a variable that stands for a credential is in no message.
 */
#include <errno.h>

#include "control/config.h"
#include "rt/sys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "hush.hush.hush"

/* No file of this machine is opened, whatever a config names. */
static bool no_files(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (call != SYS_OPEN)
        return false;
    errno = ENOENT;
    *result = -1;
    return true;
}

static void check_settings(const struct settings *s)
{
    CHECK(s->listener_count > 0);
    for (unsigned i = 0; i < s->listener_count; i++)
        CHECK(s->listeners[i].addr.len > 0);
    for (unsigned i = 0; i < s->provider_count; i++) {
        const struct provider *p = &s->providers[i];
        CHECK(p->name.len > 0 && p->url_host.len > 0 && p->url_port > 0);
        CHECK(p->dialect < DIALECT_COUNT && p->auth < AUTH_COUNT);
        CHECK(http_value_is_safe(p->api_key));
    }
    for (unsigned i = 0; i < s->key_count; i++)
        CHECK(s->keys[i].name.len > 0);
    for (unsigned i = 0; i < s->alias_count; i++)
        CHECK(str_index(s->aliases[i].target, '/') > 0);
    CHECK(s->limits.body_bytes > 0 && s->timeouts.connect > 0 && s->json_depth > 0);
}

static void read_once(struct str text, unsigned lines, struct buf *said)
{
    struct arena *arena = arena_new(4096);
    CHECK(arena != NULL);
    struct config_report report;
    struct config_files files = {.count = 0};
    config_report_init(&report, arena, STR("weir.yaml"));
    struct settings *settings = config_read_text(text, "weir.yaml", NULL, &report, &files);
    CHECK((settings != NULL) == (report.errors == 0));
    CHECK(report.count <= CONFIG_PROBLEMS_MAX);
    for (unsigned i = 0; i < report.count; i++)
        CHECK(report.problems[i].text.len > 0 && report.problems[i].mark.line <= lines);
    if (settings != NULL)
        check_settings(settings);
    config_report_write(&report, said);
    settings_free(settings);
    config_files_free(&files);
    arena_free(arena);
}

/* True when the variable is used for nothing but credentials. (The rest of a config, a host's name
 * say, may be repeated in a message.) */
static bool is_only_a_credential(struct str text)
{
    if (str_find(text, STR(SECRET)) >= 0)
        return false;
    for (ptrdiff_t at; (at = str_find(text, STR("HUSH"))) >= 0;) {
        if (!str_ends(str_head(text, (size_t)at), STR("api_key: ${")))
            return false;
        text = str_skip(text, (size_t)at + 4);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sys_hook(no_files, NULL);
    setenv("HUSH", SECRET, 1);
    unsetenv("OPENAI_API_KEY");
    struct str text = str_n((const char *)data, size);
    /* What YAML takes for the end of a line, and the line after the last. */
    unsigned lines = 2;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0x85 || data[i] == 0xa8 ||
                 data[i] == 0xa9;
    struct buf first = BUF_INIT, second = BUF_INIT;
    read_once(text, lines, &first);
    read_once(text, lines, &second);
    CHECK(str_eq(buf_str(&first), buf_str(&second)));
    CHECK(!is_only_a_credential(text) || str_find(buf_str(&first), STR(SECRET)) < 0);
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}
