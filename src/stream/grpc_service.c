#include "stream/grpc_service.h"

/* --- protobuf -------------------------------------------------------------------------------- */

enum { VARINT, FIXED_64, LENGTH, FIXED_32 = 5 };

static bool take_varint(struct str *s, uint64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < 10 && i < s->len; i++) {
        unsigned char c = (unsigned char)s->ptr[i];
        *out |= (uint64_t)(c & 0x7f) << (7 * i);
        if ((c & 0x80) == 0) {
            *s = str_skip(*s, i + 1);
            return true;
        }
    }
    return false;
}

bool protobuf_next(struct str *message, struct protobuf_field *field)
{
    uint64_t key, length;
    *field = (struct protobuf_field){0};
    if (message->len == 0 || !take_varint(message, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return false;
    field->number = (uint32_t)(key >> 3);
    switch (key & 7) {
    case VARINT:
        return take_varint(message, &field->value);
    case FIXED_64:
    case FIXED_32:
        length = (key & 7) == FIXED_64 ? 8 : 4;
        break;
    case LENGTH:
        if (!take_varint(message, &length))
            return false;
        break;
    default: /* groups are of the past */
        return false;
    }
    if (length > message->len)
        return false;
    field->bytes = str_head(*message, (size_t)length);
    *message = str_skip(*message, (size_t)length);
    return true;
}

/* --- the services ---------------------------------------------------------------------------- */

#define TRITON "inference.GRPCInferenceService"
#define VERTEX "google.cloud.aiplatform.v1*"

/* KServe's v2 protocol with Triton's additions (grpc_service.proto), and Vertex AI's
 * prediction_service.proto, where v1 and v1beta1 agree. */
static const struct grpc_method methods[] = {
    {TRITON, "ModelInfer", 1, 0},          {TRITON, "ModelStreamInfer", 1, 0},
    {TRITON, "ModelReady", 1, 0},          {TRITON, "ModelMetadata", 1, 0},
    {TRITON, "ModelConfig", 1, 0},         {TRITON, "ModelStatistics", 1, 0},
    {TRITON, "RepositoryModelLoad", 2, 0}, {TRITON, "RepositoryModelUnload", 2, 0},
    {VERTEX, "GenerateContent", 5, 4},     {VERTEX, "StreamGenerateContent", 5, 4},
};

static bool is_service(struct str rule, struct str service)
{
    if (!str_ends(rule, STR("*")))
        return str_eq(rule, service);
    return str_starts(service, str_head(rule, rule.len - 1)) &&
           str_ends(service, STR(".PredictionService"));
}

const struct grpc_method *grpc_method_find(struct str service, struct str method)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (str_eq(str_c(methods[i].method), method) &&
            is_service(str_c(methods[i].service), service))
            return &methods[i];
    }
    return NULL;
}

struct str grpc_method_model(const struct grpc_method *method, struct str message)
{
    struct protobuf_field field;
    while (protobuf_next(&message, &field)) {
        if (field.number != method->model_field)
            continue;
        ptrdiff_t slash = str_rindex(field.bytes, '/');
        return slash >= 0 ? str_skip(field.bytes, (size_t)slash + 1) : field.bytes;
    }
    return STR_EMPTY;
}

/* google.cloud.aiplatform.v1.GenerateContentResponse.UsageMetadata */
static void take_usage(struct str message, struct token_usage *usage)
{
    struct protobuf_field field;
    int64_t candidates = -1;
    while (protobuf_next(&message, &field)) {
        int64_t value = field.value > INT32_MAX ? -1 : (int64_t)field.value;
        if (field.number == 1)
            usage->input = value;
        else if (field.number == 2)
            candidates = value;
        else if (field.number == 5)
            usage->cache_read = value;
        else if (field.number == 14)
            usage->reasoning = value;
    }
    usage->input_includes_cached = true;
    if (candidates >= 0)
        usage->output = candidates + MAX(usage->reasoning, 0);
}

void grpc_method_usage(const struct grpc_method *method, struct str message,
                       struct token_usage *usage)
{
    struct protobuf_field field;
    while (method->usage_field != 0 && protobuf_next(&message, &field)) {
        if (field.number == method->usage_field && field.bytes.ptr != NULL)
            take_usage(field.bytes, usage);
    }
}
