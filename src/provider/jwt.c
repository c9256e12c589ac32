#include "provider/jwt.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/buf.h"
#include "base/err.h"
#include "rt/helper.h"

enum { SIGNATURE_BYTES_MAX = 1024 }; /* of a key of 8192 bits */

struct signing {
    struct str key, text;
    unsigned char signature[SIGNATURE_BYTES_MAX];
    size_t signature_bytes; /* 0 = it could not be done */
};

/* A key of 4096 bits takes some milliseconds, and OpenSSL much stack. */
static void sign(void *arg)
{
    struct signing *s = arg;
    BIO *bio = BIO_new_mem_buf(s->key.ptr, (int)s->key.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t len = sizeof(s->signature);
    bool is_rsa = key != NULL && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
                  (size_t)EVP_PKEY_get_size(key) <= len;
    if (is_rsa && context != NULL &&
        EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(context, s->signature, &len, (const unsigned char *)s->text.ptr,
                       s->text.len) == 1)
        s->signature_bytes = len;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
}

/* RFC 4648 section 5, without padding. */
static struct str base64url(struct arena *arena, const void *bytes, size_t len)
{
    char *out = arena_alloc(arena, len / 3 * 4 + 8);
    if (out == NULL)
        return STR_EMPTY;
    int n = EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
    size_t size = (size_t)n;
    while (size > 0 && out[size - 1] == '=')
        size--;
    for (size_t i = 0; i < size; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    return str_n(out, size);
}

static struct str header_and_claims(struct arena *arena, struct str key_id,
                                    const struct jwt_claim *claims, size_t count)
{
    struct buf json = BUF_INIT;
    BUF_LIT(&json, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
    if (key_id.len > 0) {
        BUF_LIT(&json, ",\"kid\":");
        buf_add_json(&json, key_id);
    }
    BUF_LIT(&json, "}");
    struct str header = buf_ok(&json) ? base64url(arena, json.ptr, json.len) : STR_EMPTY;
    buf_clear(&json);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&json, "%s\"%s\":", i == 0 ? "{" : ",", claims[i].name);
        if (claims[i].text.ptr != NULL)
            buf_add_json(&json, claims[i].text);
        else
            buf_add_i64(&json, claims[i].number);
    }
    BUF_LIT(&json, "}");
    struct str body = buf_ok(&json) ? base64url(arena, json.ptr, json.len) : STR_EMPTY;
    buf_fini(&json);
    if (header.ptr == NULL || body.ptr == NULL)
        return STR_EMPTY;
    return arena_printf(arena, "%.*s.%.*s", STR_ARG(header), STR_ARG(body));
}

YIELDS int jwt_sign_rs256(struct arena *arena, struct str key, struct str key_id,
                          const struct jwt_claim *claims, size_t count, struct str *token)
{
    struct signing *s = ARENA_NEW(arena, struct signing);
    struct str text = header_and_claims(arena, key_id, claims, count);
    if (s == NULL || text.ptr == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    s->key = key;
    s->text = text;
    int r = helper_run(sign, s);
    if (r < 0)
        return r;
    if (s->signature_bytes == 0)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "it is no RSA private key in PEM");
    struct str signature = base64url(arena, s->signature, s->signature_bytes);
    if (signature.ptr != NULL)
        signature = arena_printf(arena, "%.*s.%.*s", STR_ARG(text), STR_ARG(signature));
    *token = signature;
    return token->ptr != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}
