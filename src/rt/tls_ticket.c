#include "rt/tls_ticket.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "rt/random.h"

/* RFC 5077 section 4: what names a key, encrypts and authenticates. */
struct ticket_key {
    unsigned char name[16];
    unsigned char aes[32];
    unsigned char mac[32];
    int64_t made_ns; /* 0 = none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ticket_key keys[2]; /* the one that makes tickets, and the one before */

static bool is_older_than(const struct ticket_key *key, int64_t now_ns, int64_t seconds)
{
    return key->made_ns == 0 || now_ns - key->made_ns >= seconds * NS_PER_SEC;
}

static void rotate(int64_t now_ns)
{
    if (!is_older_than(&keys[0], now_ns, TLS_TICKET_KEY_SECONDS))
        return;
    keys[1] = keys[0];
    random_secret(&keys[0], sizeof(keys[0]));
    keys[0].made_ns = MAX(now_ns, 1);
}

/* Copies the key for a new ticket, or the one that made `name`. 0 = none, 1 = current, 2 = older.
 */
static int key_for(const unsigned char *name, bool is_new, struct ticket_key *out)
{
    int64_t now_ns = clock_mono_ns();
    const int64_t life_s = 2 * (int64_t)TLS_TICKET_KEY_SECONDS;
    int found = 0;
    pthread_mutex_lock(&lock);
    rotate(now_ns);
    for (int i = 0; i < (is_new ? 1 : 2); i++) {
        bool is_it = is_new || memcmp(keys[i].name, name, sizeof(keys[i].name)) == 0;
        if (!is_it || is_older_than(&keys[i], now_ns, life_s))
            continue;
        *out = keys[i];
        found = i + 1;
        break;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static bool set_mac_key(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* See SSL_CTX_set_tlsext_ticket_key_evp_cb(3) for the return values. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int is_new)
{
    struct ticket_key key;
    int found = key_for(name, is_new != 0, &key);
    if (found == 0)
        return 0;
    bool is_ok = set_mac_key(mac, &key);
    if (is_new != 0) {
        memcpy(name, key.name, sizeof(key.name));
        random_secret(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
        is_ok = is_ok && EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    } else {
        is_ok = is_ok && EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    }
    OPENSSL_cleanse(&key, sizeof(key));
    if (!is_ok)
        return -1;
    /* Clients use a TLS 1.3 ticket once: without a new one the third connection would start anew.
     */
    return SSL_version(ssl) >= TLS1_3_VERSION ? 2 : found;
}

void tls_ticket_use(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key);
    SSL_CTX_set_timeout(ctx, TLS_TICKET_KEY_SECONDS);
    /* One is enough for clients that resume: each connection brings a new one. */
    SSL_CTX_set_num_tickets(ctx, 1);
}
