#include "dialect/gemini/logprobs.h"

#include "dialect/gemini/codec.h"
#include "dialect/gemini/member.h"

/* --- reading --- */

/* "token":...,"logprob":...,"bytes":null. Bytes are not told; they may be null. */
static bool read_token(struct buf *out, struct json_value candidate)
{
    struct json_value token, number;
    if (candidate.kind != JSON_OBJECT || !gemini_find(candidate.text, "token", &token) ||
        token.kind != JSON_STRING)
        return false;
    BUF_LIT(out, "\"token\":");
    text_write(out, text_of(token));
    BUF_LIT(out, ",\"logprob\":");
    /* Zero, a probability of one, is left out by protobuf. */
    struct str logprob =
        gemini_find(candidate.text, "logProbability", &number) ? gemini_number(number) : STR_EMPTY;
    buf_add_str(out, logprob.len > 0 ? logprob : STR("0"));
    BUF_LIT(out, ",\"bytes\":null");
    return true;
}

static void read_top(struct buf *out, struct json_value step)
{
    struct json_value candidates, candidate;
    struct gemini_list list;
    if (step.kind != JSON_OBJECT || !gemini_find(step.text, "candidates", &candidates))
        return;
    gemini_list_init(&list, candidates);
    while (gemini_list_next(&list, &candidate)) {
        size_t before = out->len;
        gemini_comma(out);
        buf_add_char(out, '{');
        if (read_token(out, candidate))
            buf_add_char(out, '}');
        else
            out->len = MIN(before, out->len);
    }
}

void gemini_read_logprobs(struct buf *out, struct str result)
{
    struct json_value chosen, top, candidate, step;
    struct gemini_list tokens, steps;
    size_t start = out->len;
    bool has_any = false;
    if (!gemini_find(result, "chosenCandidates", &chosen))
        return;
    bool has_top = gemini_find(result, "topCandidates", &top);
    gemini_list_init(&tokens, chosen);
    gemini_list_init(&steps, top);
    buf_add_char(out, '[');
    while (gemini_list_next(&tokens, &candidate)) {
        bool has_step = has_top && gemini_list_next(&steps, &step);
        size_t before = out->len;
        gemini_comma(out);
        buf_add_char(out, '{');
        if (!read_token(out, candidate)) {
            out->len = MIN(before, out->len);
            continue;
        }
        BUF_LIT(out, ",\"top_logprobs\":[");
        if (has_step)
            read_top(out, step);
        BUF_LIT(out, "]}");
        has_any = true;
    }
    if (has_any)
        buf_add_char(out, ']');
    else
        out->len = MIN(start, out->len);
}

/* --- writing --- */

static bool write_candidate(struct buf *out, struct json_value object)
{
    struct json_value token, number;
    if (object.kind != JSON_OBJECT || !json_find(object.text, "token", &token) ||
        token.kind != JSON_STRING || !json_find(object.text, "logprob", &number) ||
        number.kind != JSON_NUMBER)
        return false;
    gemini_comma(out);
    BUF_LIT(out, "{\"token\":");
    text_write(out, text_of(token));
    BUF_LIT(out, ",\"logProbability\":");
    buf_add_str(out, number.text);
    buf_add_char(out, '}');
    return true;
}

/* The alternatives of one token; an empty list keeps the lists of one length. */
static void write_step(struct buf *out, struct str token)
{
    struct json_cursor cursor;
    struct json_value top, item;
    gemini_comma(out);
    BUF_LIT(out, "{\"candidates\":[");
    if (json_find(token, "top_logprobs", &top) && top.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, top.text);
        while (json_iter_array(&cursor, &item) == 1)
            (void)write_candidate(out, item);
    }
    BUF_LIT(out, "]}");
}

void gemini_write_logprobs(struct buf *out, struct str tokens)
{
    struct buf chosen = BUF_INIT;
    struct json_cursor cursor;
    struct json_value item;
    BUF_LIT(out, "{\"topCandidates\":[");
    json_cursor_init(&cursor, tokens);
    while (json_iter_array(&cursor, &item) == 1) {
        if (write_candidate(&chosen, item))
            write_step(out, item.text);
    }
    BUF_LIT(out, "],\"chosenCandidates\":[");
    buf_add_str(out, buf_str(&chosen));
    BUF_LIT(out, "]}");
    out->failed |= !buf_ok(&chosen);
    buf_fini(&chosen);
}
