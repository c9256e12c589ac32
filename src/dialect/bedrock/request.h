/*
 * Requests of Converse and ConverseStream: reading and writing. The model and whether the answer is
 * streamed stand in the path.
 * Any thread; nothing yields.
 * What is read points into the body or lives in the arena.
 * -ERR_INVALID with words for the client, -ERR_NOMEM.
 * Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, the service
 * model of bedrock-runtime, and recorded requests.
 */
#ifndef WEIR_DIALECT_BEDROCK_REQUEST_H
#define WEIR_DIALECT_BEDROCK_REQUEST_H

#include "dialect/bedrock/member.h"
#include "dialect/field.h"
#include "dialect/target.h"

int bedrock_request_read(struct str body, struct arena *arena, struct llm_request *request);
int bedrock_request_write(struct llm_request *request, const struct llm_target *target,
                          struct arena *arena, struct llm_notes *notes, struct buf *out);

/* --- parts --- */

/* additionalModelRequestFields: what is of the model's maker, not of Converse. */
int bedrock_read_fields(struct bedrock_reader *reader, struct json_value value, void *into);

/* What is asked of a model, decided before it is written: some wishes rule out others. */
struct bedrock_plan {
    struct str temperature, top_p, top_k;
    const char *thinking;         /* "enabled", "adaptive"; NULL = not in this form */
    uint32_t budget;              /* tokens of "enabled" */
    const char *claude_effort;    /* output_config.effort */
    const char *nova_effort;      /* reasoningConfig.maxReasoningEffort */
    struct text reasoning_effort; /* gpt-oss */
    struct str betas;             /* anthropic_beta: "a,b" */
    bool is_nova;                 /* top_k stands in an inferenceConfig of its own */
};
void bedrock_plan(const struct llm_request *request, const struct llm_target *target,
                  struct llm_notes *notes, struct bedrock_plan *plan);
/* The member with its key, or nothing. Extras of the own dialect are in it as they were. */
void bedrock_write_fields(struct buf *out, struct llm_request *request,
                          const struct bedrock_plan *plan);
/* toolConfig, or nothing. */
void bedrock_write_tools(struct buf *out, struct llm_request *request, struct llm_notes *notes);
/* Extras of the own dialect whose name is `prefix` and one more word, as members of the object that
 * is open; those below them count as written too. */
void bedrock_write_extras(struct buf *out, struct llm_request *request, const char *prefix);

/*
 * Makes messages of another dialect such that Converse takes them: what has no form goes, with
 * notice; ids are those that it takes; roles alternate and begin with the user.
 */
int bedrock_prepare(struct llm_request *request, struct arena *arena, struct llm_notes *notes);

#endif
