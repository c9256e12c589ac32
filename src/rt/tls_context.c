#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509err.h>
#include <unistd.h>

#include "base/mem.h"
#include "rt/helper.h"
#include "rt/tls_private.h"
#include "rt/tls_store.h"
#include "rt/tls_ticket.h"

#define CONTEXT_MAGIC 0x544c5343u

struct str tls_alpn_list(bool with_h2)
{
    struct str both = STR("\x02h2\x08http/1.1");
    return with_h2 ? both : str_skip(both, 3);
}

/* --- what both sides need -------------------------------------------------------------------- */

/* An encrypted key is an error rather than a question on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

static int file_failed(const char *what, const char *path)
{
    return err_set(ERR_TLS, FAULT_GATEWAY, "cannot use the %s %s: %s", what, path, tls_reason());
}

static int check_readable(const char *path)
{
    return access(path, R_OK) == 0 ? 0 : err_set_errno(ERR_IO, FAULT_GATEWAY, path);
}

static int key_failed(const char *key_file, const char *cert_file)
{
    unsigned long code = ERR_peek_last_error();
    bool is_encrypted =
        ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_BAD_PASSWORD_READ;
    bool is_other =
        ERR_GET_LIB(code) == ERR_LIB_X509 && ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH;
    if (!is_encrypted && !is_other)
        return file_failed("key file", key_file);
    ERR_clear_error();
    if (is_encrypted)
        return err_set(ERR_TLS, FAULT_GATEWAY,
                       "the key in %s is encrypted: store it without a passphrase, readable by "
                       "this user only",
                       key_file);
    return err_set(ERR_TLS, FAULT_GATEWAY, "the key in %s is not that of the certificate in %s",
                   key_file, cert_file);
}

/* `key_file` NULL = the key is in the certificate's file. */
static int use_certificate(SSL_CTX *ctx, const char *cert_file, const char *key_file)
{
    if (key_file == NULL)
        key_file = cert_file;
    int r = check_readable(cert_file);
    if (r < 0)
        return r;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        return file_failed("certificate file", cert_file);
    r = check_readable(key_file);
    if (r < 0)
        return r;
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    /* This also checks that the two belong together. */
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
        return key_failed(key_file, cert_file);
    return 0;
}

static SSL_CTX *ctx_new(const SSL_METHOD *method)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL) {
        err_set(ERR_TLS, FAULT_GATEWAY, "cannot set up TLS: %s", tls_reason());
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ctx;
}

/* --- client ------------------------------------------------------------------------------------
 */

/* Reads the files. NULL with the error slot set. Blocks: on a helper thread or at a check. */
static SSL_CTX *client_ctx_load(const struct tls_client_settings *settings)
{
    SSL_CTX *ctx = ctx_new(TLS_client_method());
    X509_STORE *store = ctx == NULL ? NULL : tls_store_get(settings->ca_file);
    if (store == NULL) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_cert_store(ctx, store);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    /* Who names an authority may name an intermediate one, or the server's own certificate. */
    if (settings->ca_file != NULL)
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    struct str alpn = tls_alpn_list(settings->offer_h2);
    SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn.ptr, (unsigned)alpn.len);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, tls_on_new_session);
    if (settings->cert_file != NULL &&
        use_certificate(ctx, settings->cert_file, settings->key_file) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool dup_setting(char **out, const char *text)
{
    if (text == NULL)
        return true;
    size_t len = strlen(text) + 1;
    *out = mem_alloc(len);
    if (*out != NULL)
        memcpy(*out, text, len);
    return *out != NULL;
}

struct tls_context *tls_client_context_new(const struct tls_client_settings *settings)
{
    struct tls_context *context = MEM_NEW(struct tls_context);
    if (context == NULL)
        return NULL;
    context->magic = CONTEXT_MAGIC;
    atomic_init(&context->refs, 1);
    context->offer_h2 = settings->offer_h2;
    if (!dup_setting(&context->ca_file, settings->ca_file) ||
        !dup_setting(&context->cert_file, settings->cert_file) ||
        !dup_setting(&context->key_file, settings->key_file)) {
        tls_context_unref(context);
        return NULL;
    }
    return context;
}

int tls_client_settings_check(const struct tls_client_settings *settings)
{
    if (settings->cert_file == NULL && settings->key_file != NULL)
        return err_set(ERR_TLS, FAULT_GATEWAY, "the key file %s needs a certificate file with it",
                       settings->key_file);
    SSL_CTX *ctx = client_ctx_load(settings);
    if (ctx == NULL)
        return -err_slot()->code;
    SSL_CTX_free(ctx);
    return 0;
}

struct load {
    struct tls_client_settings settings;
    SSL_CTX *ctx;
    struct err err;
};

static void load_run(void *arg)
{
    struct load *load = arg;
    load->ctx = client_ctx_load(&load->settings);
    /* The slot of this thread is not the one of the task that waits. */
    load->err = *err_slot();
}

static struct tls_part *part_here(struct tls_context *context)
{
    unsigned index = loop_index(loop_self());
    if (index >= TLS_LOOPS_MAX) {
        err_set(ERR_LIMIT, FAULT_GATEWAY, "TLS works on %d threads at most", TLS_LOOPS_MAX);
        return NULL;
    }
    struct tls_part *part = context->parts[index];
    if (part == NULL) {
        part = MEM_NEW(struct tls_part);
        if (part == NULL) {
            err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a TLS context");
            return NULL;
        }
        tls_resume_init(&part->resume);
        list_init(&part->waiters);
        context->parts[index] = part;
    }
    return part;
}

struct part_waiter {
    struct list node;
    struct task *task;
};

YIELDS static int wait_for_load(struct tls_part *part, int64_t deadline_ns)
{
    struct part_waiter waiter = {.task = task_self()};
    int r = 0;
    list_push(&part->waiters, &waiter.node);
    while (part->is_loading && r == 0)
        r = task_park(deadline_ns);
    list_remove(&waiter.node);
    return r;
}

/* Loads while other tasks of this thread that want the same wait. */
YIELDS static int load_part(struct tls_context *context, struct tls_part *part)
{
    struct load load = {.settings = {.ca_file = context->ca_file,
                                     .cert_file = context->cert_file,
                                     .key_file = context->key_file,
                                     .offer_h2 = context->offer_h2}};
    part->is_loading = true;
    int r = helper_run(load_run, &load);
    part->is_loading = false;
    LIST_FOR_EACH(node, &part->waiters)
    task_wake(CONTAINER_OF(node, struct part_waiter, node)->task);
    part->ctx = load.ctx;
    if (r < 0)
        return r;
    if (load.ctx == NULL) {
        *err_slot() = load.err;
        return -load.err.code;
    }
    return 0;
}

YIELDS int tls_context_part(struct tls_context *context, struct tls_part **out, int64_t deadline_ns)
{
    CHECK_MAGIC(context, CONTEXT_MAGIC);
    CHECK(context->server_ctx == NULL);
    struct tls_part *part = part_here(context);
    if (part == NULL)
        return -err_slot()->code;
    while (part->ctx == NULL) {
        int r = part->is_loading ? wait_for_load(part, deadline_ns) : load_part(context, part);
        if (r < 0)
            return r;
    }
    *out = part;
    return 0;
}

static void preload(void *arg)
{
    (void)arg;
    SSL_CTX_free(client_ctx_load(&(struct tls_client_settings){0}));
}

void tls_preload(void)
{
    helper_post(preload, NULL);
}

/* --- server ------------------------------------------------------------------------------------
 */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *offered, unsigned offered_len, void *arg)
{
    (void)ssl;
    const struct tls_context *context = arg;
    struct str ours = tls_alpn_list(context->offer_h2);
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, (const unsigned char *)ours.ptr, (unsigned)ours.len,
                              offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/*
 * A ticket is worth something only where the same certificate and the same demands on clients are:
 * a session made without a client certificate must not open a door that asks for one.
 */
static int set_session_id_context(SSL_CTX *ctx, const char *client_ca_file)
{
    unsigned char digest[EVP_MAX_MD_SIZE], cert[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0, cert_len = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool is_ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
                 X509_digest(SSL_CTX_get0_certificate(ctx), EVP_sha256(), cert, &cert_len) == 1 &&
                 EVP_DigestUpdate(md, cert, cert_len) == 1;
    FILE *file = is_ok && client_ca_file != NULL ? fopen(client_ca_file, "re") : NULL;
    if (file != NULL) {
        char bytes[1024];
        for (size_t n; is_ok && (n = fread(bytes, 1, sizeof(bytes), file)) > 0;)
            is_ok = EVP_DigestUpdate(md, bytes, n) == 1;
        is_ok = is_ok && ferror(file) == 0;
        fclose(file);
    }
    is_ok = is_ok && (file != NULL || client_ca_file == NULL) &&
            EVP_DigestFinal_ex(md, digest, &digest_len) == 1 &&
            SSL_CTX_set_session_id_context(ctx, digest, digest_len) == 1;
    EVP_MD_CTX_free(md);
    return is_ok ? 0 : err_set(ERR_TLS, FAULT_GATEWAY, "cannot set up TLS: %s", tls_reason());
}

static int require_client_certificate(SSL_CTX *ctx, const char *client_ca_file)
{
    int r = check_readable(client_ca_file);
    if (r < 0)
        return r;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(client_ca_file);
    if (names == NULL || SSL_CTX_load_verify_file(ctx, client_ca_file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return file_failed("client certificate authorities in", client_ca_file);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

static int server_ctx_load(SSL_CTX *ctx, const struct tls_server_settings *settings)
{
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 section 4.2). */
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    tls_ticket_use(ctx);
    int r = use_certificate(ctx, settings->cert_file, settings->key_file);
    if (r == 0 && settings->client_ca_file != NULL)
        r = require_client_certificate(ctx, settings->client_ca_file);
    return r < 0 ? r : set_session_id_context(ctx, settings->client_ca_file);
}

struct tls_context *tls_server_context_new(const struct tls_server_settings *settings)
{
    SSL_CTX *ctx = ctx_new(TLS_server_method());
    if (ctx == NULL)
        return NULL;
    if (server_ctx_load(ctx, settings) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    struct tls_context *context = MEM_NEW(struct tls_context);
    if (context == NULL) {
        SSL_CTX_free(ctx);
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a TLS context");
        return NULL;
    }
    context->magic = CONTEXT_MAGIC;
    atomic_init(&context->refs, 1);
    context->offer_h2 = settings->offer_h2;
    context->server_ctx = ctx;
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, context);
    return context;
}

/* --- counting ----------------------------------------------------------------------------------
 */

bool tls_context_offers_h2(const struct tls_context *context)
{
    return context->offer_h2;
}

void tls_context_ref(struct tls_context *context)
{
    CHECK_MAGIC(context, CONTEXT_MAGIC);
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL)
        return;
    CHECK_MAGIC(context, CONTEXT_MAGIC);
    if (atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < TLS_LOOPS_MAX; i++) {
        struct tls_part *part = context->parts[i];
        if (part == NULL)
            continue;
        tls_resume_fini(&part->resume);
        SSL_CTX_free(part->ctx);
        mem_free(part);
    }
    SSL_CTX_free(context->server_ctx);
    mem_free(context->ca_file);
    mem_free(context->cert_file);
    mem_free(context->key_file);
    context->magic = 0;
    mem_free(context);
}
