/*
 * What the files of this folder share: reading and writing of the pieces that occur in requests and
 * in answers alike.
 * Any thread; nothing yields.
 * What is read points into the input or lives in the arena; writers append to the caller's buf.
 * -ERR_INVALID with words for the client, -ERR_NOMEM; writers fail only by the buf's own flag.
 * Source: platform.openai.com/docs/api-reference/chat, OpenRouter's reasoning_details and recorded
 * traffic of some twenty providers.
 */
#ifndef WEIR_DIALECT_OPENAI_CHAT_CODEC_H
#define WEIR_DIALECT_OPENAI_CHAT_CODEC_H

#include "dialect/dialect.h"

/* --- reading --- */

/* Where a reader is in the request, for its errors. */
struct chat_reading {
    struct arena *arena;
    struct llm_request *request;
    const char *list; /* "messages", "tools"; NULL = at the top */
    size_t index;
    const char *parts; /* "content", "tool_calls"; NULL = in the element itself */
    size_t part;
    unsigned legacy_calls; /* calls of the old function_call so far: their ids are made of it */
};

int chat_refuse(const struct chat_reading *r, const char *member, const char *words);
int chat_no_memory(void);
/* TEXT_NONE where there is none. */
int chat_read_text(const struct chat_reading *r, const char *member, struct json_value value,
                   struct text *out);
enum { CHAT_MEMBERS_MAX = 16 };
/* The values of the named members (NULL ends the list), JSON_NONE where there is none or it is
 * null; all others are appended to *rest. */
int chat_collect(const struct chat_reading *r, struct str object, const char *const *names,
                 struct json_value *values, struct str *rest);
int chat_read_messages(struct chat_reading *r, struct json_value value);
/* One part of a content array, into the list. */
int chat_read_part(struct chat_reading *r, struct json_value value, struct llm_block **blocks);
int chat_read_tools(struct chat_reading *r, struct json_value value);
int chat_read_functions(struct chat_reading *r, struct json_value value);
int chat_read_tool_choice(struct chat_reading *r, struct json_value value);
int chat_read_function_call(struct chat_reading *r, struct json_value value);

/* --- reasoning_details: type, format and id of an entry are kept with its signature --- */

/* "TYPE|FORMAT|ID|SIGNATURE"; the pieces are escaped text as they stood. */
struct text chat_signature_pack(struct arena *arena, struct str type, struct text format,
                                struct text id, struct text data);
struct chat_detail {
    struct str type; /* "text", "encrypted", "summary" */
    struct text format, id, data;
};
bool chat_signature_unpack(struct text packed, struct chat_detail *detail);
/* One entry with its braces. `text` may be none; `for_id` names the call that it is for. */
void chat_write_detail(struct buf *out, struct arena *arena, const struct llm_signature *signature,
                       bool is_for_call, struct text text, struct text for_id, unsigned index);

/* --- writing --- */

/* Members or elements under construction: writes the comma before all but the first. */
struct chat_list {
    struct buf *out;
    bool has_any;
};
void chat_next(struct chat_list *list);
void chat_member(struct chat_list *list, const char *name);
void chat_member_text(struct chat_list *list, const char *name, struct text text);
void chat_member_raw(struct chat_list *list, const char *name, struct str raw);

struct chat_writing {
    struct chat_list members;
    struct llm_request *request;
    const struct llm_target *target;
    struct arena *arena;
    struct llm_notes *notes;
    bool is_own;
};
void chat_write_messages(struct chat_writing *w);
void chat_write_tools(struct chat_writing *w);
/* Nine letters and digits made of the id, for servers that take no other. */
void chat_write_short_id(struct buf *out, struct text id);
void chat_write_citation(struct buf *out, const struct llm_citation *citation);
const char *chat_finish_name(enum llm_finish finish, bool has_refusal);
void chat_usage_write(struct buf *out, const struct token_usage *usage);
void chat_usage_read(struct str object, struct token_usage *usage);

/* What the dialect's table is made of. */
int chat_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan);
void chat_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
              bool wants_usage, struct arena *arena, struct llm_fit *fit);
int chat_read_request(struct str body, struct arena *arena, struct llm_request *request);
int chat_write_request(struct llm_request *request, const struct llm_target *target,
                       struct arena *arena, struct llm_notes *notes, struct buf *out);
struct llm_decoder *chat_decoder_new(struct arena *arena,
                                     const struct llm_codec_settings *settings);
int chat_decode(struct llm_decoder *d, struct str type, struct str data, struct llm_sink *sink);
int chat_decode_end(struct llm_decoder *d, struct llm_sink *sink);
int chat_decode_whole(struct llm_decoder *d, struct str body, struct llm_sink *sink);
struct llm_encoder *chat_encoder_new(struct arena *arena,
                                     const struct llm_codec_settings *settings);
int chat_encoder_follow(struct llm_encoder *e, struct str type, struct str data);
void chat_write_last(const struct token_usage *usage, struct llm_frames *frames);
int chat_encode(struct llm_encoder *e, const struct llm_event *event, struct llm_frames *frames);
void chat_write_answer(const struct llm_answer *answer, const struct llm_codec_settings *settings,
                       struct buf *out);
bool chat_read_error(unsigned status, struct str type_header, struct str body,
                     struct llm_error *error);
void chat_write_error(const struct llm_error *error, struct buf *out);

#endif
