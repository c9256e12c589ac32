/*
 * Sets of trusted certificate authorities, parsed once per process and shared by all contexts.
 * Any thread; reads files, so loop threads call it through helper_run.
 * Nothing yields.
 * The caller gets a reference of its own (X509_STORE_free gives it back).
 * NULL with the error slot set: -ERR_IO for a file, -ERR_TLS for what is in it.
 */
#ifndef WEIR_RT_TLS_STORE_H
#define WEIR_RT_TLS_STORE_H

#include <openssl/x509.h>

/*
 * The authorities of a PEM file, or of the system where ca_file is NULL: SSL_CERT_FILE, else
 * SSL_CERT_DIR, else the first bundle found where distributions keep it. A file that changed since
 * it was parsed is parsed again.
 */
X509_STORE *tls_store_get(const char *ca_file);

/* "reason" of the oldest error in OpenSSL's queue of this thread, and empties the queue. Never
 * holds key material. */
const char *tls_reason(void);

#endif
