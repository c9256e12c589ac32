#include "dialect/dialect.h"

#include "dialect/bedrock/error.h"
#include "dialect/bedrock/request.h"
#include "dialect/bedrock/response.h"
#include "dialect/bedrock/usage.h"

/* The path has all that policy asks for; usage comes with every stream. */
static int scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan)
{
    (void)arena;
    *scan = (struct llm_scan){.includes_usage = true};
    return json_scan_object(body, max_depth, llm_wants_shared, LLM_WANT_OWN, &scan->json);
}

static void fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                bool wants_usage, struct arena *arena, struct llm_fit *fit)
{
    (void)scan;
    (void)body;
    (void)target;
    (void)wants_usage;
    (void)arena;
    *fit = (struct llm_fit){.count = 0};
}

const struct dialect bedrock_dialect = {
    .id = DIALECT_BEDROCK,
    .name = "bedrock",
    .scan = scan,
    .fit = fit,
    .read_request = bedrock_request_read,
    .write_request = bedrock_request_write,
    .decoder_new = bedrock_decoder_new,
    .decode = bedrock_decode,
    .decode_end = bedrock_decode_end,
    .decode_whole = bedrock_decode_whole,
    .encoder_new = bedrock_encoder_new,
    .encode = bedrock_encode,
    .encoder_follow = bedrock_encoder_follow,
    .write_last = bedrock_write_last,
    .write_answer = bedrock_answer_write,
    .read_error = bedrock_error_read,
    .write_error = bedrock_error_write,
    .read_usage = bedrock_usage_read,
    .tool_name_max = 64,
    .tool_name_extra = "",
};
