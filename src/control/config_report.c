#include "control/config_report.h"

void config_report_init(struct config_report *report, struct arena *arena, struct str source)
{
    memset(report, 0, sizeof(*report));
    report->arena = arena;
    report->source = source;
}

/* Where the next problem goes. A warning makes room for an error when the table is full. */
static struct config_problem *slot_for(struct config_report *report, bool is_warning)
{
    if (report->count < CONFIG_PROBLEMS_MAX)
        return &report->problems[report->count++];
    for (unsigned i = 0; !is_warning && i < report->count; i++) {
        if (report->problems[i].is_warning)
            return &report->problems[i];
    }
    return NULL;
}

static void add(struct config_report *report, struct config_mark mark, bool is_warning,
                const char *format, va_list args)
{
    if (is_warning)
        report->warnings++;
    else
        report->errors++;
    struct config_problem *problem = slot_for(report, is_warning);
    if (problem == NULL)
        return;
    *problem =
        (struct config_problem){mark, is_warning, arena_vprintf(report->arena, format, args)};
    if (problem->text.ptr == NULL)
        problem->text = STR("out of memory");
}

void config_error(struct config_report *report, struct config_mark mark, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(report, mark, false, format, args);
    va_end(args);
}

void config_warning(struct config_report *report, struct config_mark mark, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(report, mark, true, format, args);
    va_end(args);
}

void config_problem_write(const struct config_report *report, const struct config_problem *problem,
                          struct buf *out)
{
    if (report->source.len > 0) {
        buf_add_str(out, report->source);
        if (problem->mark.line > 0)
            buf_printf(out, ":%u:%u", problem->mark.line, problem->mark.column);
        BUF_LIT(out, ": ");
    }
    if (problem->is_warning)
        BUF_LIT(out, "warning: ");
    buf_add_str(out, problem->text);
}

static int by_place(const void *a, const void *b)
{
    const struct config_mark *x = &((const struct config_problem *)a)->mark;
    const struct config_mark *y = &((const struct config_problem *)b)->mark;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

void config_report_write(struct config_report *report, struct buf *out)
{
    qsort(report->problems, report->count, sizeof(report->problems[0]), by_place);
    for (unsigned i = 0; i < report->count; i++) {
        config_problem_write(report, &report->problems[i], out);
        buf_add_char(out, '\n');
    }
    unsigned more = report->errors + report->warnings - report->count;
    if (more > 0)
        buf_printf(out, "and %u more\n", more);
}
