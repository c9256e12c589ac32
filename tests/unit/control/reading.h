/*
 * Reads a config for a test and keeps all that came of it.
 * Test programs only.
 * Nothing yields.
 * reading_end frees the settings, the texts and the report.
 * `said` is every problem as the operator sees it.
 */
#ifndef WEIR_TESTS_CONTROL_READING_H
#define WEIR_TESTS_CONTROL_READING_H

#include "control/config.h"

struct reading {
    struct arena *arena;
    struct config_report report;
    struct config_files files;
    struct settings *settings; /* NULL = refused */
    char *said;
};

/* Text as if it stood in the file "weir.yaml". */
void read_config(struct reading *r, const char *text, const struct config_options *options);
void read_environment(struct reading *r, const struct config_options *options);
void reading_end(struct reading *r);

/* The config is accepted without a word. */
void must_accept(struct reading *r, const char *text);
/* The config is refused and exactly this is said, lines joined by "\n". */
void must_refuse(const char *text, const char *said);

/* The provider of that name; the test fails when there is none. */
const struct provider *provider_of(const struct reading *r, const char *name);
bool str_is(struct str s, const char *expected);

/* Unsets every variable that a config could read. */
void clear_environment(void);

#endif
