#include "base/err.h"
#include "dialect/base64.h"
#include "dialect/gemini/content.h"
#include "dialect/signature.h"

enum {
    CALLS_LOOKED_AT = 256, /* calls without an id that a result may be of */
};

const char *const gemini_part_names[PART_MEMBER_COUNT + 1] = {
    [PART_TEXT] = "text",
    [PART_INLINE_DATA] = "inlineData",
    [PART_FILE_DATA] = "fileData",
    [PART_CALL] = "functionCall",
    [PART_RESULT] = "functionResponse",
    [PART_THOUGHT] = "thought",
    [PART_SIGNATURE] = "thoughtSignature",
};

const char *const gemini_blob_names[] = {"mimeType", "data", "displayName", NULL};
const char *const gemini_file_names[] = {"mimeType", "fileUri", "displayName", NULL};
const char *const gemini_call_names[] = {"id", "name", "args", NULL};
const char *const gemini_result_names[] = {"id", "name", "response", "parts", NULL};

enum { NAMES_MAX = 4 };

/* --- what is wrong --- */

int gemini_no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

int gemini_wrong(const struct gemini_reader *reader, const char *member, const char *want)
{
    char content[24] = "", part[32] = "";
    const char *list = reader->list != NULL ? reader->list : "";
    const char *dot = list[0] != '\0' && member[0] != '\0' ? "." : "";
    if (list[0] != '\0' && reader->content >= 0)
        (void)snprintf(content, sizeof(content), "[%d]", reader->content);
    if (list[0] != '\0' && reader->part >= 0)
        (void)snprintf(part, sizeof(part), ".parts[%d]", reader->part);
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%s%s%s%s%s' %s", list, content, part, dot, member,
                   want);
}

/* --- members --- */

void gemini_part_split(struct str object, struct gemini_part *part)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    *part = (struct gemini_part){.others = 0};
    json_cursor_init(&cursor, object);
    while (gemini_next(&cursor, &key, &value)) {
        int i = gemini_index(key, gemini_part_names);
        if (i < 0)
            part->others++;
        else
            part->members[i] = value;
    }
}

/* The members of `object` by `names`; of others it knows nothing. */
static void collect(struct str object, const char *const *names, struct json_value *values)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    memset(values, 0, NAMES_MAX * sizeof(*values));
    json_cursor_init(&cursor, object);
    while (gemini_next(&cursor, &key, &value)) {
        int i = gemini_index(key, names);
        if (i >= 0)
            values[i] = value;
    }
}

static int read_string(const struct gemini_reader *reader, const char *member,
                       struct json_value value, struct text *text)
{
    if (value.kind != JSON_NONE && value.kind != JSON_STRING)
        return gemini_wrong(reader, member, "must be a string");
    *text = text_of(value);
    return 0;
}

static int need_object(const struct gemini_reader *reader, const char *member,
                       struct json_value value)
{
    return value.kind == JSON_OBJECT ? 0 : gemini_wrong(reader, member, "must be an object");
}

/* --- media --- */

enum llm_block_kind gemini_kind_of_type(struct str media_type)
{
    if (str_istarts(media_type, STR("image/")))
        return BLOCK_IMAGE;
    if (str_istarts(media_type, STR("audio/")))
        return BLOCK_AUDIO;
    if (str_istarts(media_type, STR("video/")))
        return BLOCK_VIDEO;
    return BLOCK_DOCUMENT;
}

static int read_blob(struct gemini_reader *reader, struct json_value value, struct llm_block *block)
{
    struct json_value v[NAMES_MAX];
    struct str plain;
    int error = need_object(reader, "inlineData", value);
    if (error < 0)
        return error;
    collect(value.text, gemini_blob_names, v);
    error = read_string(reader, "inlineData.mimeType", v[0], &block->media.type);
    if (error == 0)
        error = read_string(reader, "inlineData.data", v[1], &block->media.data);
    if (error == 0)
        error = read_string(reader, "inlineData.displayName", v[2], &block->media.name);
    if (error < 0)
        return error;
    if (v[1].kind == JSON_NONE)
        return gemini_wrong(reader, "inlineData.data", "is missing");
    struct str type = text_or(reader->arena, block->media.type, STR_EMPTY);
    block->kind = gemini_kind_of_type(type);
    block->media.data = base64_standard(reader->arena, block->media.data);
    if (!text_is_some(block->media.data))
        return gemini_no_memory();
    /* Plain text is text to everyone else. */
    if (str_istarts(type, STR("text/plain")) &&
        text_get(reader->arena, block->media.data, &plain) == 0) {
        struct str bytes = base64_decode(reader->arena, plain);
        if (bytes.ptr != NULL) {
            block->text = text_plain(bytes);
            block->media.data = TEXT_NONE;
        }
    }
    return 0;
}

/* Files that were uploaded to the provider have a URI that nobody else can open. */
static bool is_upload(struct str uri)
{
    return str_starts(uri, STR("files/")) ||
           str_starts(uri, STR("https://generativelanguage.googleapis.com/"));
}

static bool is_film(struct str uri)
{
    return str_starts(uri, STR("https://www.youtube.com/")) ||
           str_starts(uri, STR("https://youtube.com/")) ||
           str_starts(uri, STR("https://youtu.be/"));
}

static int read_file(struct gemini_reader *reader, struct json_value value, struct llm_block *block)
{
    struct json_value v[NAMES_MAX];
    int error = need_object(reader, "fileData", value);
    if (error < 0)
        return error;
    collect(value.text, gemini_file_names, v);
    error = read_string(reader, "fileData.mimeType", v[0], &block->media.type);
    if (error == 0)
        error = read_string(reader, "fileData.fileUri", v[1], &block->media.url);
    if (error == 0)
        error = read_string(reader, "fileData.displayName", v[2], &block->media.name);
    if (error < 0)
        return error;
    if (v[1].kind == JSON_NONE)
        return gemini_wrong(reader, "fileData.fileUri", "is missing");
    struct str uri = text_or(reader->arena, block->media.url, STR_EMPTY);
    block->kind = gemini_kind_of_type(text_or(reader->arena, block->media.type, STR_EMPTY));
    if (v[0].kind == JSON_NONE && is_film(uri))
        block->kind = BLOCK_VIDEO;
    if (is_upload(uri)) {
        block->media.file_id = block->media.url;
        block->media.url = TEXT_NONE;
    }
    return 0;
}

/* --- signatures --- */

/* The field is one of bytes: a mark that was written there is inside the base64. */
static struct text take_from_base64(struct arena *arena, struct text data)
{
    struct str plain;
    if (!signature_is_marked(data.s) || text_get(arena, data, &plain) < 0)
        return data;
    struct str bytes = base64_decode(arena, plain);
    return bytes.ptr != NULL && signature_is_marked(bytes) ? text_plain(bytes) : data;
}

static int read_signature(struct gemini_reader *reader, struct json_value value,
                          struct llm_block *block)
{
    enum signature_place place = SIGNATURE_OF_THINKING;
    if (value.kind == JSON_NONE)
        return 0;
    if (value.kind != JSON_STRING)
        return gemini_wrong(reader, "thoughtSignature", "must be a string");
    if (json_string_raw(value).len == 0)
        return 0;
    struct text data = take_from_base64(reader->arena, text_of(value));
    block->signature = signature_unmark(reader->arena, data, DIALECT_GEMINI, &place);
    bool is_foreign = block->signature.maker != DIALECT_GEMINI;
    bool is_bare = block->kind == BLOCK_TEXT && text_is_empty(block->text);
    if (place == SIGNATURE_OF_CALL && block->kind != BLOCK_TOOL_CALL) {
        block->is_for_call = true;
        if (is_bare)
            block->kind = BLOCK_THINKING;
    } else if (is_foreign && is_bare) {
        block->kind = BLOCK_THINKING; /* a stream's last piece, which may come without `thought` */
    }
    reader->has_foreign = reader->has_foreign || is_foreign;
    /* As it stands it holds the mark, which its own dialect must not see. */
    if (is_foreign || place == SIGNATURE_OF_CALL || data.s.ptr != text_of(value).s.ptr)
        block->raw = STR_EMPTY;
    return 0;
}

/* --- calls and results --- */

static int read_call(struct gemini_reader *reader, struct json_value value, struct llm_block *block)
{
    struct json_value v[NAMES_MAX];
    int error = need_object(reader, "functionCall", value);
    if (error < 0)
        return error;
    collect(value.text, gemini_call_names, v);
    block->kind = BLOCK_TOOL_CALL;
    error = read_string(reader, "functionCall.id", v[0], &block->id);
    if (error == 0)
        error = read_string(reader, "functionCall.name", v[1], &block->name);
    if (error < 0)
        return error;
    if (v[1].kind == JSON_NONE)
        return gemini_wrong(reader, "functionCall.name", "is missing");
    if (v[2].kind != JSON_NONE && v[2].kind != JSON_OBJECT)
        return gemini_wrong(reader, "functionCall.args", "must be an object");
    if (text_is_empty(block->id))
        block->id = TEXT_NONE;
    block->arguments = v[2].kind == JSON_OBJECT ? text_plain(v[2].text) : TEXT_NONE;
    return 0;
}

/* {"output": "..."}, {"result": "..."} and {"error": "..."} are how a function's text is told;
 * every other object is the text itself. */
static int read_response(struct gemini_reader *reader, struct json_value response,
                         struct llm_block *block)
{
    static const char *const names[] = {"output", "result", "error", NULL};
    enum { OUTPUT, RESULT, PROBLEM };
    struct json_cursor cursor;
    struct json_value value, last = {JSON_NONE, STR_EMPTY};
    struct str key;
    unsigned count = 0;
    int at = -1;
    json_cursor_init(&cursor, response.text);
    while (gemini_next(&cursor, &key, &value)) {
        at = gemini_index(key, names);
        block->is_error = block->is_error || at == PROBLEM;
        last = value;
        count++;
    }
    struct llm_block *text = llm_block_add(reader->arena, &block->blocks, BLOCK_TEXT);
    if (text == NULL)
        return gemini_no_memory();
    bool is_text = count == 1 && at >= 0 && last.kind == JSON_STRING;
    text->text = is_text ? text_of(last) : text_plain(response.text);
    return 0;
}

/* Images and files that a function gave. */
static int read_result_parts(struct gemini_reader *reader, struct json_value value,
                             struct llm_block **end)
{
    struct gemini_list list;
    struct json_value item;
    int error = 0;
    while (*end != NULL)
        end = &(*end)->next;
    gemini_list_init(&list, value);
    while (error == 0 && gemini_list_next(&list, &item)) {
        struct gemini_part part;
        if (item.kind != JSON_OBJECT)
            return gemini_wrong(reader, "functionResponse.parts", "must be an array of objects");
        gemini_part_split(item.text, &part);
        struct llm_block *block = llm_block_add(reader->arena, end, BLOCK_OPAQUE);
        if (block == NULL)
            return gemini_no_memory();
        block->raw = item.text;
        block->maker = DIALECT_GEMINI;
        if (part.members[PART_INLINE_DATA].kind != JSON_NONE) {
            error = read_blob(reader, part.members[PART_INLINE_DATA], block);
        } else if (part.members[PART_FILE_DATA].kind != JSON_NONE) {
            error = read_file(reader, part.members[PART_FILE_DATA], block);
        } else if (part.members[PART_TEXT].kind != JSON_NONE) {
            block->kind = BLOCK_TEXT;
            error = read_string(reader, "functionResponse.parts.text", part.members[PART_TEXT],
                                &block->text);
        }
        end = &block->next;
    }
    return error;
}

static int read_result(struct gemini_reader *reader, struct json_value value,
                       struct llm_block *block)
{
    struct json_value v[NAMES_MAX];
    int error = need_object(reader, "functionResponse", value);
    if (error < 0)
        return error;
    collect(value.text, gemini_result_names, v);
    block->kind = BLOCK_TOOL_RESULT;
    error = read_string(reader, "functionResponse.id", v[0], &block->id);
    if (error == 0)
        error = read_string(reader, "functionResponse.name", v[1], &block->name);
    if (error < 0)
        return error;
    if (text_is_empty(block->id))
        block->id = TEXT_NONE;
    if (v[1].kind == JSON_NONE && !text_is_some(block->id))
        return gemini_wrong(reader, "functionResponse.name", "is missing");
    if (v[2].kind != JSON_NONE && v[2].kind != JSON_OBJECT)
        return gemini_wrong(reader, "functionResponse.response", "must be an object");
    if (v[2].kind == JSON_OBJECT)
        error = read_response(reader, v[2], block);
    if (error == 0 && v[3].kind != JSON_NONE)
        error = read_result_parts(reader, v[3], &block->blocks);
    return error;
}

/* --- parts --- */

static int read_text(struct gemini_reader *reader, const struct gemini_part *part, bool is_thought,
                     struct llm_block *block)
{
    block->kind = is_thought ? BLOCK_THINKING : BLOCK_TEXT;
    int error = read_string(reader, "text", part->members[PART_TEXT], &block->text);
    if (!text_is_some(block->text))
        block->text = TEXT_LIT("");
    return error;
}

static int read_part(struct gemini_reader *reader, struct json_value value, struct llm_block *block)
{
    struct gemini_part part;
    int error = 0;
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(reader, "", "must be an object, such as {\"text\": \"...\"}");
    gemini_part_split(value.text, &part);
    const struct json_value *m = part.members;
    bool is_thought = m[PART_THOUGHT].kind == JSON_TRUE;
    block->raw = value.text;
    block->maker = DIALECT_GEMINI;
    if (m[PART_THOUGHT].kind != JSON_NONE && !is_thought && m[PART_THOUGHT].kind != JSON_FALSE)
        return gemini_wrong(reader, "thought", "must be true or false");
    bool is_media = m[PART_INLINE_DATA].kind != JSON_NONE || m[PART_FILE_DATA].kind != JSON_NONE;
    bool is_signed = m[PART_SIGNATURE].kind != JSON_NONE;
    if (m[PART_CALL].kind != JSON_NONE)
        error = read_call(reader, m[PART_CALL], block);
    else if (m[PART_RESULT].kind != JSON_NONE)
        error = read_result(reader, m[PART_RESULT], block);
    else if (is_media && is_thought)
        block->kind = BLOCK_OPAQUE; /* a draft: no other dialect has pictures in its thoughts */
    else if (m[PART_INLINE_DATA].kind != JSON_NONE)
        error = read_blob(reader, m[PART_INLINE_DATA], block);
    else if (m[PART_FILE_DATA].kind != JSON_NONE)
        error = read_file(reader, m[PART_FILE_DATA], block);
    else if (m[PART_TEXT].kind != JSON_NONE || (part.others == 0 && (is_signed || is_thought)))
        error = read_text(reader, &part, is_thought, block);
    else
        block->kind = BLOCK_OPAQUE; /* code that the provider ran, and what is newer than this */
    if (error == 0 && block->kind != BLOCK_OPAQUE)
        error = read_signature(reader, m[PART_SIGNATURE], block);
    /* Text and nothing else: there is no more to it than was read. */
    bool is_text = m[PART_TEXT].kind != JSON_NONE &&
                   (block->kind == BLOCK_TEXT || block->kind == BLOCK_THINKING);
    if (is_text && !is_signed && part.others == 0 && m[PART_THOUGHT].kind != JSON_FALSE)
        block->raw = STR_EMPTY;
    return error;
}

int gemini_read_parts(struct gemini_reader *reader, struct json_value content,
                      struct llm_block **blocks)
{
    struct llm_block **end = blocks;
    struct gemini_list list;
    struct json_value parts, item;
    int error = 0;
    reader->part = -1;
    if (!gemini_find(content.text, "parts", &parts))
        return 0;
    if (parts.kind != JSON_ARRAY && parts.kind != JSON_OBJECT)
        return gemini_wrong(reader, "parts", "must be an array of parts");
    while (*end != NULL)
        end = &(*end)->next;
    gemini_list_init(&list, parts);
    while (error == 0 && gemini_list_next(&list, &item)) {
        struct llm_block *block = llm_block_add(reader->arena, end, BLOCK_TEXT);
        if (block == NULL)
            return gemini_no_memory();
        reader->part++;
        error = read_part(reader, item, block);
        end = &block->next;
    }
    if (error < 0)
        return error;
    reader->part = -1;
    if (!list.is_single && list.cursor.error < 0)
        return gemini_wrong(reader, "parts", "is no JSON, or nested too deeply");
    return 0;
}

/* --- ids --- */

/* A call that waits for its result. */
struct waiting {
    struct waiting *next;
    struct llm_block *call;
    bool is_made; /* its id is ours */
};

struct pairing {
    struct arena *arena;
    struct waiting *first, **end;
    unsigned count; /* of ids made */
};

static bool make_id(struct pairing *p, struct llm_block *block)
{
    struct str id = arena_printf(p->arena, "call_%u", ++p->count);
    block->id = text_plain(id);
    return id.ptr != NULL;
}

static bool add_waiting(struct pairing *p, struct llm_block *call)
{
    struct waiting *w = ARENA_NEW(p->arena, struct waiting);
    bool is_made = !text_is_some(call->id);
    if (w == NULL || (is_made && !make_id(p, call)))
        return false;
    *w = (struct waiting){NULL, call, is_made};
    *p->end = w;
    p->end = &w->next;
    return true;
}

static void remove_waiting(struct pairing *p, struct waiting **link)
{
    if (p->end == &(*link)->next)
        p->end = link;
    *link = (*link)->next;
}

static bool is_same(struct arena *arena, struct text a, struct text b)
{
    if (a.is_escaped == b.is_escaped && str_eq(a.s, b.s))
        return true;
    return text_is_some(a) && text_eq(b, text_or(arena, a, STR_EMPTY));
}

/* The first call of that name, those whose id is ours before others: a client that has the call's
 * id says it. */
static bool pair(struct pairing *p, struct llm_block *result)
{
    struct waiting **found = NULL;
    unsigned left = CALLS_LOOKED_AT;
    bool has_id = text_is_some(result->id);
    for (struct waiting **at = &p->first; *at != NULL && left > 0; at = &(*at)->next, left--) {
        const struct llm_block *call = (*at)->call;
        bool is_it = has_id ? is_same(p->arena, call->id, result->id)
                            : is_same(p->arena, call->name, result->name);
        if (is_it && (found == NULL || (!has_id && (*at)->is_made && !(*found)->is_made)))
            found = at;
    }
    if (found != NULL) {
        if (!has_id)
            result->id = (*found)->call->id;
        if (!text_is_some(result->name))
            result->name = (*found)->call->name;
        remove_waiting(p, found);
        return true;
    }
    return has_id || make_id(p, result);
}

/* Gives an id to calls and results that have none, the same one to those that belong together. */
static int pair_calls(struct gemini_reader *reader)
{
    struct pairing p = {.arena = reader->arena};
    p.end = &p.first;
    for (struct llm_message *m = reader->request->messages; m != NULL; m = m->next) {
        for (struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            if (b->kind == BLOCK_TOOL_CALL && !add_waiting(&p, b))
                return gemini_no_memory();
            if (b->kind == BLOCK_TOOL_RESULT && !pair(&p, b))
                return gemini_no_memory();
        }
    }
    return 0;
}

/* --- contents --- */

static int read_role(struct gemini_reader *reader, struct json_value value, enum llm_role *role)
{
    static const struct {
        const char *name;
        enum llm_role role;
    } roles[] = {{"user", ROLE_USER}, {"model", ROLE_ASSISTANT}, {"function", ROLE_TOOL}};
    *role = ROLE_USER;
    if (value.kind == JSON_NONE || (value.kind == JSON_STRING && json_string_raw(value).len == 0))
        return 0;
    for (size_t i = 0; value.kind == JSON_STRING && i < ARRAY_LEN(roles); i++) {
        if (json_string_eq(json_string_raw(value), str_c(roles[i].name))) {
            *role = roles[i].role;
            return 0;
        }
    }
    return gemini_wrong(reader, "role", "must be user or model");
}

int gemini_read_contents(struct gemini_reader *reader, struct json_value contents)
{
    struct gemini_list list;
    struct json_value item, role_name;
    enum llm_role role;
    int error = 0;
    reader->list = "contents";
    reader->content = reader->part = -1;
    if (contents.kind != JSON_ARRAY && contents.kind != JSON_OBJECT)
        return gemini_wrong(reader, "", "must be an array of contents");
    gemini_list_init(&list, contents);
    while (gemini_list_next(&list, &item)) {
        reader->content++;
        if (item.kind != JSON_OBJECT)
            return gemini_wrong(reader, "", "must be an object with role and parts");
        (void)gemini_find(item.text, "role", &role_name);
        error = read_role(reader, role_name, &role);
        if (error < 0)
            return error;
        struct llm_message *message = llm_message_add(reader->arena, reader->request, role);
        if (message == NULL)
            return gemini_no_memory();
        error = gemini_read_parts(reader, item, &message->blocks);
        if (error < 0)
            return error;
    }
    reader->content = -1;
    if (!list.is_single && list.cursor.error < 0)
        return gemini_wrong(reader, "", "is no JSON, or nested too deeply");
    error = gemini_join_thoughts(reader);
    return error == 0 ? pair_calls(reader) : error;
}

/* --- thoughts in pieces --- */

static bool is_foreign(const struct llm_block *block)
{
    return text_is_some(block->signature.data) && block->signature.maker != DIALECT_GEMINI;
}

/* Appends what is in quotes, so that pieces of a pair of surrogates come together. */
static void add_piece(struct buf *joined, const struct llm_block *block)
{
    if (block->text.is_escaped)
        buf_add_str(joined, block->text.s);
    else
        text_write_inside(joined, block->text);
}

/* Where the thoughts of one run are. */
struct run {
    struct llm_block *head; /* its first, without a signature; NULL = none is open */
    struct buf text;
};

static void run_end(struct run *run)
{
    run->head = NULL;
    buf_clear(&run->text);
}

/* Looks at the next block; *is_closed: all pieces are in the head now, this was the last. */
static int run_add(struct gemini_reader *reader, struct run *run, struct llm_block *block,
                   bool *is_closed)
{
    *is_closed = false;
    if (block->kind != BLOCK_THINKING || block->is_for_call) {
        run_end(run);
        return 0;
    }
    bool is_signed = text_is_some(block->signature.data);
    if (is_signed && (!is_foreign(block) || run->head == NULL)) {
        run_end(run);
        return 0;
    }
    add_piece(&run->text, block);
    if (!is_signed) {
        run->head = run->head != NULL ? run->head : block;
        return buf_ok(&run->text) ? 0 : gemini_no_memory();
    }
    struct str copy =
        buf_ok(&run->text) ? arena_dup(reader->arena, buf_str(&run->text)) : STR_EMPTY;
    if (copy.ptr == NULL)
        return gemini_no_memory();
    run->head->text = (struct text){copy, true};
    run->head->signature = block->signature;
    run->head->raw = STR_EMPTY;
    *is_closed = true;
    return 0;
}

/* Takes out the thoughts after `head` up to `last`, and the messages that this empties. */
static void take_out(struct llm_message *from, struct llm_block *head, const struct llm_block *last)
{
    struct llm_message *m = from;
    struct llm_block **link = &head->next;
    for (;;) {
        while (*link != NULL && *link != last)
            *link = (*link)->next;
        if (*link == last) {
            *link = last->next;
            break;
        }
        /* The run goes on in the next content, at its beginning. */
        m = m->next;
        link = &m->blocks;
    }
    while (from->next != NULL && from->next->blocks == NULL && from != m) {
        bool is_last = from->next == m;
        from->next = from->next->next;
        if (is_last)
            break;
    }
}

int gemini_join_thoughts(struct gemini_reader *reader)
{
    struct run run = {NULL, BUF_INIT};
    struct llm_message *from = NULL;
    bool is_closed;
    int error = 0;
    if (!reader->has_foreign)
        return 0;
    for (struct llm_message *m = reader->request->messages; error == 0 && m != NULL; m = m->next) {
        reader->request->last_message = m;
        if (m->role != ROLE_ASSISTANT)
            run_end(&run);
        for (struct llm_block *b = m->blocks; error == 0 && b != NULL; b = b->next) {
            error = run_add(reader, &run, b, &is_closed);
            if (run.head == b)
                from = m;
            if (error < 0 || !is_closed)
                continue;
            struct llm_block *head = run.head;
            take_out(from, head, b);
            run_end(&run);
            m = from;
            b = head;
        }
    }
    buf_fini(&run.text);
    return error;
}
