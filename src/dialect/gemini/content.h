/*
 * Contents and their parts: what a turn consists of, in requests and answers.
 * Any thread; nothing yields.
 * Blocks live in the arena and point into the body.
 * -ERR_INVALID with a message that names the place, -ERR_NOMEM.
 * Source: ai.google.dev/api/caching#Content, cloud.google.com/vertex-ai Content.
 */
#ifndef WEIR_DIALECT_GEMINI_CONTENT_H
#define WEIR_DIALECT_GEMINI_CONTENT_H

#include "dialect/gemini/member.h"
#include "dialect/request.h"
#include "dialect/target.h"

/* --- reading --- */

struct gemini_reader {
    struct arena *arena;
    struct llm_request *request;
    const char *list; /* "contents" or "systemInstruction", for places in messages */
    int content, part;
    bool has_foreign; /* a signature of another maker was read */
};

/* Says that `member` of what is being read is not what it must be. */
int gemini_wrong(const struct gemini_reader *reader, const char *member, const char *want);
int gemini_no_memory(void);

/* One part, with all its members apart. Those that are not there have kind JSON_NONE. */
enum gemini_member_of_part {
    PART_TEXT,
    PART_INLINE_DATA,
    PART_FILE_DATA,
    PART_CALL,
    PART_RESULT,
    PART_THOUGHT,
    PART_SIGNATURE,
    PART_MEMBER_COUNT
};
extern const char *const gemini_part_names[PART_MEMBER_COUNT + 1];

/* What stands in the members that are objects; each list ends with NULL. */
extern const char *const gemini_blob_names[],
    *const gemini_file_names[], *const gemini_call_names[], *const gemini_result_names[];

struct gemini_part {
    struct json_value members[PART_MEMBER_COUNT];
    unsigned others; /* members of other names */
};
void gemini_part_split(struct str object, struct gemini_part *part);

/* IMAGE, AUDIO, VIDEO or DOCUMENT. */
enum llm_block_kind gemini_kind_of_type(struct str media_type);

/* The list of contents as messages of the request. */
int gemini_read_contents(struct gemini_reader *reader, struct json_value contents);
/* A content's parts as blocks. */
int gemini_read_parts(struct gemini_reader *reader, struct json_value content,
                      struct llm_block **blocks);
/*
 * Streamed thoughts come back in pieces, the signature in the last one, perhaps in contents of
 * their own. Where another provider made it they are put together again: it signs the whole.
 */
int gemini_join_thoughts(struct gemini_reader *reader);

/* --- writing --- */

struct gemini_writer {
    struct buf *out;
    struct arena *arena;
    struct llm_request *request;
    const struct llm_target *target;
    struct llm_notes *notes;
    struct llm_call_names call_names;
};

/* Notes all that messages and system hold and the target cannot be told, under the source's names.
 * To be called before turns are joined. */
void gemini_note_blocks(struct gemini_writer *writer);
/* "contents":[...] of the request's messages. What others' results are of is told by their order
 * alone: they are put into that of their calls. */
void gemini_write_contents(struct gemini_writer *writer);
/* "parts":[...] of the system instructions; nothing where there are none. */
void gemini_write_system(struct gemini_writer *writer);

#endif
