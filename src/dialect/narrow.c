#include "dialect/narrow.h"

#include "dialect/field.h"

struct narrowing {
    struct llm_request *request;
    enum dialect_id dialect;
    const struct llm_traits *traits;
    struct llm_notes *notes;
};

static const char *name_of(const struct narrowing *n, enum llm_field field)
{
    return llm_field_name(n->request, field);
}

static void note(const struct narrowing *n, enum llm_field field)
{
    llm_note_dropped(n->notes, "%s", name_of(n, field));
}

/* --- blocks --- */

/* Claude Code tells Anthropic in its first system block what is to be billed how. */
static bool is_vendors_own(const struct narrowing *n, const struct llm_block *block)
{
    return block->kind == BLOCK_TEXT && n->dialect != DIALECT_ANTHROPIC &&
           n->request->source == DIALECT_ANTHROPIC &&
           str_starts(block->text.s, STR("x-anthropic-billing-header:"));
}

static bool is_taken(const struct narrowing *n, const struct llm_block *block)
{
    switch (block->kind) {
    case BLOCK_OPAQUE:
        return block->maker == n->dialect;
    case BLOCK_IMAGE:
        return n->traits->takes_images != TRI_NO;
    case BLOCK_AUDIO:
        return n->traits->takes_audio != TRI_NO;
    case BLOCK_VIDEO:
        return n->traits->takes_video != TRI_NO;
    case BLOCK_DOCUMENT:
        /* Plain text can be said to any model. */
        return n->traits->takes_documents != TRI_NO || text_is_some(block->text);
    default:
        return !is_vendors_own(n, block);
    }
}

/* `place` is the list that they are in: "messages[2].content". */
static void narrow_blocks(const struct narrowing *n, struct llm_block **link, const char *place)
{
    for (unsigned i = 0; *link != NULL; i++) {
        struct llm_block *block = *link;
        if (!is_taken(n, block)) {
            llm_note_dropped(n->notes, "%s[%u]", place, i);
            *link = block->next;
            continue;
        }
        if (block->kind == BLOCK_TOOL_RESULT && block->blocks != NULL) {
            char inner[128];
            snprintf(inner, sizeof(inner), "%s[%u].content", place, i);
            struct llm_block **contents = &block->blocks;
            for (unsigned k = 0; *contents != NULL; k++) {
                if (is_taken(n, *contents)) {
                    contents = &(*contents)->next;
                    continue;
                }
                llm_note_dropped(n->notes, "%s[%u]", inner, k);
                *contents = (*contents)->next;
            }
        }
        link = &block->next;
    }
}

static void narrow_messages(const struct narrowing *n)
{
    struct llm_message **link = &n->request->messages;
    n->request->last_message = NULL;
    for (unsigned i = 0; *link != NULL; i++) {
        struct llm_message *message = *link;
        bool had_any = message->blocks != NULL;
        char place[96];
        snprintf(place, sizeof(place), "%s[%u].%s", name_of(n, FIELD_MESSAGES), i,
                 name_of(n, FIELD_CONTENT));
        narrow_blocks(n, &message->blocks, place);
        if (had_any && message->blocks == NULL) {
            *link = message->next;
            continue;
        }
        n->request->last_message = message;
        link = &message->next;
    }
}

/* A last message of the assistant that is nothing but text is the beginning of the answer. */
static void narrow_prefill(const struct narrowing *n)
{
    struct llm_request *request = n->request;
    struct llm_message **link = &request->messages;
    struct llm_message *last = request->last_message;
    unsigned index = 0;
    if (n->traits->takes_prefill != TRI_NO || last == NULL || last->role != ROLE_ASSISTANT ||
        last == request->messages || !llm_blocks_are_text(last->blocks))
        return;
    request->last_message = NULL;
    for (; *link != last; link = &(*link)->next, index++)
        request->last_message = *link;
    *link = NULL;
    llm_note_dropped(n->notes, "%s[%u]", name_of(n, FIELD_MESSAGES), index);
}

/* --- tools --- */

static bool has_tool(const struct llm_request *request, struct text name)
{
    struct buf wanted = BUF_INIT;
    bool found = false;
    if (text_append_plain(&wanted, name) != 0 || !buf_ok(&wanted))
        found = true; /* it cannot be told: the provider will judge it */
    for (const struct llm_tool *tool = request->tools; tool != NULL && !found; tool = tool->next)
        found = text_eq(tool->name, buf_str(&wanted));
    buf_fini(&wanted);
    return found;
}

static void narrow_choice(const struct narrowing *n)
{
    struct llm_request *request = n->request;
    enum llm_tool_choice choice = request->tool_choice;
    bool is_lost = (choice == TOOL_CHOICE_NAMED && text_is_some(request->tool_choice_name) &&
                    !has_tool(request, request->tool_choice_name)) ||
                   (choice == TOOL_CHOICE_REQUIRED && request->tools == NULL);
    if (is_lost)
        note(n, FIELD_TOOL_CHOICE);
    if (is_lost || request->tools == NULL) {
        request->tool_choice = TOOL_CHOICE_UNSET;
        request->tool_choice_name = TEXT_NONE;
    }
    for (struct llm_name **link = &request->allowed_tools; *link != NULL;) {
        if (has_tool(request, (*link)->text))
            link = &(*link)->next;
        else
            *link = (*link)->next;
    }
    if (request->tools == NULL)
        request->parallel_tools = TRI_UNSET;
}

static void narrow_tools(const struct narrowing *n)
{
    struct llm_request *request = n->request;
    bool has_lost = false;
    if (request->tools != NULL && n->traits->takes_tools == TRI_NO) {
        note(n, FIELD_TOOLS);
        request->tools = request->last_tool = NULL;
        has_lost = true;
    }
    struct llm_tool **link = &request->tools;
    request->last_tool = NULL;
    for (unsigned i = 0; *link != NULL; i++) {
        struct llm_tool *tool = *link;
        if (tool->kind != TOOL_BUILTIN || tool->maker == n->dialect) {
            link = &tool->next;
            continue;
        }
        llm_note_dropped(n->notes, "%s[%u]", name_of(n, FIELD_TOOLS), i);
        *link = tool->next;
        has_lost = true;
    }
    if (has_lost)
        narrow_choice(n);
}

static void narrow_forced_choice(const struct narrowing *n)
{
    struct llm_request *request = n->request;
    bool is_forced =
        request->tool_choice == TOOL_CHOICE_REQUIRED || request->tool_choice == TOOL_CHOICE_NAMED;
    if (!is_forced || n->traits->takes_forced_tools != TRI_NO)
        return;
    note(n, FIELD_TOOL_CHOICE);
    request->tool_choice = TOOL_CHOICE_AUTO;
    request->tool_choice_name = TEXT_NONE;
}

/* --- parameters --- */

static void drop_number(const struct narrowing *n, struct str *number, enum llm_field field)
{
    if (number->len == 0)
        return;
    note(n, field);
    *number = STR_EMPTY;
}

static void narrow_params(const struct narrowing *n)
{
    struct llm_request *request = n->request;
    bool has_n = n->dialect == DIALECT_OPENAI_CHAT || n->dialect == DIALECT_GEMINI;
    double many;
    if (llm_number(request->n, &many) && many <= 1 && !has_n)
        request->n = STR_EMPTY;
    if (!has_n || n->traits->takes_many_choices == TRI_NO)
        drop_number(n, &request->n, FIELD_N);
    if (n->traits->takes_sampling == TRI_NO) {
        drop_number(n, &request->temperature, FIELD_TEMPERATURE);
        drop_number(n, &request->top_p, FIELD_TOP_P);
        drop_number(n, &request->top_k, FIELD_TOP_K);
    }
    if (n->traits->takes_logprobs == TRI_NO) {
        if (request->logprobs == TRI_YES)
            note(n, FIELD_LOGPROBS);
        request->logprobs = TRI_UNSET;
        drop_number(n, &request->top_logprobs, FIELD_TOP_LOGPROBS);
    }
    if (n->traits->thinking == THINKING_NONE) {
        if (request->reasoning.mode != REASONING_UNSET && request->reasoning.mode != REASONING_OFF)
            note(n, FIELD_REASONING);
        request->reasoning = (struct llm_reasoning){.mode = REASONING_UNSET};
    }
}

/* Claude Code sends its account and session as the user; it is Anthropic's alone. */
static void narrow_user(const struct narrowing *n)
{
    struct str user = n->request->user.s;
    bool is_account = str_find(user, STR("_account_")) >= 0 ||
                      (str_starts(str_trim(user), STR("{")) && str_find(user, STR("account")) >= 0);
    if (n->request->source != DIALECT_ANTHROPIC || n->dialect == DIALECT_ANTHROPIC || !is_account)
        return;
    note(n, FIELD_USER);
    n->request->user = TEXT_NONE;
}

void llm_request_narrow(struct llm_request *request, enum dialect_id dialect,
                        const struct llm_target *target, struct llm_notes *notes)
{
    struct narrowing n = {request, dialect, target->traits, notes};
    narrow_blocks(&n, &request->system, name_of(&n, FIELD_SYSTEM));
    narrow_messages(&n);
    narrow_prefill(&n);
    narrow_tools(&n);
    narrow_forced_choice(&n);
    narrow_params(&n);
    narrow_user(&n);
}

/* The calls that the turn goes on from, if it does: those of the last message of the assistant. */
static bool goes_on_without_thinking(const struct llm_request *request)
{
    const struct llm_block *turn = NULL;
    bool has_call = false;
    enum llm_role before = ROLE_USER;
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next) {
        bool is_user =
            m->role == ROLE_USER && m->blocks != NULL && m->blocks->kind != BLOCK_TOOL_RESULT;
        if (m->role == ROLE_ASSISTANT && before != ROLE_ASSISTANT) {
            turn = m->blocks;
            has_call = false;
        }
        for (const struct llm_block *b = m->blocks; m->role == ROLE_ASSISTANT && b != NULL;
             b = b->next)
            has_call = has_call || b->kind == BLOCK_TOOL_CALL;
        if (is_user)
            has_call = false;
        before = m->role;
    }
    return has_call && turn != NULL && turn->kind != BLOCK_THINKING;
}

void llm_request_settle_thinking(struct llm_request *request, enum dialect_id dialect,
                                 const struct llm_target *target, struct llm_notes *notes)
{
    struct narrowing n = {request, dialect, target->traits, notes};
    enum llm_reasoning_mode mode = request->reasoning.mode;
    bool is_claude = dialect == DIALECT_ANTHROPIC ||
                     (dialect == DIALECT_BEDROCK && str_ifind(target->model, STR("claude")) >= 0);
    if (!is_claude || mode == REASONING_UNSET || mode == REASONING_OFF ||
        target->traits->thinking == THINKING_ADAPTIVE || !goes_on_without_thinking(request))
        return;
    note(&n, FIELD_REASONING);
    request->reasoning = (struct llm_reasoning){.mode = REASONING_UNSET};
}
