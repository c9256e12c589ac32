#include "rt/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/mem.h"
#include "rt/addr.h"
#include "rt/tls_private.h"
#include "rt/tls_store.h"

#define SESSION_MAGIC 0x544c5353u

enum {
    HOST_MAX = 255,
    RECORD_BYTES = 16 * 1024,     /* the most a record holds (RFC 8446 section 5.1) */
    IN_BYTES = 32 * 1024,         /* of ciphertext a read of the socket */
    OUT_PLAIN_BYTES = 48 * 1024,  /* encrypted before the socket is asked to take it */
    OUT_LIMIT_BYTES = 256 * 1024, /* what a peer can make us owe without reading */
};

struct tls_session {
    uint32_t magic;
    SSL *ssl;
    struct io *io;
    struct tls_session *below; /* the tunnel's own TLS when this one runs inside it */
    struct tls_context *context;
    struct tls_part *part;
    /* Ciphertext that was read and not yet asked for; in == NULL when there is none. */
    char *in;
    size_t in_size, in_at, in_len;
    /* Ciphertext that the socket has not taken yet, from out_at on. */
    struct buf out;
    size_t out_at;
    int io_error;          /* what the BIO met: -ERR_x */
    bool is_established;   /* the handshake is done */
    bool is_over;          /* a fatal error was met: reads repeat it, nothing is written */
    struct err last_error; /* valid when is_over */
    char host[HOST_MAX + 1];
};

static ssize_t session_recv(struct tls_session *s, char *out, size_t cap);
static ssize_t session_writev(struct tls_session *s, const struct iovec *iov, int count);
static int session_flush(struct tls_session *s);

/* --- what lies below: the socket, or the tunnel's TLS --------------------------------------------
 */

static ssize_t below_recv(struct tls_session *s, char *out, size_t cap)
{
    return s->below != NULL ? session_recv(s->below, out, cap) : io_raw_recv(s->io, out, cap);
}

static ssize_t below_write(struct tls_session *s, const char *bytes, size_t len)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    return s->below != NULL ? session_writev(s->below, &iov, 1) : io_raw_writev(s->io, &iov, 1);
}

/* True when reading may give something that was not there before: bytes, the end, an error. */
static bool has_news(const struct tls_session *s)
{
    return s->is_over || (SSL_get_shutdown(s->ssl) & SSL_RECEIVED_SHUTDOWN) != 0 ||
           (s->in != NULL && s->in_at < s->in_len) || SSL_pending(s->ssl) > 0 ||
           (s->below != NULL ? has_news(s->below) : (s->io->flags & IO_READABLE) != 0);
}

/* --- the BIO: never blocks, never calls the socket for writing ------------------------------- */

static bool in_fill(struct tls_session *s)
{
    if (s->in == NULL) {
        s->in_size = IN_BYTES;
        s->in = mem_block_take(&s->in_size);
        s->in_at = s->in_len = 0;
    }
    if (s->in == NULL) {
        s->io_error = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for TLS");
        return false;
    }
    ssize_t n = below_recv(s, s->in, s->in_size);
    s->in_at = 0;
    s->in_len = n > 0 ? (size_t)n : 0;
    if (n < 0)
        s->io_error = (int)n;
    return n > 0;
}

static int bio_read(BIO *bio, char *out, int len)
{
    struct tls_session *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (s->io_error < 0)
        return 0;
    if ((s->in == NULL || s->in_at == s->in_len) && !in_fill(s)) {
        if (s->io_error == 0)
            BIO_set_retry_read(bio);
        return s->io_error == 0 ? -1 : 0;
    }
    size_t n = MIN((size_t)len, s->in_len - s->in_at);
    memcpy(out, s->in + s->in_at, n);
    s->in_at += n;
    return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls_session *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_add(&s->out, bytes, (size_t)len);
    if (buf_ok(&s->out))
        return len;
    s->io_error = err_set(ERR_NOMEM, FAULT_GATEWAY,
                          "no memory for TLS, or the peer does not read what it asks for");
    return -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *arg)
{
    (void)number;
    (void)arg;
    const struct tls_session *s = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1; /* the caller flushes when OpenSSL has returned */
    case BIO_CTRL_EOF:
        return s->io_error < 0;
    default:
        return 0;
    }
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir io");
    CHECK(bio_method != NULL);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static BIO *bio_new(struct tls_session *s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, bio_method_make);
    BIO *bio = BIO_new(bio_method);
    if (bio != NULL) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* --- errors ---------------------------------------------------------------------------------- */

static bool is_server(const struct tls_session *s)
{
    return SSL_is_server(s->ssl) == 1;
}

/* A word on what most often is behind an error that says little by itself. */
static const char *hint_for(unsigned long code)
{
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return "";
    switch (ERR_GET_REASON(code)) {
    case SSL_R_WRONG_VERSION_NUMBER:
        return " (does the peer speak TLS on this port?)";
    case SSL_R_HTTP_REQUEST:
        return " (a plain http request came)";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return " (the peer wants a client certificate: cert_file, key_file)";
    default:
        return "";
    }
}

static int openssl_error(const struct tls_session *s)
{
    enum err_fault fault = is_server(s) ? FAULT_CLIENT : FAULT_UPSTREAM;
    const char *with = is_server(s) ? "the client" : s->host;
    unsigned long code = ERR_peek_error();
    long verify = SSL_get_verify_result(s->ssl);
    const char *why = tls_reason();
    if (verify != X509_V_OK)
        return err_set(ERR_TLS, fault, "TLS with %s: %s: %s", with, why,
                       X509_verify_cert_error_string(verify));
    return err_set(ERR_TLS, fault, "TLS with %s: %s%s", with, why, hint_for(code));
}

/* What a failed SSL call means: 0 = more must come from the socket first. Fatal ones are kept. */
static int session_failed(struct tls_session *s, int ret)
{
    int r;
    int ssl_error = SSL_get_error(s->ssl, ret);
    if (ssl_error == SSL_ERROR_ZERO_RETURN)
        return err_set(ERR_CLOSED, FAULT_NONE, "connection closed by peer");
    if (s->io_error == 0 && (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE))
        return 0;
    if (s->io_error == -ERR_CLOSED)
        r = err_set(ERR_RESET, is_server(s) ? FAULT_CLIENT : FAULT_UPSTREAM,
                    s->is_established ? "the peer cut the TLS connection off without saying goodbye"
                                      : "the peer closed the connection during the TLS handshake");
    else if (s->io_error < 0)
        r = s->io_error; /* the slot has its message */
    else
        r = openssl_error(s);
    s->is_over = true;
    s->last_error = *err_slot();
    return r;
}

static int repeat_error(const struct tls_session *s)
{
    *err_slot() = s->last_error;
    return -s->last_error.code;
}

/* --- reading --------------------------------------------------------------------------------- */

static void in_release(struct tls_session *s)
{
    if (s->in == NULL || s->in_at < s->in_len)
        return;
    mem_block_give(s->in, s->in_size);
    s->in = NULL;
}

static ssize_t session_recv(struct tls_session *s, char *out, size_t cap)
{
    size_t got = 0;
    int r = 0;
    if (s->is_over)
        return repeat_error(s);
    /* Asking has_news spares a call that would only hear "not yet". */
    while (got < cap && r == 0 && (got == 0 || has_news(s))) {
        size_t n = 0;
        ERR_clear_error();
        int ret = SSL_read_ex(s->ssl, out + got, cap - got, &n);
        got += n;
        if (ret == 1)
            continue;
        r = session_failed(s, ret);
        if (r == 0)
            break;
    }
    in_release(s);
    /* An alert or a key update may have come out of it; a full socket keeps it for later. */
    session_flush(s);
    return got > 0 ? (ssize_t)got : r;
}

/*
 * What the socket has may be a ticket or a key update, which nobody above waits for: these are
 * taken in, and only bytes, the end or an error count.
 */
static bool session_has_pending(struct tls_session *s)
{
    if (s->is_over || SSL_pending(s->ssl) > 0)
        return true;
    if (!has_news(s))
        return false;
    char byte;
    size_t n;
    ERR_clear_error();
    int ret = SSL_peek_ex(s->ssl, &byte, 1, &n);
    bool is_pending = ret == 1 || session_failed(s, ret) < 0;
    in_release(s);
    session_flush(s);
    return is_pending;
}

/* --- writing --------------------------------------------------------------------------------- */

static int session_flush(struct tls_session *s)
{
    while (s->out_at < s->out.len) {
        ssize_t n = below_write(s, s->out.ptr + s->out_at, s->out.len - s->out_at);
        if (n < 0) {
            buf_fini(&s->out);
            s->out_at = 0;
            return (int)n;
        }
        if (n == 0)
            return 1;
        s->out_at += (size_t)n;
    }
    buf_fini(&s->out);
    s->out_at = 0;
    return s->below != NULL ? session_flush(s->below) : 0;
}

/* A place in a list of parts. */
struct cursor {
    const struct iovec *iov;
    int count;
    size_t at; /* within iov[0] */
};

static void cursor_settle(struct cursor *c)
{
    while (c->count > 0 && c->at == c->iov->iov_len) {
        c->iov++;
        c->count--;
        c->at = 0;
    }
}

/*
 * The next bytes for one record: straight from the part where it fills the record or is the last,
 * else several parts gathered in `scratch`.
 */
static struct str cursor_take(struct cursor *c, char *scratch)
{
    cursor_settle(c);
    if (c->count == 0)
        return STR_EMPTY;
    size_t left = c->iov->iov_len - c->at;
    if (left >= RECORD_BYTES || c->count == 1) {
        struct str direct = str_n((const char *)c->iov->iov_base + c->at, MIN(left, RECORD_BYTES));
        c->at += direct.len;
        return direct;
    }
    size_t len = 0;
    while (c->count > 0 && len < RECORD_BYTES) {
        size_t n = MIN(c->iov->iov_len - c->at, RECORD_BYTES - len);
        memcpy(scratch + len, (const char *)c->iov->iov_base + c->at, n);
        len += n;
        c->at += n;
        cursor_settle(c);
    }
    return str_n(scratch, len);
}

/* Encrypts up to OUT_PLAIN_BYTES of what is left; the number of plain bytes or -ERR_x. */
static ssize_t encrypt_some(struct tls_session *s, struct cursor *c)
{
    size_t done = 0;
    size_t scratch_size = RECORD_BYTES;
    char *scratch = mem_block_take(&scratch_size);
    if (scratch == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for TLS");
    int r = 0;
    while (r == 0 && done < OUT_PLAIN_BYTES) {
        struct str piece = cursor_take(c, scratch);
        if (piece.len == 0)
            break;
        size_t n = 0;
        ERR_clear_error();
        int ret = SSL_write_ex(s->ssl, piece.ptr, piece.len, &n);
        done += n;
        /* The BIO takes all, so one call writes all that fits a record. */
        if (ret != 1 || n != piece.len) {
            r = session_failed(s, ret);
            if (r == 0)
                r = err_set(ERR_TLS, FAULT_GATEWAY, "TLS did not take a whole record");
        }
    }
    mem_block_give(scratch, scratch_size);
    return r < 0 ? r : (ssize_t)done;
}

static ssize_t session_writev(struct tls_session *s, const struct iovec *iov, int count)
{
    struct cursor c = {.iov = iov, .count = count};
    size_t taken = 0;
    if (s->is_over)
        return repeat_error(s);
    for (;;) {
        int r = session_flush(s);
        if (r < 0)
            return r;
        cursor_settle(&c);
        if (r == 1 || c.count == 0)
            return (ssize_t)taken;
        ssize_t n = encrypt_some(s, &c);
        if (n < 0)
            return n;
        taken += (size_t)n;
    }
}

/* --- the layer ------------------------------------------------------------------------------- */

static void session_free(struct tls_session *s)
{
    SSL_free(s->ssl);
    if (s->in != NULL)
        mem_block_give(s->in, s->in_size);
    buf_fini(&s->out);
    tls_context_unref(s->context);
    s->magic = 0;
    mem_free(s);
}

/* Sends close_notify, once; it may stay in `out` when the socket is full. */
static void session_finish(struct tls_session *s)
{
    if (s->is_over || !s->is_established || (SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    SSL_shutdown(s->ssl);
    session_flush(s);
}

static void session_close(struct tls_session *s)
{
    while (s != NULL) {
        struct tls_session *below = s->below;
        session_finish(s);
        session_free(s);
        s = below;
    }
    ERR_clear_error();
}

static struct tls_session *session_of(struct io *io)
{
    CHECK_MAGIC(io->tls, SESSION_MAGIC);
    return io->tls;
}

static ssize_t layer_recv(struct io *io, char *out, size_t cap)
{
    return session_recv(session_of(io), out, cap);
}

static ssize_t layer_writev(struct io *io, const struct iovec *iov, int count)
{
    return session_writev(session_of(io), iov, count);
}

static int layer_flush(struct io *io)
{
    return session_flush(session_of(io));
}

static bool layer_has_pending(struct io *io)
{
    return session_has_pending(session_of(io));
}

static void layer_finish(struct io *io)
{
    for (struct tls_session *s = session_of(io); s != NULL; s = s->below)
        session_finish(s);
}

static void layer_close(struct io *io)
{
    session_close(session_of(io));
    io->tls = NULL;
}

static const struct io_layer tls_layer = {
    .recv = layer_recv,
    .writev = layer_writev,
    .flush = layer_flush,
    .has_pending = layer_has_pending,
    .finish = layer_finish,
    .close = layer_close,
};

/* --- handshake ------------------------------------------------------------------------------- */

/* One step as an argument for on_loop_stack. */
struct step {
    struct tls_session *session;
    SSL_CTX *ctx; /* for the first step */
    bool http1_only;
    int result; /* 0 = done, 1 = wait to read, 2 = wait to write, or -ERR_x */
};

static bool set_peer_name(struct tls_session *s)
{
    struct net_addr literal;
    X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
    if (net_addr_parse(str_c(s->host), 0, &literal)) {
        char ip[NET_ADDR_TEXT_BYTES];
        return X509_VERIFY_PARAM_set1_ip_asc(param, net_addr_format(&literal, false, ip)) == 1;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(param, s->host, 0) == 1 &&
           SSL_set_tlsext_host_name(s->ssl, s->host) == 1;
}

static bool set_client(struct tls_session *s, bool http1_only)
{
    SSL_set_connect_state(s->ssl);
    SSL_SESSION *earlier = tls_resume_take(&s->part->resume, str_c(s->host));
    if (earlier != NULL) {
        SSL_set_session(s->ssl, earlier);
        SSL_SESSION_free(earlier);
    }
    struct str alpn = tls_alpn_list(false);
    return set_peer_name(s) &&
           (!http1_only ||
            SSL_set_alpn_protos(s->ssl, (const unsigned char *)alpn.ptr, (unsigned)alpn.len) == 0);
}

static void session_begin(void *arg)
{
    struct step *step = arg;
    struct tls_session *s = step->session;
    ERR_clear_error();
    s->ssl = SSL_new(step->ctx);
    BIO *bio = s->ssl == NULL ? NULL : bio_new(s);
    if (bio != NULL) {
        SSL_set_bio(s->ssl, bio, bio);
        SSL_set_app_data(s->ssl, s);
    }
    bool is_ok = bio != NULL;
    if (is_ok && s->part == NULL)
        SSL_set_accept_state(s->ssl);
    else if (is_ok)
        is_ok = set_client(s, step->http1_only);
    step->result = is_ok ? 0
                         : err_set(ERR_TLS, FAULT_GATEWAY, "cannot set up TLS with %s: %s", s->host,
                                   tls_reason());
}

static void session_step(void *arg)
{
    struct step *step = arg;
    struct tls_session *s = step->session;
    ERR_clear_error();
    int ret = SSL_do_handshake(s->ssl);
    int r = ret == 1 ? 0 : session_failed(s, ret);
    s->is_established = ret == 1;
    in_release(s);
    int flushed = session_flush(s);
    if (r == 0 && flushed < 0)
        r = flushed;
    if (r < 0)
        step->result = r;
    else if (flushed == 1)
        step->result = 2;
    else
        step->result = ret == 1 ? 0 : 1;
}

YIELDS static int session_handshake(struct tls_session *s, int64_t deadline_ns)
{
    struct step step = {.session = s};
    for (;;) {
        on_loop_stack(session_step, &step);
        if (step.result <= 0)
            return step.result;
        int r = io_wait_flag(s->io, step.result == 1 ? IO_READABLE : IO_WRITABLE, deadline_ns);
        if (r < 0)
            return err_wrap("TLS handshake with %s", s->host);
    }
}

static void run_session_free(void *arg)
{
    session_free(arg);
}

/* Makes the session and shakes hands; on success it is the io's layer. */
YIELDS static int session_start(struct io *io, struct tls_context *context, struct tls_part *part,
                                struct str host, bool http1_only, int64_t deadline_ns)
{
    struct tls_session *s = MEM_NEW(struct tls_session);
    if (s == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a TLS session");
    s->magic = SESSION_MAGIC;
    s->io = io;
    s->below = io->tls;
    s->context = context;
    s->part = part;
    s->out.limit = OUT_LIMIT_BYTES;
    memcpy(s->host, host.ptr, host.len);
    tls_context_ref(context);
    enum run_class before = task_class();
    int r = task_set_class(RUN_HEAVY);
    if (r == 0) {
        struct step step = {.session = s,
                            .ctx = part == NULL ? context->server_ctx : part->ctx,
                            .http1_only = http1_only};
        on_loop_stack(session_begin, &step);
        r = step.result < 0 ? step.result : session_handshake(s, deadline_ns);
    }
    if (r < 0) {
        struct err why = *err_slot();
        on_loop_stack(run_session_free, s);
        task_set_class(before);
        *err_slot() = why;
        return r;
    }
    io->tls = s;
    io->layer = &tls_layer;
    return task_set_class(before);
}

/* Without brackets, and without the dot that ends an absolute name: neither is in certificates. */
static int clean_host(struct str *host)
{
    if (host->len > 2 && host->ptr[0] == '[' && host->ptr[host->len - 1] == ']')
        *host = str_n(host->ptr + 1, host->len - 2);
    if (host->len > 1 && host->ptr[host->len - 1] == '.')
        host->len--;
    /* OpenSSL takes an empty name as "any", and ends names at a NUL. */
    if (host->len == 0 || host->len > HOST_MAX || str_index(*host, '\0') >= 0)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "not a host name that TLS can check");
    return 0;
}

YIELDS static int connect_with(struct io *io, struct tls_context *context, struct str host,
                               bool http1_only, int64_t deadline_ns)
{
    struct tls_part *part = NULL;
    int r = clean_host(&host);
    if (r == 0)
        r = tls_context_part(context, &part, deadline_ns);
    return r < 0 ? r : session_start(io, context, part, host, http1_only, deadline_ns);
}

YIELDS int tls_connect(struct io *io, struct tls_context *context, struct str host,
                       int64_t deadline_ns)
{
    return connect_with(io, context, host, false, deadline_ns);
}

YIELDS int tls_connect_http1(struct io *io, struct tls_context *context, struct str host,
                             int64_t deadline_ns)
{
    return connect_with(io, context, host, true, deadline_ns);
}

YIELDS int tls_accept(struct io *io, struct tls_context *context, int64_t deadline_ns)
{
    CHECK(context->server_ctx != NULL);
    return session_start(io, context, NULL, STR("the client"), false, deadline_ns);
}

/* Called by OpenSSL when the server has sent a ticket; 1 = the reference is taken. */
int tls_on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_session *s = SSL_get_app_data(ssl);
    tls_resume_put(&s->part->resume, str_c(s->host), session);
    return 1;
}

/* --- what is known of a session -------------------------------------------------------------- */

struct str tls_alpn(const struct io *io)
{
    if (io->tls == NULL)
        return STR_EMPTY;
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(io->tls->ssl, &name, &len);
    return str_n((const char *)name, len);
}

bool tls_is_resumed(const struct io *io)
{
    return io->tls != NULL && SSL_session_reused(io->tls->ssl) == 1;
}

struct str tls_version(const struct io *io)
{
    return io->tls == NULL ? STR_EMPTY : str_c(SSL_get_version(io->tls->ssl));
}
