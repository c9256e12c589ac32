/*
 * What the files of this folder share: reading and writing of the pieces that occur in requests and
 * in answers alike.
 * Any thread; nothing yields.
 * What is read points into the input or lives in the arena; writers append to the caller's buf.
 * -ERR_INVALID with words for the client, -ERR_NOMEM; writers fail only by the buf's own flag.
 * Source: platform.openai.com/docs/api-reference/responses and recorded traffic of six providers.
 */
#ifndef WEIR_DIALECT_OPENAI_RESPONSES_CODEC_H
#define WEIR_DIALECT_OPENAI_RESPONSES_CODEC_H

#include "dialect/dialect.h"

/* --- reasoning: the item's id and its encrypted content are one signature, "CONTENT.ID" --- */

/* TEXT_NONE when there is neither, or no memory. */
struct text responses_signature_join(struct arena *arena, struct text encrypted, struct text id);
void responses_signature_split(struct text data, struct text *encrypted, struct text *id);

/* The signature of a redacted thought of another maker: items have no member that says so and comes
 * back from every client, so it is said in front of the data. */
struct text responses_redact(struct arena *arena, struct text data);
bool responses_unredact(struct text *data);

/* --- reading --- */

/* Where a reader is in the request, for its errors. */
struct responses_reading {
    struct arena *arena;
    struct llm_request *request;
    const char *list;  /* "input", "tools"; NULL = at the top */
    size_t index;      /* in `list` */
    const char *parts; /* "content", "output", "summary"; NULL = in the item itself */
    size_t part;
    struct llm_message *open_message; /* the one that blocks were last added to, and where */
    struct llm_block **open_end;
    struct llm_call_names call_names;
};

/* "'input[3].content[0].text' must be a string": `words` is what comes after the name. */
int responses_refuse(const struct responses_reading *r, const char *member, const char *words);
int responses_no_memory(void);
/* *out is TEXT_NONE where there is none. */
int responses_read_text(const struct responses_reading *r, const char *member,
                        struct json_value value, struct text *out);

enum { RESPONSES_MEMBERS_MAX = 8 };
/*
 * The values of the named members (at most RESPONSES_MEMBERS_MAX; NULL ends the list), JSON_NONE
 * where there is none or it is null; all others are appended to *rest.
 */
int responses_collect(const struct responses_reading *r, struct str object,
                      const char *const *names, struct json_value *values, struct str *rest);

/* Appends one member to *rest. */
int responses_keep(const struct responses_reading *r, struct str key, struct json_value value,
                   struct str *rest);

/* `input`: a string, or an array of items that is added to the messages. */
int responses_read_input(struct responses_reading *r, struct json_value input);
int responses_read_tools(struct responses_reading *r, struct json_value tools);
int responses_read_tool_choice(struct responses_reading *r, struct json_value choice);

/* An annotation of a text part; zeroed but for what is told. */
struct llm_citation responses_read_annotation(struct str object);

/* --- writing --- */

/* A list under construction: writes the comma before all but the first. */
struct responses_list {
    struct buf *out;
    bool has_any;
};
void responses_next(struct responses_list *list);
/* In an object: the next member's name and its colon. */
void responses_member(struct responses_list *list, const char *name);
void responses_member_text(struct responses_list *list, const char *name, struct text text);
/* `raw` empty: nothing is written. */
void responses_member_raw(struct responses_list *list, const char *name, struct str raw);

/* An image's, a file's or an audio part with its braces; false when the block is of another kind.
 */
bool responses_write_media(struct buf *out, const struct llm_block *block);
/* One element of `annotations`; false when there is nothing that can be said in this dialect. */
bool responses_write_annotation(struct buf *out, const struct llm_citation *citation,
                                int64_t text_length);
/* Characters of the text between a JSON string's quotes. */
int64_t responses_count_characters(struct str inside);
/* The tools of a request as an array; built-in tools of others are noted (notes may be NULL). */
void responses_write_tools(struct buf *out, const struct llm_request *request,
                           struct llm_notes *notes);
/* Nothing is written when there is no choice. */
bool responses_has_tool_choice(const struct llm_request *request);
void responses_write_tool_choice(struct buf *out, const struct llm_request *request);
/* text.format; nothing is written when the format is not told. */
void responses_write_format(struct buf *out, const struct llm_response_format *format);
/* The items of all messages, each after a comma but the first. */
void responses_write_items(struct responses_list *items, const struct llm_request *request,
                           struct arena *arena, struct llm_notes *notes);

/* The tool of this name when it takes free text instead of arguments; else NULL. */
const struct llm_tool *responses_custom_tool(const struct llm_request *request, struct text name);
/* The text inside {"input": "..."}; TEXT_NONE when it is none. It lives in the arena. */
struct text responses_custom_input(struct arena *arena, struct text arguments);
/* The other way: the arguments of a call of a custom tool. */
struct text responses_custom_arguments(struct arena *arena, struct text input);

/* --- answers and errors --- */

void responses_usage_read(struct str object, struct token_usage *usage);
void responses_usage_write(struct buf *out, const struct token_usage *usage);

/* The value of an error: {"code", "message", ...} or a text. */
void responses_error_value(struct json_value value, struct llm_error *error);
/* The code that clients of this dialect know for it. */
struct text responses_error_code(const struct llm_error *error);

/* What a response object is written from. */
struct responses_object {
    struct str id;
    struct text model, service_tier;
    int64_t created_s;
    const char *status;            /* "in_progress", "completed", ... */
    const char *incomplete_reason; /* NULL = null */
    const struct llm_error *error; /* NULL = null */
    struct str output;             /* the items with commas between them */
    const struct token_usage *usage;
    const struct llm_request *request; /* what it repeats; NULL = not known */
};
void responses_write_object(struct buf *out, const struct responses_object *object);

/* What the dialect's table is made of. */
int responses_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan);
void responses_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                   bool wants_usage, struct arena *arena, struct llm_fit *fit);
int responses_read_request(struct str body, struct arena *arena, struct llm_request *request);
int responses_write_request(struct llm_request *request, const struct llm_target *target,
                            struct arena *arena, struct llm_notes *notes, struct buf *out);
struct llm_decoder *responses_decoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings);
int responses_decode(struct llm_decoder *d, struct str type, struct str data,
                     struct llm_sink *sink);
int responses_decode_end(struct llm_decoder *d, struct llm_sink *sink);
int responses_decode_whole(struct llm_decoder *d, struct str body, struct llm_sink *sink);
struct llm_encoder *responses_encoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings);
int responses_encode(struct llm_encoder *e, const struct llm_event *event,
                     struct llm_frames *frames);
void responses_write_answer(const struct llm_answer *answer,
                            const struct llm_codec_settings *settings, struct buf *out);
bool responses_read_error(unsigned status, struct str type_header, struct str body,
                          struct llm_error *error);
void responses_write_error(const struct llm_error *error, struct buf *out);

#endif
