/*
 * What the mock upstream and the load generator agree on: the wire form of every answer.
 * Any thread; pure functions over the caller's memory.
 * Nothing here yields.
 * The caller owns every buffer and promises the size that each function names.
 * Only format_model_parse can fail: false for a name that is not of the grammar.
 *
 * Both sides can write down every byte of an answer from the model name, the nonce and the prompt's
 * length; only the sixteen digits of the sending time are the mock's own. So the load generator
 * compares what arrives with what must arrive, byte for byte.
 */
#ifndef WEIR_BENCH_FORMAT_H
#define WEIR_BENCH_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    FORMAT_NONCE_LEN = 16,
    FORMAT_STAMP_LEN = 16,
    FORMAT_SEQ_LEN = 7,
    FORMAT_TOKEN_LEN = 2 + FORMAT_SEQ_LEN, /* of a token's text without its padding */
    FORMAT_MODEL_MAX = 80,
    FORMAT_FILLER_PERIOD = 4093,
    FORMAT_EVENT_MAX = 65536,
    FORMAT_ANSWER_MAX = 16 << 20,
    /* What an answer or an event may need beyond its configured size. */
    FORMAT_SLACK = 1024,
};

/* The things that the mock can do wrong on purpose, at the token `fault_at`. */
enum format_fault {
    FORMAT_FAULT_NONE,
    FORMAT_FAULT_DROP,    /* leaves the token out */
    FORMAT_FAULT_DUP,     /* sends it twice */
    FORMAT_FAULT_SWAP,    /* sends the next one first */
    FORMAT_FAULT_CORRUPT, /* changes one byte of it */
    FORMAT_FAULT_FOREIGN, /* gives it another stream's nonce */
    FORMAT_FAULT_CUT,     /* closes the connection instead of sending it */
    FORMAT_FAULT_NODONE,  /* ends the stream without data: [DONE] */
    FORMAT_FAULT_NOEND,   /* closes the connection without the last chunk */
};

/* A model name, read: "bench-50tok-20ms-1024b" and so on; format_model_words lists the words. */
struct format_model {
    uint64_t tokens;       /* of a stream */
    uint64_t gap_ns;       /* mean time between two tokens; 0 as fast as the reader takes them */
    uint64_t wait_ns;      /* before the first byte of the answer */
    uint64_t event_bytes;  /* of one token's event */
    uint64_t answer_bytes; /* of the body of an answer that is not a stream */
    uint64_t fault_at;
    enum format_fault fault;
    bool is_held; /* nothing after the first token (or before the answer) until POST /release */
};

struct format_word {
    const char *word;
    size_t offset; /* of the uint64_t that the number goes to */
    uint64_t scale;
    enum format_fault fault;
};

#define FORMAT_FIELD(name) offsetof(struct format_model, name)

static const struct format_word format_model_words[] = {
    {"tok", FORMAT_FIELD(tokens), 1, FORMAT_FAULT_NONE},
    {"ms", FORMAT_FIELD(gap_ns), 1000000, FORMAT_FAULT_NONE},
    {"us", FORMAT_FIELD(gap_ns), 1000, FORMAT_FAULT_NONE},
    {"wait", FORMAT_FIELD(wait_ns), 1000000, FORMAT_FAULT_NONE},
    {"ev", FORMAT_FIELD(event_bytes), 1, FORMAT_FAULT_NONE},
    {"b", FORMAT_FIELD(answer_bytes), 1, FORMAT_FAULT_NONE},
    {"drop", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_DROP},
    {"dup", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_DUP},
    {"swap", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_SWAP},
    {"corrupt", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_CORRUPT},
    {"foreign", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_FOREIGN},
    {"cut", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_CUT},
    {"nodone", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_NODONE},
    {"noend", FORMAT_FIELD(fault_at), 1, FORMAT_FAULT_NOEND},
};

/* Reads one "<number><word>" of a model name. */
static inline bool format_model_part(const char *part, size_t len, struct format_model *model)
{
    size_t digits = 0;
    uint64_t number = 0;
    while (digits < len && digits < 12 && part[digits] >= '0' && part[digits] <= '9')
        number = number * 10 + (uint64_t)(part[digits++] - '0');
    const char *word = part + digits;
    size_t word_len = len - digits;
    if (word_len == 4 && memcmp(word, "hold", 4) == 0) {
        model->is_held = true;
        return true;
    }
    for (size_t i = 0; i < sizeof(format_model_words) / sizeof(format_model_words[0]); i++) {
        const struct format_word *entry = &format_model_words[i];
        if (strlen(entry->word) != word_len || memcmp(entry->word, word, word_len) != 0)
            continue;
        uint64_t value = number * entry->scale;
        memcpy((char *)model + entry->offset, &value, sizeof(value));
        if (entry->fault != FORMAT_FAULT_NONE)
            model->fault = entry->fault;
        return true;
    }
    return false;
}

/* Reads a model name: "bench", then parts of a number and a word after dashes. */
static inline bool format_model_parse(const char *name, size_t len, struct format_model *model)
{
    *model = (struct format_model){.tokens = 50, .event_bytes = 259, .answer_bytes = 1024};
    if (len < 5 || len > FORMAT_MODEL_MAX || memcmp(name, "bench", 5) != 0)
        return false;
    size_t at = 5;
    while (at < len) {
        if (name[at++] != '-')
            return false;
        const char *dash = memchr(name + at, '-', len - at);
        size_t part_len = dash != NULL ? (size_t)(dash - name) - at : len - at;
        if (!format_model_part(name + at, part_len, model))
            return false;
        at += part_len;
    }
    return model->event_bytes <= FORMAT_EVENT_MAX && model->answer_bytes <= FORMAT_ANSWER_MAX &&
           model->tokens > 0 && model->tokens < 10000000;
}

/* --- the filler: text that prompts and answers are made of --------------------------------------
 */

/* Two periods of the filler, so that any window of one period is contiguous. */
static inline const char *format_filler(void)
{
    static char text[2 * FORMAT_FILLER_PERIOD];
    static bool is_made; /* both programs call once before they start threads */
    if (is_made)
        return text;
    uint32_t state = 12345;
    for (size_t i = 0; i < FORMAT_FILLER_PERIOD; i++) {
        state = state * 1664525 + 1013904223;
        uint32_t r = (state >> 16) % 100;
        text[i] = r < 16 ? ' ' : (char)('a' + (state >> 20) % 26);
    }
    /* As in real prompts: a line break now and then, and a quotation mark. */
    for (size_t i = 60; i + 2 < FORMAT_FILLER_PERIOD; i += 71) {
        text[i] = '\\';
        text[i + 1] = i % 5 == 0 ? '"' : 'n';
    }
    memcpy(text + FORMAT_FILLER_PERIOD, text, FORMAT_FILLER_PERIOD);
    is_made = true;
    return text;
}

/* The byte of a filler of `total` bytes at its end: an escape is never cut in half. */
static inline char format_filler_last(size_t total)
{
    char last = format_filler()[(total - 1) % FORMAT_FILLER_PERIOD];
    return last == '\\' ? 'x' : last;
}

/* Writes a filler of `total` bytes to `out`. */
static inline void format_filler_write(char *out, size_t total)
{
    const char *text = format_filler();
    for (size_t at = 0; at < total; at += FORMAT_FILLER_PERIOD) {
        size_t run = total - at < FORMAT_FILLER_PERIOD ? total - at : FORMAT_FILLER_PERIOD;
        memcpy(out + at, text, run);
    }
    if (total > 0)
        out[total - 1] = format_filler_last(total);
}

/* Whether `data` is what a filler of `total` bytes holds from `offset` on. offset + len <= total.
 */
static inline bool format_filler_equal(const char *data, size_t len, size_t offset, size_t total)
{
    const char *text = format_filler();
    if (len > 0 && offset + len == total) {
        if (data[len - 1] != format_filler_last(total))
            return false;
        len--;
    }
    while (len > 0) {
        size_t run = len < FORMAT_FILLER_PERIOD ? len : FORMAT_FILLER_PERIOD;
        if (memcmp(data, text + offset % FORMAT_FILLER_PERIOD, run) != 0)
            return false;
        data += run;
        offset += run;
        len -= run;
    }
    return true;
}

/* --- one answer
 * ----------------------------------------------------------------------------------- */

/* All that decides the bytes of an answer, save the times at which its parts are sent. */
struct format_call {
    struct format_model model;
    char name[FORMAT_MODEL_MAX + 1];
    size_t name_len;
    char nonce[FORMAT_NONCE_LEN];
    uint64_t prompt_bytes;
};

static inline char *format_put(char *out, const void *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

#define FORMAT_PUT(out, literal) format_put(out, literal, sizeof(literal) - 1)

static inline char *format_put_number(char *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return format_put(out, digits + at, sizeof(digits) - at);
}

static inline char *format_put_seq(char *out, uint64_t seq)
{
    for (size_t i = FORMAT_SEQ_LEN; i-- > 0; seq /= 10)
        out[i] = (char)('0' + seq % 10);
    return out + FORMAT_SEQ_LEN;
}

/* Writes the 16 hexadecimal digits of a number, as nonces and time stamps have them. */
static inline char *format_put_hex(char *out, uint64_t value)
{
    for (size_t i = FORMAT_STAMP_LEN; i-- > 0; value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
    return out + FORMAT_STAMP_LEN;
}

/* Reads 16 hexadecimal digits; false if they are none. */
static inline bool format_read_hex(const char *digits, uint64_t *value)
{
    uint64_t result = 0;
    for (size_t i = 0; i < FORMAT_STAMP_LEN; i++) {
        char c = digits[i];
        if (c >= '0' && c <= '9')
            result = result << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            result = result << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *value = result;
    return true;
}

#define FORMAT_ID "{\"id\":\"chatcmpl-"
#define FORMAT_OBJECT_CHUNK \
    "\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\""
#define FORMAT_OBJECT_WHOLE "\",\"object\":\"chat.completion\",\"created\":1754000000,\"model\":\""
#define FORMAT_FINGERPRINT "\",\"system_fingerprint\":\"fp_"
#define FORMAT_DONE "data: [DONE]\n\n"

/* Where the time stamp stands in an event of this call. */
static inline size_t format_event_stamp_at(const struct format_call *call)
{
    return sizeof("data: " FORMAT_ID) - 1 + FORMAT_NONCE_LEN + sizeof(FORMAT_OBJECT_CHUNK) - 1 +
           call->name_len + sizeof(FORMAT_FINGERPRINT) - 1;
}

/* Where the time stamp stands in the body of an answer that is not a stream. */
static inline size_t format_answer_stamp_at(const struct format_call *call)
{
    return sizeof(FORMAT_ID) - 1 + FORMAT_NONCE_LEN + sizeof(FORMAT_OBJECT_WHOLE) - 1 +
           call->name_len + sizeof(FORMAT_FINGERPRINT) - 1;
}

static inline char *format_put_event_start(char *out, const struct format_call *call,
                                           uint64_t stamp)
{
    out = FORMAT_PUT(out, "data: " FORMAT_ID);
    out = format_put(out, call->nonce, FORMAT_NONCE_LEN);
    out = FORMAT_PUT(out, FORMAT_OBJECT_CHUNK);
    out = format_put(out, call->name, call->name_len);
    out = FORMAT_PUT(out, FORMAT_FINGERPRINT);
    return format_put_hex(out, stamp);
}

static inline char *format_put_usage(char *out, const struct format_call *call, uint64_t completion)
{
    uint64_t prompt = call->prompt_bytes / 4 + 1;
    out = FORMAT_PUT(out, "\"usage\":{\"prompt_tokens\":");
    out = format_put_number(out, prompt);
    out = FORMAT_PUT(out, ",\"completion_tokens\":");
    out = format_put_number(out, completion);
    out = FORMAT_PUT(out, ",\"total_tokens\":");
    out = format_put_number(out, prompt + completion);
    return FORMAT_PUT(out, "}}");
}

#define FORMAT_TOKEN_START "\",\"choices\":[{\"index\":0,\"delta\":{"
#define FORMAT_TOKEN_ROLE "\"role\":\"assistant\","
#define FORMAT_TOKEN_CONTENT "\"content\":\""
#define FORMAT_TOKEN_TAIL "\"},\"finish_reason\":null}]}\n\n"

/* Writes the text of token `seq`: its number, and the nonce over and over until its event has the
 * length that the model has for events. So a token tells whose it is in every dialect. */
static inline char *format_put_token_text(char *out, const struct format_call *call, uint64_t seq)
{
    size_t pad = 0;
    size_t len = format_event_stamp_at(call) + FORMAT_STAMP_LEN + sizeof(FORMAT_TOKEN_START) - 1 +
                 (seq == 0 ? sizeof(FORMAT_TOKEN_ROLE) - 1 : 0) + sizeof(FORMAT_TOKEN_CONTENT) - 1 +
                 FORMAT_TOKEN_LEN + sizeof(FORMAT_TOKEN_TAIL) - 1;
    out = FORMAT_PUT(out, " t");
    out = format_put_seq(out, seq);
    for (; len < call->model.event_bytes; len++)
        *out++ = call->nonce[pad++ % FORMAT_NONCE_LEN];
    return out;
}

/* Writes token `seq` of a stream as one SSE event and returns its length, at most event_bytes +
 * FORMAT_SLACK. */
static inline size_t format_token(char *out, const struct format_call *call, uint64_t seq,
                                  uint64_t stamp)
{
    char *start = out;
    out = format_put_event_start(out, call, stamp);
    out = FORMAT_PUT(out, FORMAT_TOKEN_START);
    if (seq == 0)
        out = FORMAT_PUT(out, FORMAT_TOKEN_ROLE);
    out = FORMAT_PUT(out, FORMAT_TOKEN_CONTENT);
    out = format_put_token_text(out, call, seq);
    out = FORMAT_PUT(out, FORMAT_TOKEN_TAIL);
    return (size_t)(out - start);
}

/* Writes the event that tells the finish reason; returns its length, below FORMAT_SLACK. */
static inline size_t format_finish(char *out, const struct format_call *call, uint64_t stamp)
{
    char *start = out;
    out = format_put_event_start(out, call, stamp);
    out = FORMAT_PUT(out, "\",\"choices\":[{\"index\":0,\"delta\":{},"
                          "\"finish_reason\":\"stop\"}]}\n\n");
    return (size_t)(out - start);
}

/* Writes the event with the usage of a stream; returns its length, below FORMAT_SLACK. */
static inline size_t format_usage(char *out, const struct format_call *call, uint64_t stamp)
{
    char *start = out;
    out = format_put_event_start(out, call, stamp);
    out = FORMAT_PUT(out, "\",\"choices\":[],");
    out = format_put_usage(out, call, call->model.tokens);
    out = FORMAT_PUT(out, "\n\n");
    return (size_t)(out - start);
}

#define FORMAT_ANSWER_START \
    "\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\""

/* Writes what stands behind the text of an answer; returns its length, below FORMAT_SLACK / 2. */
static inline size_t format_answer_tail(char *out, const struct format_call *call)
{
    char *start = out;
    out = FORMAT_PUT(out, "\",\"refusal\":null},\"logprobs\":null,"
                          "\"finish_reason\":\"stop\"}],");
    out = format_put_usage(out, call, call->model.answer_bytes / 4);
    return (size_t)(out - start);
}

/* The length of the text of an answer that is not a stream. */
static inline size_t format_answer_text_len(const struct format_call *call)
{
    char tail[FORMAT_SLACK / 2];
    size_t len = format_answer_stamp_at(call) + FORMAT_STAMP_LEN + sizeof(FORMAT_ANSWER_START) - 1 +
                 format_answer_tail(tail, call);
    return len < call->model.answer_bytes ? (size_t)call->model.answer_bytes - len : 0;
}

/* Writes the body of an answer that is not a stream; returns its length, at most answer_bytes +
 * FORMAT_SLACK. */
static inline size_t format_answer(char *out, const struct format_call *call, uint64_t stamp)
{
    char *start = out;
    size_t text_len = format_answer_text_len(call);
    out = FORMAT_PUT(out, FORMAT_ID);
    out = format_put(out, call->nonce, FORMAT_NONCE_LEN);
    out = FORMAT_PUT(out, FORMAT_OBJECT_WHOLE);
    out = format_put(out, call->name, call->name_len);
    out = FORMAT_PUT(out, FORMAT_FINGERPRINT);
    out = format_put_hex(out, stamp);
    out = FORMAT_PUT(out, FORMAT_ANSWER_START);
    format_filler_write(out, text_len);
    out += text_len;
    out += format_answer_tail(out, call);
    return (size_t)(out - start);
}

#endif
