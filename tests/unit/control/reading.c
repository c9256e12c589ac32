#include "unit/control/reading.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void begin(struct reading *r, struct str source)
{
    memset(r, 0, sizeof(*r));
    r->arena = arena_new(4096);
    assert_non_null(r->arena);
    config_report_init(&r->report, r->arena, source);
}

static void end(struct reading *r)
{
    struct buf text = BUF_INIT;
    config_report_write(&r->report, &text);
    if (text.len > 0)
        text.len--; /* the last line break */
    r->said = arena_cstr(r->arena, buf_str(&text));
    buf_fini(&text);
}

void read_config(struct reading *r, const char *text, const struct config_options *options)
{
    begin(r, STR("weir.yaml"));
    r->settings = config_read_text(str_c(text), "weir.yaml", options, &r->report, &r->files);
    end(r);
}

void read_environment(struct reading *r, const struct config_options *options)
{
    begin(r, STR_EMPTY);
    r->settings = config_read_environment(options, &r->report);
    end(r);
}

void reading_end(struct reading *r)
{
    settings_free(r->settings);
    config_files_free(&r->files);
    arena_free(r->arena);
}

void must_accept(struct reading *r, const char *text)
{
    read_config(r, text, NULL);
    assert_string_equal(r->said, "");
    assert_non_null(r->settings);
}

void must_refuse(const char *text, const char *said)
{
    struct reading r;
    read_config(&r, text, NULL);
    assert_string_equal(r.said, said);
    assert_null(r.settings);
    reading_end(&r);
}

const struct provider *provider_of(const struct reading *r, const char *name)
{
    for (unsigned i = 0; i < r->settings->provider_count; i++) {
        if (str_eq(r->settings->providers[i].name, str_c(name)))
            return &r->settings->providers[i];
    }
    fail_msg("no provider %s", name);
    return NULL;
}

bool str_is(struct str s, const char *expected)
{
    return str_eq(s, str_c(expected));
}

void clear_environment(void)
{
    static const char *const endings[] = {"_API_KEY", "_BASE_URL", "_HOST", "_KEY", "_TOKEN"};
    for (char **v = environ; *v != NULL;) {
        struct str rest = str_c(*v), name;
        str_cut(&rest, '=', &name);
        bool is_ours = str_starts(name, STR("WEIR_")) && !str_eq(name, STR("WEIR_WIRE_DIR"));
        for (size_t i = 0; i < ARRAY_LEN(endings); i++)
            is_ours |= str_ends(name, str_c(endings[i]));
        if (!is_ours) {
            v++;
            continue;
        }
        char *z = strndup(name.ptr, name.len);
        unsetenv(z); /* moves the later ones up */
        free(z);
    }
}
