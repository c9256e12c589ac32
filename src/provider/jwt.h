/*
 * JSON Web Tokens that say who asks (RFC 7519, RFC 7515), signed with RS256.
 * Loop threads; the signing itself happens on a helper thread.
 * jwt_sign_rs256 yields.
 * The token lives in the arena.
 * -ERR_INVALID for what is no RSA private key, -ERR_NOMEM.
 */
#ifndef WEIR_PROVIDER_JWT_H
#define WEIR_PROVIDER_JWT_H

#include "base/arena.h"
#include "rt/task.h"

struct jwt_claim {
    const char *name;
    struct str text; /* ptr NULL: it is the number */
    int64_t number;
};

/* `key` is PEM (PKCS #8 or PKCS #1); `key_id` may be empty. */
YIELDS int jwt_sign_rs256(struct arena *arena, struct str key, struct str key_id,
                          const struct jwt_claim *claims, size_t count, struct str *token);

#endif
