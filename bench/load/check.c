#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { HEAD_MAX = 16384 };

void check_begin(struct check *check, const struct form *form, const struct format_call *call,
                 bool is_stream, bool expects_usage, struct tally *tally)
{
    char *partial = check->partial;
    size_t room = check->partial_room;
    *check = (struct check){.form = form,
                            .call = *call,
                            .is_stream = is_stream,
                            .expects_usage = expects_usage,
                            .tally = tally,
                            .partial = partial,
                            .partial_room = room};
}

void check_fini(struct check *check)
{
    free(check->partial);
    check->partial = NULL;
    check->partial_room = 0;
}

static void keep(struct check *check, const char *bytes, size_t len)
{
    if (check->partial_len + len > check->partial_room) {
        check->partial_room = (check->partial_len + len) * 2;
        check->partial = realloc(check->partial, check->partial_room);
        if (check->partial == NULL) {
            fputs("load: out of memory\n", stderr);
            exit(1);
        }
    }
    memcpy(check->partial + check->partial_len, bytes, len);
    check->partial_len += len;
}

static void break_off(struct check *check, const char *what)
{
    tally_fault(check->tally, FAULT_FRAMING, "%s", what);
    check->phase = CHECK_BROKEN;
}

/* --- the events of a stream ----------------------------------------------------------------------
 */

/* Room for the answer or event that is expected. */
static char *scratch(size_t room)
{
    static char *bytes;
    static size_t size;
    if (room > size) {
        free(bytes);
        bytes = malloc(room);
        size = room;
        if (bytes == NULL) {
            fputs("load: out of memory\n", stderr);
            exit(1);
        }
    }
    return bytes;
}

/* Writes the event that must come next with the given time stamp. */
static size_t expected_event(const struct check *check, char *out, uint64_t stamp)
{
    const struct form *form = check->form;
    if (check->opened < form->openings)
        return form->opening(out, &check->call, check->opened);
    if (check->seq < check->call.model.tokens)
        return form->put_token(out, &check->call, check->seq, stamp);
    return form->closing(out, &check->call, check->closed, check->expects_usage, stamp);
}

static void count_token(struct check *check, uint64_t stamp, uint64_t now_ns)
{
    struct tally *tally = check->tally;
    tally->tokens++;
    if (stamp > 0 && now_ns > stamp)
        hist_add(&tally->transit, now_ns - stamp);
    if (check->first_token_ns == 0)
        check->first_token_ns = now_ns;
    else
        hist_add(&tally->gap, now_ns - check->last_token_ns);
    check->last_token_ns = now_ns;
}

static void accept_event(struct check *check, uint64_t stamp, uint64_t now_ns)
{
    const struct form *form = check->form;
    if (check->opened < form->openings) {
        check->opened++;
    } else if (check->seq < check->call.model.tokens) {
        check->seq++;
        count_token(check, stamp, now_ns);
    } else {
        check->closed++;
        check->has_done = check->closed == form->closings(check->expects_usage);
    }
}

static void miss(struct check *check, uint64_t up_to)
{
    for (uint64_t seq = check->seq; seq < up_to; seq++)
        tally_fault(check->tally, FAULT_LOST, "token %llu of %.16s did not come",
                    (unsigned long long)seq, check->call.nonce);
    check->missing_from = check->seq;
    check->missing_to = up_to;
}

/* A token came that is not the one that was due. */
static void stray_token(struct check *check, uint64_t seq)
{
    struct tally *tally = check->tally;
    unsigned long long got = seq;
    unsigned long long due = check->seq;
    if (seq == check->seq) {
        tally_fault(tally, FAULT_CORRUPT, "token %llu of %.16s was changed", got,
                    check->call.nonce);
        check->seq++;
    } else if (seq > check->seq) {
        miss(check, seq < check->call.model.tokens ? seq : check->call.model.tokens);
        check->seq = seq + 1;
    } else if (seq >= check->missing_from && seq < check->missing_to) {
        tally->faults[FAULT_LOST]--;
        tally_fault(tally, FAULT_REORDERED, "token %llu of %.16s came after token %llu", got,
                    check->call.nonce, due - 1);
    } else {
        tally_fault(tally, FAULT_DOUBLED, "token %llu of %.16s came again", got, check->call.nonce);
    }
}

/* Whether a closing came before its time: what was due before it is then lost. */
static bool is_early_closing(struct check *check, const char *event, size_t len, uint64_t stamp)
{
    const struct form *form = check->form;
    unsigned closings = form->closings(check->expects_usage);
    for (unsigned step = check->closed; step < closings; step++) {
        char *expected = scratch(FORMAT_SLACK);
        size_t expected_len =
            form->closing(expected, &check->call, step, check->expects_usage, stamp);
        if (!form_equal(event, len, expected, expected_len))
            continue;
        miss(check, check->call.model.tokens);
        check->seq = check->call.model.tokens;
        if (check->opened < form->openings || check->closed < step)
            tally_fault(check->tally, FAULT_LOST, "%.16s: an event of the frame did not come",
                        check->call.nonce);
        check->opened = form->openings;
        check->closed = step + 1;
        check->has_done = check->closed == closings;
        return true;
    }
    return false;
}

/* Finds out in which way an event is wrong. */
static void stray_event(struct check *check, const char *event, size_t len, uint64_t stamp)
{
    const struct form *form = check->form;
    const char *token = memmem(event, len, form->token, strlen(form->token));
    struct tally *tally = check->tally;
    if (is_early_closing(check, event, len, stamp))
        return;
    if (form->is_foreign(&check->call, event, len)) {
        tally_fault(tally, FAULT_FOREIGN, "in the stream %.16s: %.*s", check->call.nonce,
                    (int)(len < 100 ? len : 100), event);
    } else if (token != NULL &&
               event + len - token > (long)(strlen(form->token) + FORMAT_SEQ_LEN)) {
        if (check->opened < form->openings)
            tally_fault(tally, FAULT_LOST, "a token of %.16s came before the stream was opened",
                        check->call.nonce);
        check->opened = form->openings;
        char digits[FORMAT_SEQ_LEN + 1] = "";
        memcpy(digits, token + strlen(form->token), FORMAT_SEQ_LEN);
        stray_token(check, strtoull(digits, NULL, 10));
    } else {
        tally_fault(tally, FAULT_CORRUPT, "an event that was not sent so: %.*s",
                    (int)(len < 200 ? len : 200), event);
    }
}

/* Takes the last line off an event that has its number there (`id: 7`), as those of a resumable
 * stream have: they count from 1, and either all of them do or none. */
static const char *take_number(struct check *check, const char *event, size_t *len)
{
    static char plain[8192];
    const char *line = memrchr(event, '\n', *len - 2);
    char due[32];
    check->events++;
    if (line == NULL || memcmp(line, "\nid: ", 5) != 0) {
        if (check->is_numbered)
            tally_fault(check->tally, FAULT_CORRUPT, "an event of %.16s has no number",
                        check->call.nonce);
        return event;
    }
    int due_len = snprintf(due, sizeof(due), "\nid: %llu\n\n", (unsigned long long)check->events);
    size_t plain_len = (size_t)(line - event) + 2;
    if (*len - (size_t)(line - event) != (size_t)due_len ||
        memcmp(line, due, (size_t)due_len) != 0 || (check->events > 1 && !check->is_numbered))
        tally_fault(check->tally, FAULT_CORRUPT, "event %llu of %.16s has another number",
                    (unsigned long long)check->events, check->call.nonce);
    check->is_numbered = true;
    if (plain_len > sizeof(plain))
        return event;
    memcpy(plain, event, plain_len - 1);
    plain[plain_len - 1] = '\n';
    *len = plain_len;
    return plain;
}

/* One whole event, with the empty line that ends it. */
static void check_event(struct check *check, const char *event, size_t len, uint64_t now_ns)
{
    const char *ping = check->form->ping;
    if (event[0] == ':' || (ping != NULL && len == strlen(ping) && memcmp(event, ping, len) == 0)) {
        check->tally->comments++;
        return;
    }
    if (check->has_done) {
        tally_fault(check->tally, FAULT_FRAMING, "an event behind the end");
        return;
    }
    event = take_number(check, event, &len);
    size_t stamp_at = check->form->event_stamp_at(&check->call);
    uint64_t stamp = 0;
    if (stamp_at > 0 && len > stamp_at + FORMAT_STAMP_LEN)
        format_read_hex(event + stamp_at, &stamp);
    char *expected = scratch((size_t)check->call.model.event_bytes + FORMAT_SLACK);
    size_t expected_len = expected_event(check, expected, stamp);
    if (form_equal(event, len, expected, expected_len))
        accept_event(check, stamp, now_ns);
    else
        stray_event(check, event, len, stamp);
}

static void feed_events(struct check *check, const char *bytes, size_t len, uint64_t now_ns)
{
    while (len > 0) {
        if (check->partial_len == 0) {
            const char *end = memmem(bytes, len, "\n\n", 2);
            if (end == NULL) {
                keep(check, bytes, len);
                return;
            }
            size_t event_len = (size_t)(end - bytes) + 2;
            check_event(check, bytes, event_len, now_ns);
            bytes += event_len;
            len -= event_len;
            continue;
        }
        /* The end may lie across the cut: go on a byte at a time up to the next line break. */
        const char *line_end = memchr(bytes, '\n', len);
        size_t take = line_end != NULL ? (size_t)(line_end - bytes) + 1 : len;
        keep(check, bytes, take);
        bytes += take;
        len -= take;
        if (check->partial_len >= 2 &&
            memcmp(check->partial + check->partial_len - 2, "\n\n", 2) == 0) {
            size_t event_len = check->partial_len;
            check->partial_len = 0;
            check_event(check, check->partial, event_len, now_ns);
        }
    }
}

/* --- the body as a whole
 * ---------------------------------------------------------------------------- */

static void check_whole(struct check *check, const char *body, size_t len)
{
    size_t stamp_at = check->form->answer_stamp_at(&check->call);
    uint64_t stamp = 0;
    if (stamp_at > 0 && len > stamp_at + FORMAT_STAMP_LEN)
        format_read_hex(body + stamp_at, &stamp);
    char *expected = scratch((size_t)check->call.model.answer_bytes + FORMAT_SLACK);
    size_t expected_len = check->form->answer(expected, &check->call, stamp);
    if (!form_equal(body, len, expected, expected_len))
        tally_fault(check->tally, FAULT_CORRUPT, "the answer to %.16s was changed: %zu bytes",
                    check->call.nonce, len);
}

static void finish(struct check *check)
{
    check->phase = CHECK_DONE;
    if (check->is_refused) {
        tally_fault(check->tally, FAULT_STATUS, "%d %.*s", check->status,
                    (int)(check->partial_len < 240 ? check->partial_len : 240),
                    check->partial_len > 0 ? check->partial : "");
    } else if (!check->is_stream) {
        if (!check->has_done)
            check_whole(check, check->partial_len > 0 ? check->partial : "", check->partial_len);
    } else if (!check->has_done || check->partial_len > 0) {
        tally_fault(check->tally, FAULT_UNENDED,
                    "the stream %.16s ended at token %llu, not with its "
                    "last event",
                    check->call.nonce, (unsigned long long)check->seq);
    }
    check->partial_len = 0;
}

static void feed_content(struct check *check, const char *bytes, size_t len, uint64_t now_ns)
{
    check->left -= len;
    if (check->is_stream && !check->is_refused) {
        feed_events(check, bytes, len, now_ns);
    } else if (check->phase == CHECK_BODY && check->left == 0 && check->partial_len == 0 &&
               !check->is_refused) {
        check_whole(check, bytes, len); /* all of it at once, the usual case */
        check->has_done = true;
    } else {
        keep(check, bytes, len);
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes one byte of what stands between the data of two chunks (RFC 9112 section 7.1). */
static void feed_chunk_frame(struct check *check, char c)
{
    if (check->phase == CHECK_CHUNK_END) {
        if (c != (check->has_return ? '\n' : '\r'))
            break_off(check, "a chunk is longer than its size");
        else if (check->has_return)
            check->phase = CHECK_CHUNK_SIZE;
        check->has_return = !check->has_return;
        return;
    }
    if (check->phase == CHECK_TRAILER) {
        if (c == '\n' && check->is_line_empty)
            finish(check);
        else if (c != '\r')
            check->is_line_empty = c == '\n';
        return;
    }
    int digit = check->is_extension ? -1 : hex_value(c);
    if (digit >= 0) {
        check->left = check->left * 16 + (size_t)digit;
        check->has_digits = true;
    } else if (c == '\n' && check->has_digits) {
        check->phase = check->left > 0 ? CHECK_CHUNK_DATA : CHECK_TRAILER;
        check->is_line_empty = true;
        check->has_digits = check->is_extension = false;
    } else if (c == '\n' || (!check->is_extension && c != ';' && c != '\r')) {
        break_off(check, "a chunk without a size");
    } else {
        check->is_extension = true;
    }
}

static bool has_name(const char *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    return len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0;
}

static void read_head(struct check *check, const char *head, size_t len)
{
    const char *end = head + len - 2;
    bool is_chunked = false;
    bool has_length = false;
    if (memcmp(head, "HTTP/1.1 ", 9) != 0) {
        break_off(check, "not an HTTP/1.1 answer");
        return;
    }
    check->status = (int)strtol(head + 9, NULL, 10);
    if (check->status / 100 == 1)
        return; /* an interim answer; the real one follows */
    check->is_refused = check->status != 200;
    const char *line_end = memchr(head, '\n', len);
    while (line_end != NULL && line_end + 1 < end) {
        const char *line = line_end + 1;
        line_end = memchr(line, '\n', (size_t)(end + 2 - line));
        size_t line_len = line_end != NULL ? (size_t)(line_end - line) : 0;
        if (has_name(line, line_len, "content-length")) {
            has_length = true;
            check->left = (size_t)strtoull(line + sizeof("content-length:") - 1, NULL, 10);
        } else if (has_name(line, line_len, "transfer-encoding")) {
            is_chunked = memmem(line, line_len, "chunked", 7) != NULL;
        } else if (has_name(line, line_len, "connection")) {
            check->is_last = memmem(line, line_len, "close", 5) != NULL;
        }
    }
    if (is_chunked == has_length) {
        break_off(check, "an answer with both lengths, or with none");
        return;
    }
    check->phase = is_chunked ? CHECK_CHUNK_SIZE : CHECK_BODY;
    if (is_chunked)
        check->left = 0;
    else if (check->left == 0)
        finish(check);
}

/* Takes what belongs to the head; returns how much that was. */
static size_t feed_head(struct check *check, const char *bytes, size_t len)
{
    if (check->partial_len == 0) {
        const char *end = memmem(bytes, len, "\r\n\r\n", 4);
        if (end != NULL) {
            read_head(check, bytes, (size_t)(end - bytes) + 4);
            return (size_t)(end - bytes) + 4;
        }
        keep(check, bytes, len);
        return len;
    }
    size_t before = check->partial_len;
    keep(check, bytes, len);
    size_t from = before > 3 ? before - 3 : 0;
    const char *end = memmem(check->partial + from, check->partial_len - from, "\r\n\r\n", 4);
    if (end == NULL) {
        if (check->partial_len > HEAD_MAX)
            break_off(check, "an endless head");
        return len;
    }
    size_t head_len = (size_t)(end - check->partial) + 4;
    check->partial_len = 0;
    read_head(check, check->partial, head_len);
    return head_len - before;
}

void check_feed(struct check *check, const char *bytes, size_t len, uint64_t now_ns)
{
    check->tally->bytes += len;
    while (len > 0 && check->phase < CHECK_DONE) {
        size_t used = 1;
        if (check->phase == CHECK_HEAD) {
            used = feed_head(check, bytes, len);
        } else if (check->phase == CHECK_BODY || check->phase == CHECK_CHUNK_DATA) {
            used = check->left < len ? check->left : len;
            feed_content(check, bytes, used, now_ns);
            if (check->left == 0 && check->phase == CHECK_BODY)
                finish(check);
            else if (check->left == 0)
                check->phase = CHECK_CHUNK_END;
        } else {
            feed_chunk_frame(check, *bytes);
        }
        bytes += used;
        len -= used;
    }
    if (len > 0 && check->phase == CHECK_DONE)
        break_off(check, "bytes behind the end of the answer");
}

void check_cut(struct check *check)
{
    if (check->phase == CHECK_HEAD)
        tally_fault(check->tally, FAULT_RESET, "the connection ended before the answer began");
    else
        tally_fault(check->tally, FAULT_UNENDED, "the answer to %.16s was cut at token %llu",
                    check->call.nonce, (unsigned long long)check->seq);
    check->phase = CHECK_BROKEN;
}
