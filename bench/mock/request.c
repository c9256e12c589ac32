#include "request.h"

#include <stdlib.h>
#include <strings.h>

void request_reset(struct request *request)
{
    /* All but the windows, whose lengths say how much of them counts. */
    memset(request, 0, offsetof(struct request, method));
}

static void request_break(struct request *request, const char *problem)
{
    request->phase = REQUEST_BROKEN;
    request->problem = problem;
}

/* Copies a word that ends in a blank; returns what follows it, or NULL if it does not fit. */
static const char *copy_word(char *out, size_t size, const char *from, const char *end)
{
    const char *blank = memchr(from, ' ', (size_t)(end - from));
    if (blank == NULL || (size_t)(blank - from) >= size)
        return NULL;
    memcpy(out, from, (size_t)(blank - from));
    out[blank - from] = '\0';
    return blank + 1;
}

static bool has_name(const char *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    return len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0;
}

static void read_header(struct request *request, const char *line, size_t len)
{
    if (has_name(line, len, "content-length")) {
        const char *digits = line + sizeof("content-length:") - 1;
        request->body_len = (size_t)strtoull(digits, NULL, 10);
    } else if (has_name(line, len, "transfer-encoding")) {
        request_break(request, "the mock takes bodies with Content-Length only");
    } else if (has_name(line, len, "expect")) {
        request->wants_continue = true;
    } else if (has_name(line, len, "connection")) {
        request->is_last = memmem(line, len, "close", 5) != NULL;
    }
}

static void read_head(struct request *request, size_t len)
{
    const char *end = request->head + len;
    const char *line_end = memmem(request->head, len, "\r\n", 2);
    const char *at = copy_word(request->method, sizeof(request->method), request->head, line_end);
    if (at == NULL || copy_word(request->path, sizeof(request->path), at, line_end) == NULL) {
        request_break(request, "the request line cannot be read");
        return;
    }
    request->phase = REQUEST_BODY;
    while (line_end + 2 < end) {
        const char *line = line_end + 2;
        line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (line_end == NULL)
            break;
        read_header(request, line, (size_t)(line_end - line));
    }
    if (request->phase == REQUEST_BODY && request->body_len == 0)
        request->phase = REQUEST_DONE;
}

/* Finds `"name":` in a piece of JSON and returns where its value starts, or NULL. */
static const char *find_value(const char *json, size_t len, const char *quoted_name)
{
    size_t name_len = strlen(quoted_name);
    const char *end = json + len;
    const char *at = memmem(json, len, quoted_name, name_len);
    if (at == NULL)
        return NULL;
    at += name_len;
    while (at < end && (*at == ' ' || *at == ':'))
        at++;
    return at < end ? at : NULL;
}

static bool is_true_in(const char *json, size_t len, const char *quoted_name)
{
    const char *value = find_value(json, len, quoted_name);
    return value != NULL && json + len - value >= 4 && memcmp(value, "true", 4) == 0;
}

static void read_model(struct request *request)
{
    struct format_call *call = &request->call;
    const char *end = request->front + request->front_len;
    const char *value = find_value(request->front, request->front_len, "\"model\"");
    const char *quote = NULL;
    if (value != NULL && *value == '"')
        quote = memchr(value + 1, '"', (size_t)(end - value - 1));
    if (quote == NULL || quote - value - 1 > FORMAT_MODEL_MAX) {
        request->problem = "the body has no model name near its beginning";
        return;
    }
    call->name_len = (size_t)(quote - value - 1);
    memcpy(call->name, value + 1, call->name_len);
    call->name[call->name_len] = '\0';
    if (!format_model_parse(call->name, call->name_len, &call->model))
        request->problem = "the model name is none of the mock's";
}

/* The load generator writes "user":"bench.<nonce>.<bytes of the prompt>". A gateway that translates
 * may have put it behind the prompt. */
static void read_user(struct request *request)
{
    static const char mark[] = "\"bench.";
    memset(request->call.nonce, '0', FORMAT_NONCE_LEN);
    const char *end = request->front + request->front_len;
    const char *value = memmem(request->front, request->front_len, mark, sizeof(mark) - 1);
    size_t need = sizeof(mark) - 1 + FORMAT_NONCE_LEN + 2;
    if (value == NULL || (size_t)(end - value) < need)
        return;
    value += sizeof(mark) - 1;
    memcpy(request->call.nonce, value, FORMAT_NONCE_LEN);
    request->call.prompt_bytes = strtoull(value + FORMAT_NONCE_LEN + 1, NULL, 10);
    const char *prompt = find_value(request->front, request->front_len, "\"content\"");
    if (prompt == NULL) {
        request->problem = "the body has no prompt near its beginning";
        return;
    }
    request->prompt_at = (size_t)(prompt - request->front) + 1;
    request->prompt_len = (size_t)request->call.prompt_bytes;
}

/* Compares the part of the prompt that lies in a piece of the body with what was sent. */
static void check_prompt(struct request *request, const char *piece, size_t len, size_t offset)
{
    if (request->prompt_at == 0)
        return;
    size_t prompt_end = request->prompt_at + request->prompt_len;
    size_t from = offset > request->prompt_at ? offset : request->prompt_at;
    size_t to = offset + len < prompt_end ? offset + len : prompt_end;
    if (from < to && !format_filler_equal(piece + (from - offset), to - from,
                                          from - request->prompt_at, request->prompt_len))
        request->problem = "the prompt arrived damaged";
    if (offset <= prompt_end && prompt_end < offset + len && piece[prompt_end - offset] != '"')
        request->problem = "the prompt arrived with another length";
}

static void read_front(struct request *request)
{
    request->is_front_read = true;
    request->is_stream = is_true_in(request->front, request->front_len, "\"stream\"");
    read_model(request);
    read_user(request);
    check_prompt(request, request->front, request->front_len, 0);
}

static void keep_back(struct request *request, const char *piece, size_t len)
{
    if (len >= REQUEST_BACK_BYTES) {
        memcpy(request->back, piece + len - REQUEST_BACK_BYTES, REQUEST_BACK_BYTES);
        request->back_len = REQUEST_BACK_BYTES;
        return;
    }
    size_t keep = request->back_len;
    if (keep + len > REQUEST_BACK_BYTES)
        keep = REQUEST_BACK_BYTES - len;
    memmove(request->back, request->back + request->back_len - keep, keep);
    memcpy(request->back + keep, piece, len);
    request->back_len = keep + len;
}

static void finish_body(struct request *request)
{
    request->phase = REQUEST_DONE;
    request->wants_usage = is_true_in(request->front, request->front_len, "\"include_usage\"") ||
                           is_true_in(request->back, request->back_len, "\"include_usage\"");
    if (!request->is_stream)
        request->is_stream = is_true_in(request->back, request->back_len, "\"stream\"");
    if (request->prompt_at + request->prompt_len > request->body_len)
        request->problem = "the prompt arrived cut off";
}

static size_t feed_body(struct request *request, const char *bytes, size_t len)
{
    size_t take = request->body_len - request->body_seen;
    if (take > len)
        take = len;
    size_t offset = request->body_seen;
    request->body_seen += take;
    size_t room = REQUEST_FRONT_BYTES - request->front_len;
    size_t to_front = take < room ? take : room;
    memcpy(request->front + request->front_len, bytes, to_front);
    request->front_len += to_front;
    keep_back(request, bytes, take);
    if (request->is_front_read)
        check_prompt(request, bytes, take, offset);
    bool is_whole = request->body_seen == request->body_len;
    if (!request->is_front_read && (is_whole || request->front_len == REQUEST_FRONT_BYTES)) {
        read_front(request);
        check_prompt(request, bytes + to_front, take - to_front, offset + to_front);
    }
    if (is_whole)
        finish_body(request);
    return take;
}

static size_t feed_head(struct request *request, const char *bytes, size_t len)
{
    size_t before = request->head_len;
    size_t take = REQUEST_HEAD_MAX - before < len ? REQUEST_HEAD_MAX - before : len;
    memcpy(request->head + before, bytes, take);
    size_t search_from = before > 3 ? before - 3 : 0;
    const char *end =
        memmem(request->head + search_from, before + take - search_from, "\r\n\r\n", 4);
    if (end == NULL) {
        request->head_len = before + take;
        if (request->head_len == REQUEST_HEAD_MAX)
            request_break(request, "the request head is too large");
        return take;
    }
    request->head_len = (size_t)(end - request->head) + 4;
    read_head(request, request->head_len);
    return request->head_len - before;
}

size_t request_feed(struct request *request, const char *bytes, size_t len)
{
    size_t used = 0;
    if (request->phase == REQUEST_HEAD)
        used = feed_head(request, bytes, len);
    if (request->phase == REQUEST_BODY && used < len)
        used += feed_body(request, bytes + used, len - used);
    return used;
}
