#include "http/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <yyjson.h>

/*
 * Recorded event streams, found by WEIR_WIRE_DIR or beside the checkout: whatever the places where
 * the network cuts them, the events are the same and no byte gets lost.
 */

enum {
    CUT_EVERYWHERE_BYTES = 64 * 1024,
    SAMPLED_CUTS = 2000,
    LIMIT = 16 * 1024 * 1024,
};

/* A reading as the digest of its events and of its bytes, with the number of events. */
struct reading {
    uint64_t events;
    uint64_t raw;
    unsigned count;
    size_t raw_bytes;
};

static uint64_t mix(uint64_t h, struct str s)
{
    h = (h ^ s.len) * 0x9e3779b97f4a7c15u;
    const char *p = s.ptr;
    size_t left = s.len;
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    for (; left > 0; p++, left--)
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    return h;
}

/* `raw` is to be the stream's bytes in their order: each piece is compared in place. */
static void note(struct reading *r, const struct sse_event *e, struct str stream)
{
    assert_true(e->raw.len <= stream.len - r->raw_bytes);
    assert_true(memcmp(stream.ptr + r->raw_bytes, e->raw.ptr, e->raw.len) == 0);
    r->raw_bytes += e->raw.len;
    if (!e->has_data && !e->has_comment)
        return;
    r->count++;
    r->events = mix(mix(mix(r->events, e->type), e->id), e->data);
    r->events = (r->events ^ (e->has_data ? 1u : 2u) ^ (uint64_t)e->retry_ms << 8) * 31;
}

static struct reading read_in_two(struct str stream, size_t cut)
{
    struct reading r = {0};
    struct sse_splitter s;
    struct sse_event e;
    struct str parts[] = {str_head(stream, cut), str_skip(stream, cut)};
    sse_splitter_init(&s, LIMIT);
    for (int i = 0; i < 2; i++) {
        int got;
        while ((got = sse_next(&s, &parts[i], &e)) == 1)
            note(&r, &e, stream);
        assert_int_equal(got, 0);
    }
    if (sse_finish(&s, &e) == 1)
        note(&r, &e, stream);
    sse_splitter_fini(&s);
    assert_int_equal(r.raw_bytes, stream.len);
    return r;
}

static uint64_t seed;

static size_t below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed >> 16) % n;
}

static void check_stream(const char *path, struct str stream)
{
    struct reading whole = read_in_two(stream, stream.len);
    bool is_everywhere = stream.len <= CUT_EVERYWHERE_BYTES;
    size_t cuts = is_everywhere ? stream.len : SAMPLED_CUTS;
    seed = 88172645463325252u;
    for (size_t i = 0; i < cuts; i++) {
        size_t cut = is_everywhere ? i : below(stream.len);
        struct reading r = read_in_two(stream, cut);
        if (r.events != whole.events || r.count != whole.count)
            fail_msg("%s cut at %zu: %u events, %u in the whole, or others", path, cut, r.count,
                     whole.count);
    }
}

/* True when the recording is an event stream. */
static bool check_file(const char *path)
{
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, NULL);
    if (doc == NULL)
        fail_msg("%s is no JSON", path);
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool is_sse = yyjson_equals_str(yyjson_obj_get(root, "framing"), "sse");
    yyjson_val *body = yyjson_obj_get(yyjson_obj_get(root, "response"), "body");
    if (is_sse && yyjson_is_str(body)) {
        struct str stream = str_n(yyjson_get_str(body), yyjson_get_len(body));
        assert_true(read_in_two(stream, stream.len).count > 0); /* else it proves nothing */
        check_stream(path, stream);
    }
    yyjson_doc_free(doc);
    return is_sse;
}

static void recorded_streams_are_the_same_at_every_cut(void **state)
{
    (void)state;
    const char *folder = getenv("WEIR_WIRE_DIR");
    char pattern[4096];
    snprintf(pattern, sizeof(pattern), "%s/*/*.json", folder != NULL ? folder : "../shared/wire");
    glob_t files;
    if (glob(pattern, 0, NULL, &files) != 0) {
        print_message("no recorded traffic at %s (set WEIR_WIRE_DIR)\n", pattern);
        skip();
    }
    unsigned streams = 0;
    for (size_t i = 0; i < files.gl_pathc; i++)
        streams += check_file(files.gl_pathv[i]);
    print_message("%u recorded streams\n", streams);
    assert_true(streams > 0);
    globfree(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_streams_are_the_same_at_every_cut),
    };
    return cmocka_run_group_tests_name("dialect/wire-sse", tests, NULL, NULL);
}
