#include "matrix_data.h"

#include <yyjson.h>

static const char *const ask_names[ASK_COUNT] = {
    [ASK_TEXT] = "text",
    [ASK_TOOLS] = "tools",
    [ASK_PARALLEL] = "parallel",
    [ASK_IMAGE] = "image",
    [ASK_DOCUMENT] = "document",
    [ASK_THINKING] = "thinking",
    [ASK_STRUCTURED] = "structured",
};
static const char *const say_names[SAY_COUNT] = {
    [SAY_TEXT] = "text",
    [SAY_CALL] = "call",
    [SAY_CALLS] = "calls",
    [SAY_THINKING] = "thinking",
};

/* The text of a value: a document's JSON, or a word like [DONE]. Empty where there is none. */
static struct str text_of_value(yyjson_val *value)
{
    size_t len = 0;
    if (value == NULL)
        return STR_EMPTY;
    char *text = yyjson_is_str(value) ? strndup(yyjson_get_str(value), len = yyjson_get_len(value))
                                      : yyjson_val_write(value, YYJSON_WRITE_ESCAPE_UNICODE, &len);
    CHECK(text != NULL);
    return str_n(text, len);
}

static struct matrix_event event_of(yyjson_val *pair)
{
    return (struct matrix_event){text_of_value(yyjson_arr_get(pair, 0)),
                                 text_of_value(yyjson_arr_get(pair, 1))};
}

static void load(struct matrix_dialect *m, enum dialect_id id)
{
    char path[128];
    snprintf(path, sizeof(path), "tests/data/matrix/%s.json", dialect_names[id]);
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    CHECK(root != NULL);
    for (size_t i = 0; i < ASK_COUNT; i++)
        m->asks[i] = text_of_value(yyjson_obj_get(yyjson_obj_get(root, "requests"), ask_names[i]));
    for (size_t i = 0; i < SAY_COUNT; i++) {
        size_t k, n;
        yyjson_val *event;
        m->answers[i] =
            text_of_value(yyjson_obj_get(yyjson_obj_get(root, "answers"), say_names[i]));
        m->signatures[i] =
            text_of_value(yyjson_obj_get(yyjson_obj_get(root, "signatures"), say_names[i]));
        yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(root, "streams"), say_names[i]), k, n,
                           event)
        {
            CHECK(k < MATRIX_EVENTS_MAX);
            m->streams[i][k] = event_of(event);
            m->stream_lengths[i]++;
        }
        CHECK(m->answers[i].len > 0 && m->stream_lengths[i] > 0);
    }
    yyjson_val *error = yyjson_obj_get(root, "error");
    m->error = text_of_value(yyjson_obj_get(error, "body"));
    m->error_type_header = text_of_value(yyjson_obj_get(error, "type_header"));
    m->error_status = (unsigned)yyjson_get_uint(yyjson_obj_get(error, "status"));
    m->error_after = (unsigned)yyjson_get_uint(yyjson_obj_get(error, "after_events"));
    m->stream_error = event_of(yyjson_obj_get(error, "event"));
    m->model = text_of_value(yyjson_obj_get(root, "model"));
    m->model_in_path = yyjson_is_true(yyjson_obj_get(root, "model_in_path"));
    yyjson_doc_free(doc);
}

const struct matrix_dialect *matrix_dialect(enum dialect_id id)
{
    static struct matrix_dialect dialects[DIALECT_COUNT];
    if (dialects[id].model.len == 0)
        load(&dialects[id], id);
    return &dialects[id];
}
