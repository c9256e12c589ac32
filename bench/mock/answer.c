#include "answer.h"

#include <stdio.h>

static const char stream_head[] = "HTTP/1.1 200 OK\r\n"
                                  "Date: Mon, 01 Sep 2025 12:00:00 GMT\r\n"
                                  "Content-Type: text/event-stream; charset=utf-8\r\n"
                                  "Transfer-Encoding: chunked\r\n"
                                  "Cache-Control: no-cache\r\n"
                                  "openai-processing-ms: 12\r\n"
                                  "x-request-id: req_";
static const char answer_head[] = "HTTP/1.1 200 OK\r\n"
                                  "Date: Mon, 01 Sep 2025 12:00:00 GMT\r\n"
                                  "Content-Type: application/json\r\n"
                                  "openai-processing-ms: 12\r\n"
                                  "x-request-id: req_";
static const char close_header[] = "\r\nConnection: close";

size_t answer_room(const struct answer *answer)
{
    /* At the most two tokens in a step, or the end of a stream, or the whole of an answer. */
    size_t body = answer->is_stream ? 2 * (size_t)answer->call.model.event_bytes
                                    : (size_t)answer->call.model.answer_bytes;
    return body + (size_t)6 * FORMAT_SLACK;
}

/* Room for the size line of a chunk: an event is written behind it, and then moved up to it. */
enum { CHUNK_ROOM = 8 };

/* Puts the chunk's frame around an event that stands at out + CHUNK_ROOM; returns the end. */
static char *close_chunk(char *out, size_t event_len)
{
    char size[CHUNK_ROOM];
    size_t digits = 0;
    for (size_t rest = event_len; rest > 0; rest >>= 4)
        size[digits++] = "0123456789abcdef"[rest & 15];
    char *start = out;
    while (digits > 0)
        *out++ = size[--digits];
    *out++ = '\r';
    *out++ = '\n';
    memmove(out, start + CHUNK_ROOM, event_len);
    out += event_len;
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

static char *put_token(char *out, const struct format_call *call, uint64_t seq, uint64_t now_ns)
{
    return close_chunk(out, format_token(out + CHUNK_ROOM, call, seq, now_ns));
}

static char *put_head(char *out, const struct answer *answer)
{
    if (answer->is_stream)
        out = FORMAT_PUT(out, stream_head);
    else
        out = FORMAT_PUT(out, answer_head);
    out = format_put(out, answer->call.nonce, FORMAT_NONCE_LEN);
    if (answer->is_last)
        out = FORMAT_PUT(out, close_header);
    return out;
}

/* Carries out the fault that is due at this token. */
static char *put_fault(struct answer *answer, uint64_t now_ns, char *out)
{
    struct format_call *call = &answer->call;
    uint64_t seq = answer->seq++;
    if (call->model.fault == FORMAT_FAULT_DROP)
        return out;
    if (call->model.fault == FORMAT_FAULT_SWAP) {
        out = put_token(out, call, seq + 1, now_ns);
        answer->seq++;
    }
    if (call->model.fault == FORMAT_FAULT_FOREIGN) {
        struct format_call other = *call;
        other.nonce[0] = other.nonce[0] == 'e' ? 'f' : 'e';
        return put_token(out, &other, seq, now_ns);
    }
    char *start = out;
    out = put_token(out, call, seq, now_ns);
    if (call->model.fault == FORMAT_FAULT_DUP)
        out = put_token(out, call, seq, now_ns);
    if (call->model.fault == FORMAT_FAULT_CORRUPT) {
        char *letter = memmem(start, (size_t)(out - start), "\"choices\"", 9);
        letter[1] = 'K';
    }
    return out;
}

static char *put_end(const struct answer *answer, uint64_t now_ns, char *out)
{
    const struct format_call *call = &answer->call;
    out = close_chunk(out, format_finish(out + CHUNK_ROOM, call, now_ns));
    if (answer->wants_usage)
        out = close_chunk(out, format_usage(out + CHUNK_ROOM, call, now_ns));
    if (call->model.fault != FORMAT_FAULT_NODONE) {
        FORMAT_PUT(out + CHUNK_ROOM, FORMAT_DONE);
        out = close_chunk(out, sizeof(FORMAT_DONE) - 1);
    }
    if (call->model.fault != FORMAT_FAULT_NOEND)
        out = FORMAT_PUT(out, "0\r\n\r\n");
    return out;
}

static enum answer_next whole_step(struct answer *answer, uint64_t now_ns, char *out, size_t *len)
{
    char *at = put_head(out, answer);
    /* The body is written behind the place that the rest of the head will take. */
    char *body = at + 64;
    size_t body_len = format_answer(body, &answer->call, now_ns);
    at = FORMAT_PUT(at, "\r\nContent-Length: ");
    at = format_put_number(at, body_len);
    at = FORMAT_PUT(at, "\r\n\r\n");
    memmove(at, body, body_len);
    *len = (size_t)(at - out) + body_len;
    if (answer->call.model.fault == FORMAT_FAULT_CUT) {
        *len -= body_len / 2;
        return ANSWER_CUT;
    }
    if (answer->call.model.fault == FORMAT_FAULT_CORRUPT)
        at[body_len / 2] ^= 1;
    return ANSWER_END;
}

enum answer_next answer_step(struct answer *answer, uint64_t now_ns, uint64_t random, char *out,
                             size_t *len)
{
    if (!answer->is_stream)
        return whole_step(answer, now_ns, out, len);
    const struct format_model *model = &answer->call.model;
    char *at = out;
    if (answer->seq == 0) {
        at = put_head(at, answer);
        at = FORMAT_PUT(at, "\r\n\r\n");
        answer->due_ns = now_ns;
    }
    enum answer_next next = ANSWER_PAUSE;
    if (answer->seq >= model->tokens) {
        at = put_end(answer, now_ns, at);
        next = model->fault == FORMAT_FAULT_NOEND ? ANSWER_CUT : ANSWER_END;
    } else if (model->fault == FORMAT_FAULT_CUT && answer->seq == model->fault_at) {
        next = ANSWER_CUT;
    } else if (model->fault != FORMAT_FAULT_NONE && answer->seq == model->fault_at) {
        at = put_fault(answer, now_ns, at);
    } else {
        at = put_token(at, &answer->call, answer->seq++, now_ns);
    }
    *len = (size_t)(at - out);
    if (next == ANSWER_PAUSE && model->is_held && !answer->was_held) {
        answer->was_held = true;
        return ANSWER_HOLD;
    }
    /* Between three quarters and five quarters of the mean, as no provider is a metronome; counted
     * from when the last one was due, so that the rate holds. */
    if (model->gap_ns > 0)
        answer->due_ns += model->gap_ns * 3 / 4 + random % (model->gap_ns / 2 + 1);
    else
        answer->due_ns = now_ns;
    return next;
}

size_t answer_plain(char *out, const char *status, const char *body, bool is_last)
{
    return (size_t)sprintf(out,
                           "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                           "Content-Length: %zu%s\r\n\r\n%s",
                           status, strlen(body), is_last ? close_header : "", body);
}
