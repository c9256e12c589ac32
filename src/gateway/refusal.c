#include "gateway/refusal.h"

#include "dialect/bedrock/error.h"
#include "dialect/dialect.h"
#include "dialect/openai_chat/error.h"
#include "gateway/exchange.h"
#include "gateway/grpc.h"
#include "gateway/heartbeat.h"

static const struct refusal_row rows[REFUSAL_COUNT] = {
    [REFUSE_PATH] = {404, "invalid_request_error", "unknown_url", "client_error"},
    [REFUSE_METHOD] = {405, "invalid_request_error", "method_not_allowed", "client_error"},
    [REFUSE_KEY_MISSING] = {401, "invalid_request_error", "missing_api_key", "client_error"},
    [REFUSE_KEY_UNKNOWN] = {401, "invalid_request_error", "invalid_api_key", "client_error"},
    [REFUSE_KEY_EXPIRED] = {401, "invalid_request_error", "expired_api_key", "client_error"},
    [REFUSE_KEY_DISABLED] = {401, "invalid_request_error", "disabled_api_key", "client_error"},
    [REFUSE_SIGNATURE] = {403, "invalid_request_error", "invalid_signature", "client_error"},
    [REFUSE_NOT_ADMIN] = {403, "invalid_request_error", "admin_only", "client_error"},
    [REFUSE_MODEL_FORBIDDEN] = {403, "invalid_request_error", "model_not_allowed", "client_error"},
    [REFUSE_MODEL_UNKNOWN] = {404, "invalid_request_error", "model_not_found", "client_error"},
    [REFUSE_MODEL_AMBIGUOUS] = {400, "invalid_request_error", "model_ambiguous", "client_error"},
    [REFUSE_NO_MATCH] = {400, "invalid_request_error", "no_matching_target", "client_error"},
    [REFUSE_RESPONSE_UNKNOWN] = {404, "invalid_request_error", "response_not_found",
                                 "client_error"},
    [REFUSE_STREAM_UNKNOWN] = {404, "invalid_request_error", "stream_not_found", "client_error"},
    [REFUSE_STREAM_GONE] = {410, "invalid_request_error", "stream_gone", "client_error"},
    [REFUSE_STREAM_RANGE] = {416, "invalid_request_error", "event_out_of_range", "client_error"},
    [REFUSE_ONCE_KEY_REUSED] = {422, "invalid_request_error", "idempotency_key_reused",
                                "client_error"},
    [REFUSE_HEADER] = {400, "invalid_request_error", "invalid_header", "client_error"},
    [REFUSE_UPGRADE] = {426, "invalid_request_error", "upgrade_required", "client_error"},
    [REFUSE_SESSIONS] = {429, "rate_limit_error", "too_many_sessions", "client_error"},
    [REFUSE_HANDSHAKE] = {400, "invalid_request_error", "invalid_handshake", "client_error"},
    [REFUSE_OPERATION] = {400, "invalid_request_error", "operation_not_offered", "client_error"},
    [REFUSE_DIALECT] = {400, "invalid_request_error", "dialect_not_supported", "client_error"},
    [REFUSE_UNMAPPABLE] = {400, "invalid_request_error", "unmappable", "client_error"},
    [REFUSE_BODY] = {400, "invalid_request_error", "invalid_body", "client_error"},
    [REFUSE_BODY_TOO_LARGE] = {413, "invalid_request_error", "body_too_large", "client_error"},
    [REFUSE_BODY_ENCODING] = {415, "invalid_request_error", "bad_content_encoding", "client_error"},
    [REFUSE_BODY_TIMEOUT] = {408, "invalid_request_error", "body_timeout", "client_error"},
    [REFUSE_NO_MEMORY] = {503, "server_error", "overloaded", "gateway_error"},
    [REFUSE_DRAINING] = {503, "server_error", "shutting_down", "gateway_error"},
    [REFUSE_UPSTREAM_CONNECT] = {502, "server_error", "upstream_unreachable", "upstream_error"},
    [REFUSE_UPSTREAM_FORBIDDEN] = {502, "server_error", "upstream_address_forbidden",
                                   "gateway_error"},
    [REFUSE_UPSTREAM_TLS] = {502, "server_error", "upstream_tls", "upstream_error"},
    [REFUSE_UPSTREAM_TIMEOUT] = {504, "server_error", "upstream_timeout", "upstream_error"},
    [REFUSE_UPSTREAM_BROKEN] = {502, "server_error", "upstream_broken", "upstream_error"},
    [REFUSE_UPSTREAM_LIMIT] = {502, "server_error", "upstream_too_large", "upstream_error"},
    [REFUSE_LIMITED] = {429, "rate_limit_error", "targets_limited", "upstream_error"},
    [REFUSE_NO_TARGET] = {503, "server_error", "no_target_available", "upstream_error"},
    [REFUSE_UPSTREAM_ERROR] = {502, "server_error", "upstream_error", "upstream_error"},
    [REFUSE_INTERNAL] = {500, "server_error", "internal_error", "gateway_error"},
};

const struct refusal_row *refusal_row(enum refusal refusal)
{
    CHECK(refusal < REFUSAL_COUNT);
    return &rows[refusal];
}

enum refusal refusal_of_upstream(int code)
{
    switch (code < 0 ? -code : code) {
    case ERR_DNS:
    case ERR_CONNECT:
        return REFUSE_UPSTREAM_CONNECT;
    case ERR_FORBIDDEN:
        return REFUSE_UPSTREAM_FORBIDDEN;
    case ERR_TLS:
        return REFUSE_UPSTREAM_TLS;
    case ERR_TIMEOUT:
        return REFUSE_UPSTREAM_TIMEOUT;
    case ERR_LIMIT:
        return REFUSE_UPSTREAM_LIMIT;
    case ERR_NOMEM:
        return REFUSE_NO_MEMORY;
    case ERR_CANCELED:
        return REFUSE_DRAINING;
    default:
        return REFUSE_UPSTREAM_BROKEN;
    }
}

void refusal_note(struct exchange *ex, enum refusal refusal, struct str message)
{
    const struct refusal_row *row = refusal_row(refusal);
    ex->record.outcome = str_c(row->outcome);
    ex->record.error = str_c(row->code);
    ex->record.error_message = message;
}

/* Writes the whole answer; a failure to write is the client's hang-up and noted by settle. */
YIELDS static void answer(struct exchange *ex, unsigned status, struct str body)
{
    exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
    exchange_add_own_headers(ex);
    http_respond(ex->http, status, &ex->answer, body);
}

struct llm_error refusal_error(enum refusal refusal, struct str param, struct str message)
{
    const struct refusal_row *row = refusal_row(refusal);
    struct llm_error error = LLM_ERROR_NONE;
    error.kind = llm_error_kind_of_status(row->status);
    error.status = row->status;
    error.message = text_plain(message);
    error.type = text_plain(str_c(row->type));
    error.code = text_plain(str_c(row->code));
    error.param = text_plain(param);
    error.is_own = true;
    return error;
}

/* In the words of the client's SDK. */
YIELDS static void answer_error(struct exchange *ex, unsigned status, const struct llm_error *error)
{
    if (ex->is_head_early) {
        heartbeat_fail(ex, error);
        return;
    }
    struct buf body = BUF_INIT;
    dialect_of(ex->error_dialect)->write_error(error, &body);
    if (ex->error_dialect == DIALECT_BEDROCK)
        exchange_answer_header(ex, STR("x-amzn-ErrorType"), str_c(bedrock_error_type(error)));
    answer(ex, status, buf_str(&body));
    buf_fini(&body);
}

YIELDS void refuse(struct exchange *ex, enum refusal refusal, struct str param, const char *format,
                   ...)
{
    const struct refusal_row *row = refusal_row(refusal);
    va_list args;
    va_start(args, format);
    struct str message = arena_vprintf(ex->arena, format, args);
    va_end(args);
    refusal_note(ex, refusal, message);
    if (ex->operation == &grpc_operation) {
        grpc_refuse(ex, row->status, message);
        return;
    }
    if (ex->http->status != 0 && !ex->is_head_early)
        return;
    struct llm_error error = refusal_error(refusal, param, message);
    if (refusal == REFUSE_NO_MEMORY || refusal == REFUSE_DRAINING)
        exchange_answer_header(ex, STR("Retry-After"), STR("1"));
    answer_error(ex, row->status, &error);
}

YIELDS int refuse_no_memory(struct exchange *ex)
{
    refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
    return -ERR_NOMEM;
}

YIELDS void refuse_with_error(struct exchange *ex, unsigned status, const struct llm_error *error)
{
    unsigned told = error->status != 0 ? error->status : llm_error_status_of_kind(error->kind);
    refusal_note(ex, REFUSE_UPSTREAM_ERROR, STR_EMPTY);
    if (error->retry_after_ms >= 0 && http_headers_get(&ex->answer, STR("retry-after")).ptr == NULL)
        exchange_answer_header(
            ex, STR("Retry-After"),
            arena_u64(ex->head_arena, ((uint64_t)error->retry_after_ms + 999) / 1000));
    answer_error(ex, status != 0 ? status : told, error);
}

YIELDS void refuse_with_status(struct exchange *ex, unsigned status, enum refusal refusal,
                               struct str body)
{
    refusal_note(ex, refusal, STR_EMPTY);
    answer(ex, status, body);
}

struct str refusal_for_bad_http(struct arena *arena, unsigned status, const char *message,
                                struct str *content_type)
{
    struct buf body = BUF_INIT;
    *content_type = STR("application/json");
    openai_error_write(&body, status >= 500 ? STR("server_error") : STR("invalid_request_error"),
                       STR_EMPTY, STR("bad_http"), str_c(message));
    struct str kept = arena_dup(arena, buf_str(&body));
    buf_fini(&body);
    return kept;
}
