#include "form.h"

#include <stdio.h>

bool form_equal(const char *got, size_t len, const char *expected, size_t expected_len)
{
    const char *any = memchr(expected, FORM_ANY[0], expected_len);
    if (any == NULL)
        return len == expected_len && memcmp(got, expected, len) == 0;
    size_t before = (size_t)(any - expected);
    if (len < before || memcmp(got, expected, before) != 0)
        return false;
    expected += before + 1;
    expected_len -= before + 1;
    for (size_t at = before;; at++) {
        if (form_equal(got + at, len - at, expected, expected_len))
            return true;
        if (at == len || strchr("{}[]", got[at]) != NULL)
            return false;
    }
}

/* --- OpenAI's chat completions: what the mock speaks ---------------------------------------------
 */

static size_t openai_lead(char *out, size_t room, const struct options *options)
{
    return (size_t)snprintf(out, room, "{\"model\":\"%s%s\",\"user\":\"bench.",
                            options->model_prefix, options->model);
}

static size_t openai_middle(char *out, size_t room, const struct options *options)
{
    const char *stream = !options->is_stream ? ""
                         : options->asks_usage
                             ? "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                             : "\"stream\":true,";
    return (size_t)snprintf(out, room, ".%llu\",%s\"messages\":[{\"role\":\"user\",\"content\":\"",
                            (unsigned long long)options->prompt, stream);
}

/* The reason to stop, the usage if it is asked for, [DONE]. */
static unsigned openai_closings(bool expects_usage)
{
    return expects_usage ? 3 : 2;
}

static size_t openai_closing(char *out, const struct format_call *call, unsigned step,
                             bool expects_usage, uint64_t stamp)
{
    if (step == 0)
        return format_finish(out, call, stamp);
    if (step == 1 && expects_usage)
        return format_usage(out, call, stamp);
    FORMAT_PUT(out, FORMAT_DONE);
    return sizeof(FORMAT_DONE) - 1;
}

static bool openai_is_foreign(const struct format_call *call, const char *event, size_t len)
{
    size_t nonce_at = sizeof("data: " FORMAT_ID) - 1;
    return len > nonce_at + FORMAT_NONCE_LEN &&
           memcmp(event + nonce_at, call->nonce, FORMAT_NONCE_LEN) != 0;
}

/* --- Anthropic's messages, as weir writes what the mock has said ---------------------------------
 */

#define DELTA_START                                                                    \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0," \
    "\"delta\":{\"type\":\"text_delta\",\"text\":\""
#define MESSAGE_STOP "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
#define ANY_USAGE FORM_ANY "\"cache_creation\":{" FORM_ANY "},\"output_tokens\":"

static size_t anthropic_lead(char *out, size_t room, const struct options *options)
{
    return (size_t)snprintf(out, room,
                            "{\"model\":\"%s%s\",\"max_tokens\":1024,"
                            "\"metadata\":{\"user_id\":\"bench.",
                            options->model_prefix, options->model);
}

static size_t anthropic_middle(char *out, size_t room, const struct options *options)
{
    return (size_t)snprintf(out, room, ".%llu\"},%s\"messages\":[{\"role\":\"user\",\"content\":\"",
                            (unsigned long long)options->prompt,
                            options->is_stream ? "\"stream\":true," : "");
}

static char *anthropic_head(char *out, const struct format_call *call)
{
    out = FORMAT_PUT(out, "{\"id\":\"chatcmpl-");
    out = format_put(out, call->nonce, FORMAT_NONCE_LEN);
    out = FORMAT_PUT(out, "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"");
    out = format_put(out, call->name, call->name_len);
    return FORMAT_PUT(out, "\",\"content\":[");
}

static size_t anthropic_opening(char *out, const struct format_call *call, unsigned step)
{
    char *start = out;
    if (step == 0) {
        out =
            FORMAT_PUT(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
        out = anthropic_head(out, call);
        out = FORMAT_PUT(out, "],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":"
                              "{" ANY_USAGE FORM_ANY "}}}\n\n");
    } else {
        out = FORMAT_PUT(out, "event: content_block_start\ndata: {\"type\":\"content_block_start\","
                              "\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}"
                              "\n\n");
    }
    return (size_t)(out - start);
}

static size_t anthropic_token(char *out, const struct format_call *call, uint64_t seq,
                              uint64_t stamp)
{
    char *start = out;
    (void)stamp;
    out = FORMAT_PUT(out, DELTA_START);
    out = format_put_token_text(out, call, seq);
    out = FORMAT_PUT(out, "\"}}\n\n");
    return (size_t)(out - start);
}

static unsigned anthropic_closings(bool expects_usage)
{
    (void)expects_usage; /* it always comes */
    return 3;
}

static size_t anthropic_closing(char *out, const struct format_call *call, unsigned step,
                                bool expects_usage, uint64_t stamp)
{
    char *start = out;
    (void)expects_usage;
    (void)stamp;
    if (step == 0) {
        out = FORMAT_PUT(out, "event: content_block_stop\n"
                              "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
    } else if (step == 1) {
        out = FORMAT_PUT(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":"
                              "{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":"
                              "{" ANY_USAGE);
        out = format_put_number(out, call->model.tokens);
        out = FORMAT_PUT(out, "}}\n\n");
    } else {
        out = FORMAT_PUT(out, MESSAGE_STOP);
    }
    return (size_t)(out - start);
}

static size_t anthropic_answer(char *out, const struct format_call *call, uint64_t stamp)
{
    char *start = out;
    (void)stamp;
    size_t text_len = format_answer_text_len(call);
    out = anthropic_head(out, call);
    out = FORMAT_PUT(out, "{\"type\":\"text\",\"text\":\"");
    format_filler_write(out, text_len);
    out += text_len;
    out = FORMAT_PUT(out, "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":"
                          "{" ANY_USAGE);
    out = format_put_number(out, call->model.answer_bytes / 4);
    out = FORMAT_PUT(out, "}}");
    return (size_t)(out - start);
}

static size_t no_stamp(const struct format_call *call)
{
    (void)call;
    return 0;
}

/* Only the padding of a token, and the id in the first event, tell whose it is. */
static bool anthropic_is_foreign(const struct format_call *call, const char *event, size_t len)
{
    size_t text_at = sizeof(DELTA_START) - 1;
    size_t pad_at = text_at + FORMAT_TOKEN_LEN;
    if (len <= pad_at || memcmp(event, DELTA_START, text_at) != 0)
        return false;
    const char *end = memchr(event + pad_at, '"', len - pad_at);
    size_t pad_len = end != NULL ? (size_t)(end - event) - pad_at : 0;
    if (pad_len > FORMAT_NONCE_LEN)
        pad_len = FORMAT_NONCE_LEN;
    return memcmp(event + pad_at, call->nonce, pad_len) != 0;
}

static const struct form forms[] = {
    {.name = "openai_chat",
     .path = "/v1/chat/completions",
     .head = "",
     .token = "\"content\":\" t",
     .openings = 0,
     .lead = openai_lead,
     .middle = openai_middle,
     .tail = "\"}]}",
     .closings = openai_closings,
     .put_token = format_token,
     .closing = openai_closing,
     .answer = format_answer,
     .event_stamp_at = format_event_stamp_at,
     .answer_stamp_at = format_answer_stamp_at,
     .is_foreign = openai_is_foreign},
    {.name = "anthropic",
     .path = "/v1/messages",
     .head = "anthropic-version: 2023-06-01\r\n",
     .token = "\"text\":\" t",
     .ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
     .openings = 2,
     .lead = anthropic_lead,
     .middle = anthropic_middle,
     .tail = "\"}]}",
     .closings = anthropic_closings,
     .opening = anthropic_opening,
     .put_token = anthropic_token,
     .closing = anthropic_closing,
     .answer = anthropic_answer,
     .event_stamp_at = no_stamp,
     .answer_stamp_at = no_stamp,
     .is_foreign = anthropic_is_foreign},
};

const struct form *form_find(const char *name)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    return NULL;
}
