/*
 * What authenticates a request at a provider: a key that stands in the config, a token that is
 * fetched and refreshed (Google, Entra ID, an AWS role), or a signature.
 * One per loop thread and provider; only that loop's thread.
 * credential_apply yields while the very first token is fetched; after that a refresh goes on in
 * the background and the old token serves until the new one is there.
 * A credential owns its tokens, its refresh and a copy of what it needs of the provider;
 * credential_free waits for nothing: a refresh that is under way ends by itself.
 * -ERR_x with words that hold no secret; fault gateway where the operator must act.
 */
#ifndef WEIR_PROVIDER_CREDENTIAL_H
#define WEIR_PROVIDER_CREDENTIAL_H

#include "provider/provider.h"

struct credential;

/* The request as it will be sent; all of it may be signed. */
struct credential_request {
    enum http_method method;
    struct str host;                    /* what Host says */
    struct str target;                  /* path and query */
    const struct http_headers *headers; /* so far */
    const struct iovec *body;
    unsigned body_count;
};

/* True where the provider's credential must be applied to each request: AUTH_AWS, AUTH_GOOGLE and
 * AUTH_ENTRA. What does not change is a header of the upstream. */
bool credential_is_needed(const struct provider *provider);

/*
 * NULL when out of memory. Nothing is fetched yet. `proxy` is asked for the tunnels to token
 * services that are not the machine's own; it may be NULL and is copied.
 */
struct credential *credential_new(const struct provider *provider, const struct dial_proxy *proxy);
void credential_free(struct credential *credential);
/* Cancels the fetches of this thread that are under way: before its loop ends. */
void credential_stop_all(void);

/*
 * Adds to *out (which may be the request's own list) what authenticates the request: for AWS the
 * headers of a signature, else Authorization. Waits only where no token is there yet, at most until
 * `deadline_ns`.
 */
YIELDS int credential_apply(struct credential *credential, const struct credential_request *request,
                            int64_t deadline_ns, struct arena *arena, struct http_headers *out);

/*
 * The provider has refused the credential (401, or 403 where it says that the token has expired): a
 * new one is fetched before the old one would have expired, at most once a minute.
 */
void credential_refused(struct credential *credential);

#endif
