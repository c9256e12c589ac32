/*
 * TLS on an io: OpenSSL with a BIO over the io's raw calls, driven on the loop's stack.
 * Contexts may be shared by threads: a client context keeps what handshakes need per loop thread.
 * tls_connect and tls_accept yield; afterwards io_recv, io_writev and so on work as before.
 * The session belongs to its io (io_close ends it); a context is counted by its sessions.
 * -ERR_TLS with OpenSSL's reason (never key material), -ERR_TIMEOUT, -ERR_CANCELED, -ERR_RESET.
 * Reading gives -ERR_CLOSED only after the peer's close_notify; without it the end is -ERR_RESET.
 */
#ifndef WEIR_RT_TLS_H
#define WEIR_RT_TLS_H

#include "rt/io.h"

struct tls_context;

struct tls_client_settings {
    const char *ca_file;   /* PEM; NULL = the system's store */
    const char *cert_file; /* client certificate, PEM chain; NULL = none */
    const char *key_file;  /* NULL = in cert_file */
    bool offer_h2;         /* ALPN h2 before http/1.1 */
};

struct tls_server_settings {
    const char *cert_file;      /* PEM chain */
    const char *key_file;       /* NULL = in cert_file */
    const char *client_ca_file; /* asks for and requires a client certificate; NULL = none */
    bool offer_h2;
};

/*
 * TLS 1.2 and up, no compression, no renegotiation, partial writes, released buffers, sessions
 * resumed. Cheap: files are read when a handshake first needs them (the system's CA bundle takes
 * tens of milliseconds: it is read once per process, on a helper thread). NULL = no memory.
 */
struct tls_context *tls_client_context_new(const struct tls_client_settings *settings);
/* Reads its files at once; NULL with the error slot saying which file and why. */
struct tls_context *tls_server_context_new(const struct tls_server_settings *settings);
/* Checks that the client files can be loaded and fit together: 0 or -ERR_TLS / -ERR_IO. */
int tls_client_settings_check(const struct tls_client_settings *settings);
/* Any thread, after helper_start: begins to read the system's store, so that the first handshake
 * finds it ready. */
void tls_preload(void);
/* True when its handshakes offer h2. */
bool tls_context_offers_h2(const struct tls_context *context);
void tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);

/*
 * Handshake as a client: SNI (unless `host` is a literal) and host name check against `host`. Runs
 * as RUN_HEAVY, as does tls_accept: a burst of handshakes must not hold up the loop's streams. On
 * failure the io is still open and of no more use. An io that has TLS already gets a
 * second one inside the first (a tunnel through a proxy).
 */
YIELDS int tls_connect(struct io *io, struct tls_context *context, struct str host,
                       int64_t deadline_ns);
/* The same, but h2 is not offered whatever the context says: for CONNECT to a proxy. */
YIELDS int tls_connect_http1(struct io *io, struct tls_context *context, struct str host,
                             int64_t deadline_ns);
/* Handshake as a server. */
YIELDS int tls_accept(struct io *io, struct tls_context *context, int64_t deadline_ns);

/* "h2", "http/1.1" or empty. Valid while the session lives. */
struct str tls_alpn(const struct io *io);
/* True when the handshake resumed an earlier session. */
bool tls_is_resumed(const struct io *io);
/* "TLSv1.3" for logs; empty without TLS. */
struct str tls_version(const struct io *io);

#endif
