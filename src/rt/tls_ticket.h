/*
 * The keys of session tickets that servers give out, rotated, shared by all server contexts.
 * Any thread (it runs in OpenSSL's callback); nothing yields.
 * The process owns the keys; they are never written down, so a new process knows no old ticket.
 * Whether a ticket fits a context is checked by the session id context, not here.
 * Errors make OpenSSL do a full handshake.
 */
#ifndef WEIR_RT_TLS_TICKET_H
#define WEIR_RT_TLS_TICKET_H

#include <openssl/ssl.h>

/* How long a key makes new tickets; it opens old ones for as long again. */
enum { TLS_TICKET_KEY_SECONDS = 6 * 3600 };

/* Sets the context's ticket callback and life time. */
void tls_ticket_use(SSL_CTX *ctx);

#endif
