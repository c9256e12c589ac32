/*
 * The request that the load generator sends, again and again with another nonce.
 * One thread; nothing yields.
 * The struct owns its text; ask_fini frees it.
 * ask_init prints what is wrong on stderr and returns false.
 * All requests of a run have the same length: only the sixteen digits of the nonce change.
 */
#ifndef WEIR_BENCH_LOAD_ASK_H
#define WEIR_BENCH_LOAD_ASK_H

#include <netinet/in.h>
#include <stdbool.h>

#include "../format.h"
#include "form.h"
#include "options.h"

struct ask {
    const struct options *options;
    const struct form *form;
    struct sockaddr_in address;
    struct format_call call; /* with the nonce of the latest request */
    uint64_t nonces;
    char *text;
    size_t len;
    size_t nonce_at;
};

bool ask_init(struct ask *ask, const struct options *options);
void ask_fini(struct ask *ask);

/* Draws a new nonce into ask->call. */
void ask_renew(struct ask *ask);

/* Opens a socket and begins to connect; `number` picks the source address. -1 on failure. */
int ask_connect(const struct ask *ask, uint64_t number, bool is_blocking);

#endif
