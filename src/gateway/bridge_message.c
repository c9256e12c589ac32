#include "base/json.h"
#include "gateway/bridge_private.h"

/* What the client says: one object a message (docs/websocket.md lists the members). */

enum member { ID, METHOD, PATH, HEADERS, BODY, RESUME, AFTER, CREDIT, CANCEL, MEMBER_COUNT };

static const struct json_want wants[MEMBER_COUNT] = {
    [ID] = {{STR_INIT("id")}},         [METHOD] = {{STR_INIT("method")}},
    [PATH] = {{STR_INIT("path")}},     [HEADERS] = {{STR_INIT("headers")}},
    [BODY] = {{STR_INIT("body")}},     [RESUME] = {{STR_INIT("resume")}},
    [AFTER] = {{STR_INIT("after")}},   [CREDIT] = {{STR_INIT("credit")}},
    [CANCEL] = {{STR_INIT("cancel")}},
};

/* Why a message was not acted on; it changes nothing of the requests that run. */
static void refuse_message(struct bridge *b, struct str id, const char *code, struct str message)
{
    struct buf out = BUF_INIT;
    BUF_LIT(&out, "{");
    if (id.len > 0)
        buf_printf(&out, "\"id\":%.*s,", STR_ARG(id));
    buf_printf(&out, "\"error\":{\"code\":\"%s\",\"message\":", code);
    buf_add_json(&out, message);
    BUF_LIT(&out, "}}");
    if (buf_ok(&out))
        bridge_send(b, buf_str(&out));
    else
        bridge_break(b);
    buf_fini(&out);
}

/* --- reading --- */

static int invalid(const char *what)
{
    return err_set(ERR_INVALID, FAULT_CLIENT, "%s", what);
}

static bool is_text(enum json_kind kind)
{
    return kind == JSON_STRING || kind == JSON_NONE;
}

/* A count that may be left out; -1 then. */
static int read_count(struct json_value value, const char *what, int64_t *out)
{
    *out = -1;
    if (value.kind == JSON_NONE)
        return 0;
    if (value.kind == JSON_NUMBER && json_number_i64(value, out) && *out >= 0)
        return 0;
    return invalid(what);
}

/* What each may be, where it is there at all. */
static int read_members(const struct json_value values[MEMBER_COUNT], struct bridge_wish *wish)
{
    enum json_kind resume = values[RESUME].kind, cancel = values[CANCEL].kind;
    if (!is_text(values[METHOD].kind) || !is_text(values[PATH].kind))
        return invalid("\"method\" and \"path\" must be strings");
    if (values[HEADERS].kind != JSON_OBJECT && values[HEADERS].kind != JSON_NONE)
        return invalid("\"headers\" must be an object of strings");
    if (!is_text(resume) && resume != JSON_TRUE && resume != JSON_FALSE)
        return invalid("\"resume\" must be true, or the id of a stream");
    if (cancel != JSON_NONE && cancel != JSON_TRUE)
        return invalid("\"cancel\" must be true");
    wish->method = json_string_raw(values[METHOD]);
    wish->path = json_string_raw(values[PATH]);
    wish->headers = values[HEADERS].text;
    wish->body = values[BODY].text;
    wish->resume = json_string_raw(values[RESUME]);
    wish->wants_resume = resume == JSON_TRUE;
    wish->cancels = cancel == JSON_TRUE;
    int r = read_count(values[CREDIT], "\"credit\" must be a count of messages", &wish->credit);
    return r < 0 ? r
                 : read_count(values[AFTER], "\"after\" must be the number of an event",
                              &wish->after);
}

static int read_wish(struct bridge *b, struct str message, struct bridge_wish *wish)
{
    struct json_value values[MEMBER_COUNT] = {0};
    struct json_scan scan;
    int r = json_scan_object(message, b->ex->settings->json_depth + 1, wants, MEMBER_COUNT, &scan);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < MEMBER_COUNT; i++) {
        const struct json_found *found = &scan.found[i];
        if (found->is_duplicate)
            return invalid("a member is there more than once");
        if (found->kind != JSON_NONE)
            values[i] = (struct json_value){found->kind, json_span_str(message, found->value)};
    }
    struct str id = values[ID].text;
    bool is_id = values[ID].kind == JSON_STRING || values[ID].kind == JSON_NUMBER;
    if (!is_id || id.len > BRIDGE_ID_MAX)
        return invalid("\"id\" must be a string of up to 64 characters, or a number");
    wish->id = id;
    return read_members(values, wish);
}

/* --- acting --- */

static struct bridge_stream *find(struct bridge *b, struct str id)
{
    LIST_FOR_EACH(node, &b->streams)
    {
        struct bridge_stream *s = CONTAINER_OF(node, struct bridge_stream, node);
        if (str_eq(s->id, id))
            return s;
    }
    return NULL;
}

static void begin(struct bridge *b, const struct bridge_wish *wish)
{
    if (b->is_draining) {
        refuse_message(b, wish->id, "shutting_down",
                       STR("The gateway is shutting down: open another socket."));
    } else if (b->count >= b->settings->requests) {
        refuse_message(b, wish->id, "too_many_requests",
                       STR("The socket carries as many requests as it may (bridge.requests)."));
    } else {
        int r = bridge_stream_start(b, wish);
        if (r == -ERR_NOMEM)
            refuse_message(b, wish->id, "overloaded", STR("The gateway is out of memory."));
        else if (r < 0)
            refuse_message(b, wish->id, "invalid_message", str_c(err_slot()->message));
    }
}

void bridge_take(struct bridge *b, struct str message)
{
    struct bridge_wish wish = {0};
    if (read_wish(b, message, &wish) < 0) {
        refuse_message(b, wish.id, "invalid_message", str_c(err_slot()->message));
        return;
    }
    struct bridge_stream *s = find(b, wish.id);
    bool is_new = wish.path.len > 0 || wish.resume.len > 0;
    if (is_new && s != NULL)
        refuse_message(b, wish.id, "id_in_use",
                       STR("A request of this id runs on this socket still."));
    else if (is_new)
        begin(b, &wish);
    else if (s != NULL && wish.cancels)
        bridge_stream_cancel(s, ERR_RESET);
    else if (s != NULL && wish.credit >= 0)
        bridge_stream_credit(s, wish.credit);
    else if (!wish.cancels && wish.credit < 0)
        refuse_message(b, wish.id, "invalid_message",
                       STR("The message needs \"path\", \"resume\", \"credit\" or \"cancel\"."));
    /* Else the request has ended by itself meanwhile, and the client has yet to hear of it. */
}
