#include "rt/tls_store.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"

/* Parsed files that are kept: the system's and those of a few private authorities. */
enum { STORES_KEPT = 16 };

struct parsed {
    char *path;
    struct timespec modified;
    ino_t inode;
    off_t bytes;
    X509_STORE *store;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct parsed parsed[STORES_KEPT];
static unsigned next_to_replace;

const char *tls_reason(void)
{
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char *reason = ERR_reason_error_string(code);
    if (reason == NULL && ERR_SYSTEM_ERROR(code))
        reason = strerror(ERR_GET_REASON(code));
    return reason != NULL ? reason : "unknown error";
}

/* Where the distributions keep all authorities in one file. */
static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Alpine, Arch */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, older RHEL */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* RHEL, CentOS */
    "/etc/ssl/ca-bundle.pem",                            /* SUSE */
    "/etc/ssl/cert.pem",
};

static X509_STORE *parse_failed(X509_STORE *store, const char *path)
{
    X509_STORE_free(store);
    err_set(ERR_TLS, FAULT_GATEWAY, "cannot use the certificate authorities in %s: %s", path,
            tls_reason());
    return NULL;
}

static bool is_same(const struct parsed *p, const char *path, const struct stat *st)
{
    return p->path != NULL && strcmp(p->path, path) == 0 && p->inode == st->st_ino &&
           p->bytes == st->st_size && p->modified.tv_sec == st->st_mtim.tv_sec &&
           p->modified.tv_nsec == st->st_mtim.tv_nsec;
}

static X509_STORE *parse_file(const char *path)
{
    X509_STORE *store = X509_STORE_new();
    if (store == NULL || X509_STORE_load_file(store, path) != 1)
        return parse_failed(store, path);
    return store;
}

/* Puts it where an older parse of the same path is, else where the oldest entry is. */
static void keep(const char *path, const struct stat *st, X509_STORE *store)
{
    struct parsed *place = NULL;
    for (unsigned i = 0; i < STORES_KEPT; i++) {
        if (parsed[i].path != NULL && strcmp(parsed[i].path, path) == 0)
            place = &parsed[i];
    }
    if (place == NULL)
        place = &parsed[next_to_replace++ % STORES_KEPT];
    size_t len = strlen(path) + 1;
    char *copy = mem_alloc(len);
    if (copy == NULL)
        return;
    memcpy(copy, path, len);
    mem_free(place->path);
    X509_STORE_free(place->store);
    X509_STORE_up_ref(store);
    *place = (struct parsed){.path = copy,
                             .modified = st->st_mtim,
                             .inode = st->st_ino,
                             .bytes = st->st_size,
                             .store = store};
}

static X509_STORE *store_of_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        err_set_errno(ERR_IO, FAULT_GATEWAY, path);
        return NULL;
    }
    /* Others who want the same file wait here rather than parse it as well. */
    pthread_mutex_lock(&lock);
    X509_STORE *store = NULL;
    for (unsigned i = 0; i < STORES_KEPT && store == NULL; i++) {
        if (is_same(&parsed[i], path, &st)) {
            store = parsed[i].store;
            X509_STORE_up_ref(store);
        }
    }
    if (store == NULL && (store = parse_file(path)) != NULL)
        keep(path, &st, store);
    pthread_mutex_unlock(&lock);
    return store;
}

static X509_STORE *store_of_folder(const char *path)
{
    X509_STORE *store = X509_STORE_new();
    if (store == NULL || X509_STORE_load_path(store, path) != 1)
        return parse_failed(store, path);
    return store;
}

X509_STORE *tls_store_get(const char *ca_file)
{
    if (ca_file != NULL)
        return store_of_file(ca_file);
    const char *file = getenv("SSL_CERT_FILE");
    if (file != NULL && file[0] != '\0')
        return store_of_file(file);
    const char *folder = getenv("SSL_CERT_DIR");
    if (folder != NULL && folder[0] != '\0')
        return store_of_folder(folder);
    for (size_t i = 0; i < ARRAY_LEN(bundles); i++) {
        struct stat st;
        if (stat(bundles[i], &st) == 0)
            return store_of_file(bundles[i]);
    }
    err_set(ERR_TLS, FAULT_GATEWAY,
            "no certificate authorities found on this system: install the package "
            "ca-certificates, or set ca_file or SSL_CERT_FILE");
    return NULL;
}
