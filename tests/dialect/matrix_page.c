#include "matrix_page.h"

static const char *const feature_names[FEATURE_COUNT] = {
    [FEATURE_TEXT] = "text",
    [FEATURE_STREAM] = "stream",
    [FEATURE_TOOLS] = "tools",
    [FEATURE_TOOLS_STREAM] = "streamed tools",
    [FEATURE_PARALLEL] = "parallel tools",
    [FEATURE_IMAGES] = "images",
    [FEATURE_DOCUMENTS] = "documents",
    [FEATURE_THINKING] = "thinking",
    [FEATURE_STRUCTURED] = "structured output",
    [FEATURE_CACHE] = "cache usage",
    [FEATURE_ERRORS] = "errors",
};

static const char *const titles[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] = "OpenAI chat",       [DIALECT_ANTHROPIC] = "Anthropic Messages",
    [DIALECT_GEMINI] = "Gemini generateContent", [DIALECT_BEDROCK] = "Bedrock Converse",
    [DIALECT_COHERE] = "Cohere chat v2",         [DIALECT_OPENAI_RESPONSES] = "OpenAI Responses",
};

static const char intro[] =
    "# Dialects\n"
    "\n"
    "A client of any dialect reaches a provider of any dialect. What arrives on the way there and "
    "back is\n"
    "in these tables: a row for the provider's dialect, a column for what is said. Every cell is "
    "set by a\n"
    "test that runs the translation both ways (tests/dialect/test_matrix.c), none by hand; "
    "`scripts/write-dialect-matrix`\n"
    "writes this page.\n"
    "\n"
    "- **yes**: it arrives whole. With the same dialect on both sides nothing is translated: the "
    "bytes pass,\n"
    "  with the model's name put in.\n"
    "- **partly**: it arrives without what the note names. What a request loses is named to the "
    "client as well,\n"
    "  in the header `x-weir-dropped` (or the request is refused, where the config or the client "
    "wants that).\n"
    "- **no**: it has no place in the provider's dialect.\n"
    "- **-**: the client's dialect has no words for it.\n"
    "\n"
    "A dialect says what can be said; whether a model can do it is another matter: ask\n"
    "`GET /v1/weir/capabilities?model=`. Where a model has no form for structured output, a tool "
    "is used\n"
    "whose arguments are the answer; the client sees text.\n";

static void write_cell(struct buf *out, const struct matrix_cell *cell, unsigned *notes)
{
    static const char *const words[] = {[MATRIX_YES] = "yes",
                                        [MATRIX_PARTLY] = "partly",
                                        [MATRIX_NO] = "no",
                                        [MATRIX_UNSAYABLE] = "-"};
    buf_printf(out, " %s", words[cell->state]);
    if (cell->reasons.len > 0 && cell->state != MATRIX_UNSAYABLE)
        buf_printf(out, " (%u)", ++*notes);
    BUF_LIT(out, " |");
}

static void write_client(struct buf *out, enum dialect_id client,
                         struct matrix_cell (*rows)[FEATURE_COUNT])
{
    unsigned notes = 0;
    buf_printf(out, "\n## Clients of %s (`%s`)\n\n| provider |", titles[client],
               dialect_names[client]);
    for (unsigned f = 0; f < FEATURE_COUNT; f++)
        buf_printf(out, " %s |", feature_names[f]);
    BUF_LIT(out, "\n|---|");
    for (unsigned f = 0; f < FEATURE_COUNT; f++)
        BUF_LIT(out, "---|");
    for (unsigned p = 0; p < DIALECT_COUNT; p++) {
        buf_printf(out, "\n| %s |", titles[p]);
        for (unsigned f = 0; f < FEATURE_COUNT; f++)
            write_cell(out, &rows[p][f], &notes);
    }
    buf_add_char(out, '\n');
    notes = 0;
    for (unsigned p = 0; p < DIALECT_COUNT; p++) {
        for (unsigned f = 0; f < FEATURE_COUNT; f++) {
            const struct matrix_cell *cell = &rows[p][f];
            if (cell->reasons.len == 0 || cell->state == MATRIX_UNSAYABLE)
                continue;
            buf_printf(out, "%s(%u) %s, %s: without %.*s.\n", notes == 0 ? "\n" : "", notes + 1,
                       titles[p], feature_names[f], STR_ARG(buf_str(&cell->reasons)));
            notes++;
        }
    }
}

void matrix_write_page(struct matrix_cell (*cells)[FEATURE_COUNT], struct buf *out)
{
    BUF_LIT(out, intro);
    for (unsigned c = 0; c < DIALECT_COUNT; c++)
        write_client(out, (enum dialect_id)c, cells + c * DIALECT_COUNT);
}
