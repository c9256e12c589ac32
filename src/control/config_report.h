/*
 * What is wrong with a config: every problem with its place, gathered to be told at once.
 * The thread that reads the config.
 * Nothing yields.
 * The texts live in the arena; the report is the caller's.
 * Past the first CONFIG_PROBLEMS_MAX problems only their number is kept.
 */
#ifndef WEIR_CONTROL_CONFIG_REPORT_H
#define WEIR_CONTROL_CONFIG_REPORT_H

#include "base/arena.h"
#include "base/buf.h"

/* A place in a file, both from 1; line 0 = the file as a whole. */
struct config_mark {
    uint32_t line;
    uint32_t column;
};
#define CONFIG_NOWHERE ((struct config_mark){0, 0})

enum { CONFIG_PROBLEMS_MAX = 20 };

struct config_problem {
    struct config_mark mark;
    bool is_warning;
    struct str text;
};

struct config_report {
    struct arena *arena;
    struct str source; /* the file's name as the operator wrote it; empty for the environment */
    struct config_problem problems[CONFIG_PROBLEMS_MAX];
    unsigned count;
    unsigned errors;   /* all of them, also those that were not kept */
    unsigned warnings; /* the same */
};

void config_report_init(struct config_report *report, struct arena *arena, struct str source);
/* The text says what was found and what was expected; no full stop. Never a secret's value. */
void config_error(struct config_report *report, struct config_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);
void config_warning(struct config_report *report, struct config_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* "FILE:LINE:COLUMN: text" of one problem, without a newline. */
void config_problem_write(const struct config_report *report, const struct config_problem *problem,
                          struct buf *out);
/* One line a problem in the order of the file, and how many more there are. */
void config_report_write(struct config_report *report, struct buf *out);

#endif
