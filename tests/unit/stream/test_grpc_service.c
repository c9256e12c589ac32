#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/defs.h"
#include "stream/grpc_service.h"

#define BYTES(text) str_n(text, sizeof(text) - 1)

static void fields_of_all_kinds(void **state)
{
    struct str message = BYTES("\x08\x96\x01" /* 1: 150 */
                               "\x12\x03"
                               "abc" /* 2: "abc" */
                               "\x19\1\2\3\4\5\6\7\10"
                               "\x25\1\2\3\4"   /* 3, 4: fixed */
                               "\xfa\x01\x00"); /* 31: "" */
    struct protobuf_field field;
    (void)state;
    assert_true(protobuf_next(&message, &field));
    assert_int_equal(field.number, 1);
    assert_int_equal(field.value, 150);
    assert_null(field.bytes.ptr);
    assert_true(protobuf_next(&message, &field));
    assert_true(field.number == 2 && str_eq(field.bytes, STR("abc")));
    assert_true(protobuf_next(&message, &field) && field.bytes.len == 8);
    assert_true(protobuf_next(&message, &field) && field.bytes.len == 4);
    assert_true(protobuf_next(&message, &field) && field.number == 31 && field.bytes.len == 0);
    assert_false(protobuf_next(&message, &field));
}

static void what_is_broken_ends(void **state)
{
    static const struct str broken[] = {
        STR_INIT("\x08"),
        STR_INIT("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        STR_INIT("\x12\x05"
                 "abc"),
        STR_INIT("\x19"
                 "1234567"),
        STR_INIT("\x0b"),
        STR_INIT("\x02\x01"
                 "a"),
        STR_INIT("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct str message = broken[i];
        struct protobuf_field field;
        assert_false(protobuf_next(&message, &field));
    }
}

static void models(void **state)
{
    const struct grpc_method *infer =
        grpc_method_find(STR("inference.GRPCInferenceService"), STR("ModelStreamInfer"));
    const struct grpc_method *vertex = grpc_method_find(
        STR("google.cloud.aiplatform.v1beta1.PredictionService"), STR("GenerateContent"));
    (void)state;
    assert_non_null(infer);
    assert_non_null(vertex);
    assert_null(grpc_method_find(STR("inference.GRPCInferenceService"), STR("ServerLive")));
    assert_null(
        grpc_method_find(STR("google.cloud.aiplatform.v1.ModelService"), STR("GenerateContent")));
    assert_true(str_eq(grpc_method_model(infer, BYTES("\x0a\x05"
                                                      "llama\x12\x01"
                                                      "1")),
                       STR("llama")));
    assert_true(str_eq(grpc_method_model(vertex, BYTES("\x12\x01x\x2a\x0d"
                                                       "models/gemini")),
                       STR("gemini")));
    assert_int_equal(grpc_method_model(vertex, BYTES("\x12\x7f"
                                                     "cut"))
                         .len,
                     0);
}

static void usage(void **state)
{
    const struct grpc_method *vertex = grpc_method_find(
        STR("google.cloud.aiplatform.v1.PredictionService"), STR("StreamGenerateContent"));
    struct token_usage told = TOKEN_USAGE_NONE;
    (void)state;
    grpc_method_usage(vertex, BYTES("\x12\x02zz"), &told);
    assert_int_equal(told.input, -1);
    grpc_method_usage(vertex, BYTES("\x22\x06\x08\x07\x10\x03\x70\x02"), &told);
    assert_int_equal(told.input, 7);
    assert_int_equal(told.reasoning, 2);
    assert_int_equal(told.output, 5);
    assert_true(told.input_includes_cached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_all_kinds),
        cmocka_unit_test(what_is_broken_ends),
        cmocka_unit_test(models),
        cmocka_unit_test(usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
