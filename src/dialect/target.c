#include "dialect/target.h"

#include <stdarg.h>

const char *const llm_thinking_names[THINKING_COUNT + 1] = {
    [THINKING_UNKNOWN] = "unknown", [THINKING_NONE] = "none",         [THINKING_BUDGET] = "budget",
    [THINKING_EFFORT] = "effort",   [THINKING_ADAPTIVE] = "adaptive", [THINKING_LEVEL] = "level",
};

const char *const llm_structured_names[STRUCTURED_COUNT + 1] = {
    [STRUCTURED_UNKNOWN] = "unknown",
    [STRUCTURED_NATIVE] = "native",
    [STRUCTURED_BY_TOOL] = "by_tool",
    [STRUCTURED_NONE] = "none",
};

const char *const llm_prefill_names[PREFILL_COUNT + 1] = {
    [PREFILL_NONE] = "none",
    [PREFILL_LAST_MESSAGE] = "last_message",
    [PREFILL_PREFIX] = "prefix",
    [PREFILL_PREFIX_ECHOED] = "prefix_echoed",
    [PREFILL_CONTINUE] = "continue_final_message",
};

/* A header holds them in the end: past this, that there is more is all that is said. */
enum { NOTES_BYTES_MAX = 1024 };

static bool has_note(struct str list, struct str name)
{
    struct str item;
    while (str_next(&list, ',', &item)) {
        if (str_eq(str_trim(item), name))
            return true;
    }
    return false;
}

PRINTF_LIKE(2, 0) static void add_note(struct buf *list, const char *format, va_list args)
{
    char text[160];
    int len = vsnprintf(text, sizeof(text), format, args);
    struct str name = str_n(text, MIN((size_t)MAX(len, 0), sizeof(text) - 1));
    if (name.len == 0 || has_note(buf_str(list), name))
        return;
    if (list->len + name.len > NOTES_BYTES_MAX)
        name = STR("...");
    if (name.ptr != text && has_note(buf_str(list), name))
        return;
    if (list->len > 0)
        BUF_LIT(list, ", ");
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        buf_add_char(list, c > ' ' && c < 0x7f && c != ',' ? c : '_');
    }
}

void llm_note_dropped(struct llm_notes *notes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_note(notes->dropped, format, args);
    va_end(args);
}

void llm_note_supplied(struct llm_notes *notes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_note(notes->supplied, format, args);
    va_end(args);
}

void llm_note_extras(struct llm_notes *notes, const struct llm_request *request)
{
    for (const struct llm_extra *extra = request->extras; extra != NULL; extra = extra->next) {
        if (!extra->is_taken)
            llm_note_dropped(notes, "%.*s", STR_ARG(extra->name));
    }
}

bool llm_target_refuses(const struct llm_target *target, struct llm_notes *notes, const char *name)
{
    for (unsigned i = 0; i < target->quirks->refused_param_count; i++) {
        if (str_eq(target->quirks->refused_params[i], str_c(name))) {
            llm_note_dropped(notes, "%s", name);
            return true;
        }
    }
    return false;
}
