/* What the parts that touch every byte cost: `micro [WORD]` times those whose name holds WORD. */
#include <inttypes.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "http/h1.h"
#include "http/sse.h"

enum { ROUNDS = 15, ROUND_BYTES = 30 * 1000 * 1000 };

/* What every case works on. */
struct input {
    struct str text;
    size_t pieces; /* events or documents in it */
};

typedef void case_fn(const struct input *input);

#define EVENT                                                                                    \
    "{\"id\":\"chatcmpl-ABCdefGHIjklMNOpqrSTUvwxYZ\",\"object\":\"chat.completion.chunk\","      \
    "\"created\":1732160000,\"model\":\"gpt-4o-mini-2024-07-18\","                               \
    "\"system_fingerprint\":\"fp_0ba0d124f1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":" \
    "\" token\"},\"logprobs\":null,\"finish_reason\":null}]}"

static const struct json_want request_wants[] = {
    {{STR_INIT("model")}},
    {{STR_INIT("stream")}},
    {{STR_INIT("stream_options")}},
    {{STR_INIT("stream_options"), STR_INIT("include_usage")}},
};

static void keep(const void *result)
{
    __asm__ volatile("" ::"r"(result) : "memory");
}

/* --- cases --- */

static void scan_request(const struct input *input)
{
    struct json_scan scan;
    int r = json_scan_object(input->text, JSON_DEPTH_DEFAULT, request_wants,
                             ARRAY_LEN(request_wants), &scan);
    CHECK(r == 0);
    keep(&scan);
}

static void walk_choice(struct str choice, unsigned *seen)
{
    struct json_cursor c;
    struct json_value v;
    struct str key;
    json_cursor_init(&c, choice);
    while (json_iter_object(&c, &key, &v) == 1)
        *seen += json_string_eq(key, STR("finish_reason")) || json_string_eq(key, STR("delta"));
}

static void walk_event(const struct input *input)
{
    struct json_cursor c;
    struct json_cursor choices;
    struct json_value v;
    struct str key;
    unsigned seen = 0;
    json_cursor_init(&c, input->text);
    while (json_iter_object(&c, &key, &v) == 1) {
        seen += json_string_eq(key, STR("usage")) || json_string_eq(key, STR("error"));
        if (!json_string_eq(key, STR("choices")))
            continue;
        json_cursor_init(&choices, v.text);
        while (json_iter_array(&choices, &v) == 1)
            walk_choice(v.text, &seen);
    }
    CHECK(seen == 2);
}

static void split_in_parts(const struct input *input, size_t part_bytes)
{
    struct sse_splitter s;
    struct sse_event event;
    struct str rest = input->text;
    size_t events = 0;
    sse_splitter_init(&s, 1 << 20);
    while (rest.len > 0) {
        struct str part = str_head(rest, part_bytes);
        rest = str_skip(rest, part.len);
        while (sse_next(&s, &part, &event) == 1) {
            events++;
            keep(&event);
        }
    }
    sse_splitter_fini(&s);
    CHECK(events == input->pieces);
}

static void split_whole(const struct input *input)
{
    split_in_parts(input, input->text.len);
}

static void split_cut(const struct input *input)
{
    split_in_parts(input, 100);
}

#define CHUNKED_HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void read_chunks(const struct input *input)
{
    struct h1_parser parser;
    struct h1_head head;
    struct iovec v[HTTP_PIECES_MAX];
    struct str rest = input->text;
    struct arena *arena = arena_new(4096);
    size_t pieces_seen = 0;
    bool is_done;
    CHECK(arena != NULL);
    h1_parser_init(&parser, H1_RESPONSES, &http_limits_default);
    h1_parser_begin(&parser, arena, &head, false);
    rest = str_skip(rest, (size_t)h1_parse_head(&parser, rest, &is_done));
    while (rest.len > 0) {
        struct http_pieces pieces = {.v = v};
        rest = str_skip(rest, (size_t)h1_parse_body(&parser, rest, &pieces));
        pieces_seen += (size_t)pieces.count;
        keep(v);
    }
    arena_free(arena);
    CHECK(pieces_seen == input->pieces);
}

static size_t llhttp_pieces;

static int on_llhttp_body(llhttp_t *llhttp, const char *at, size_t len)
{
    (void)llhttp;
    llhttp_pieces++;
    keep(at + len);
    return 0;
}

/* The same by llhttp alone: what our own decoder of chunks is measured against. */
static void read_chunks_llhttp(const struct input *input)
{
    static const llhttp_settings_t settings = {.on_body = on_llhttp_body};
    llhttp_t llhttp;
    llhttp_init(&llhttp, HTTP_RESPONSE, &settings);
    llhttp_pieces = 0;
    CHECK(llhttp_execute(&llhttp, input->text.ptr, input->text.len) == HPE_OK);
    CHECK(llhttp_pieces == input->pieces);
}

static void read_head(const struct input *input)
{
    struct h1_parser parser;
    struct h1_head head;
    bool is_done = false;
    struct arena *arena = arena_new(4096);
    CHECK(arena != NULL);
    h1_parser_init(&parser, H1_REQUESTS, &http_limits_default);
    h1_parser_begin(&parser, arena, &head, false);
    CHECK(h1_parse_head(&parser, input->text, &is_done) > 0 && is_done);
    keep(&head);
    arena_free(arena);
}

/* --- inputs --- */

static struct input one_long_prompt(struct buf *b, size_t bytes)
{
    BUF_LIT(b, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    while (b->len < bytes)
        BUF_LIT(b, "All the words of a long prompt, ");
    BUF_LIT(b, "\"}],\"stream\":true,\"model\":\"gpt-4o\"}");
    return (struct input){buf_str(b), 1};
}

static struct input many_messages(struct buf *b, size_t bytes)
{
    BUF_LIT(b, "{\"messages\":[");
    while (b->len < bytes)
        BUF_LIT(b, "{\"role\": \"user\", \"content\": \"A short message.\\nWith \\\"quotes\\\" and "
                   "a second line, as in a conversation.\"}, ");
    BUF_LIT(b, "{}],\"stream\":true,\"model\":\"gpt-4o\"}");
    return (struct input){buf_str(b), 1};
}

static struct input one_event(struct buf *b, size_t bytes)
{
    (void)bytes;
    BUF_LIT(b, EVENT);
    return (struct input){buf_str(b), 1};
}

static struct input lf_events(struct buf *b, size_t bytes)
{
    size_t n = 0;
    for (; b->len < bytes; n++)
        BUF_LIT(b, "data: " EVENT "\n\n");
    return (struct input){buf_str(b), n};
}

static struct input crlf_events(struct buf *b, size_t bytes)
{
    size_t n = 0;
    for (; b->len < bytes; n++)
        BUF_LIT(b, "event: chunk\r\ndata: " EVENT "\r\n\r\n");
    return (struct input){buf_str(b), n};
}

/* A chunk an event, as most providers send them. */
static struct input chunked_events(struct buf *b, size_t bytes)
{
    size_t n = 0;
    BUF_LIT(b, CHUNKED_HEAD);
    for (; b->len < bytes; n++) {
        buf_printf(b, "%zx\r\n", sizeof("data: " EVENT "\n\n") - 1);
        BUF_LIT(b, "data: " EVENT "\n\n\r\n");
    }
    return (struct input){buf_str(b), n};
}

static struct input sdk_head(struct buf *b, size_t bytes)
{
    (void)bytes;
    BUF_LIT(b, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
               "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
               "Accept: application/json\r\nContent-Type: application/json\r\n"
               "User-Agent: OpenAI/Python 1.50.0\r\nX-Stainless-Lang: python\r\n"
               "X-Stainless-Package-Version: 1.50.0\r\nX-Stainless-OS: Linux\r\n"
               "X-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n"
               "X-Stainless-Runtime-Version: 3.11.2\r\nAuthorization: Bearer 0123456789abcdef\r\n"
               "x-stainless-retry-count: 0\r\nContent-Length: 1024\r\n\r\n");
    return (struct input){buf_str(b), 1};
}

static const struct {
    const char *name;
    case_fn *run;
    struct input (*make)(struct buf *b, size_t bytes);
    size_t bytes;
} cases[] = {
    {"json: scan a request of 1 KB, one message", scan_request, one_long_prompt, 1000},
    {"json: scan a request of 100 KB, one message", scan_request, one_long_prompt, 100 * 1000},
    {"json: scan a request of 1 MB, one message", scan_request, one_long_prompt, 1000 * 1000},
    {"json: scan a request of 100 KB, short messages", scan_request, many_messages, 100 * 1000},
    {"json: walk an event", walk_event, one_event, 0},
    {"json: scan an event", scan_request, one_event, 0},
    {"sse: split 64 KB of events, LF", split_whole, lf_events, 64 * 1000},
    {"sse: split 64 KB of events, CRLF and named", split_whole, crlf_events, 64 * 1000},
    {"sse: split 64 KB of events in parts of 100 bytes", split_cut, lf_events, 64 * 1000},
    {"http: read 64 KB of events, a chunk each", read_chunks, chunked_events, 64 * 1000},
    {"http: the same by llhttp", read_chunks_llhttp, chunked_events, 64 * 1000},
    {"http: read the head of an SDK's request", read_head, sdk_head, 0},
};

/* The fastest of some rounds, in ns a run: what the machine does besides only adds. */
static double fastest_ns(case_fn *run, const struct input *input)
{
    int64_t best = INT64_MAX;
    size_t runs = ROUND_BYTES / (input->text.len + 1000) + 1;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin_ns = clock_mono_ns();
        for (size_t i = 0; i < runs; i++)
            run(input);
        int64_t took_ns = clock_mono_ns() - begin_ns;
        best = MIN(best, took_ns);
    }
    return (double)best / (double)runs;
}

int main(int argc, char **argv)
{
    printf("%-52s %10s %10s %10s\n", "", "ns a run", "ns a piece", "ns a byte");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (argc > 1 && strstr(cases[i].name, argv[1]) == NULL)
            continue;
        struct buf b = BUF_INIT;
        struct input input = cases[i].make(&b, cases[i].bytes);
        CHECK(buf_ok(&b));
        double ns = fastest_ns(cases[i].run, &input);
        printf("%-52s %10.0f %10.1f %10.4f\n", cases[i].name, ns, ns / (double)input.pieces,
               ns / (double)input.text.len);
        buf_fini(&b);
    }
    return 0;
}
