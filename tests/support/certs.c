#include "support/certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"

enum { DAY = 24 * 3600 };

static EVP_PKEY *key_new(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key != NULL);
    return key;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

struct subject {
    const char *name;
    const char *alt_names; /* NULL = an authority */
    const char *usage;
    long from_s, until_s; /* from now */
};

/* Signed by `issuer`, or by itself where that is NULL. */
static X509 *cert_new(const struct subject *subject, EVP_PKEY *key, X509 *issuer, EVP_PKEY *signer)
{
    static long serial;
    X509 *cert = X509_new();
    CHECK(cert != NULL && X509_set_version(cert, 2) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), getpid() * 1000L + ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), subject->from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), subject->until_s);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)subject->name, -1,
                               -1, 0);
    X509_set_issuer_name(cert, issuer == NULL ? name : X509_get_subject_name(issuer));
    X509_set_pubkey(cert, key);
    if (subject->alt_names == NULL) {
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    } else {
        add_extension(cert, issuer, NID_subject_alt_name, subject->alt_names);
        add_extension(cert, issuer, NID_ext_key_usage, subject->usage);
    }
    CHECK(X509_sign(cert, issuer == NULL ? key : signer, EVP_sha256()) > 0);
    return cert;
}

/* Writes what is not NULL; the key encrypted where there is a passphrase. */
static void write_pem(const char *path, X509 *cert, EVP_PKEY *key, const char *passphrase)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    if (cert != NULL)
        CHECK(PEM_write_X509(file, cert) == 1);
    if (key != NULL)
        CHECK(PEM_write_PrivateKey(file, key, passphrase == NULL ? NULL : EVP_aes_128_cbc(),
                                   (const unsigned char *)passphrase,
                                   passphrase == NULL ? 0 : (int)strlen(passphrase), NULL,
                                   NULL) == 1);
    CHECK(fclose(file) == 0);
}

static const struct subject authority = {.name = "test authority", .from_s = -DAY, .until_s = DAY};
static const struct subject other_authority = {
    .name = "other authority", .from_s = -DAY, .until_s = DAY};
#define SERVER_NAMES "DNS:localhost,DNS:*.example.test,IP:127.0.0.1,IP:::1"
static const struct subject server = {.name = "server",
                                      .alt_names = SERVER_NAMES,
                                      .usage = "serverAuth",
                                      .from_s = -DAY,
                                      .until_s = DAY};
static const struct subject expired = {.name = "expired",
                                       .alt_names = SERVER_NAMES,
                                       .usage = "serverAuth",
                                       .from_s = -3 * DAY,
                                       .until_s = -2 * DAY};
static const struct subject client = {.name = "client",
                                      .alt_names = "email:client@example.test",
                                      .usage = "clientAuth",
                                      .from_s = -DAY,
                                      .until_s = DAY};

static void write_signed(const struct subject *subject, X509 *ca, EVP_PKEY *ca_key,
                         const char *cert_file, const char *key_file)
{
    EVP_PKEY *key = key_new();
    X509 *cert = cert_new(subject, key, ca, ca_key);
    bool is_one_file = strcmp(cert_file, key_file) == 0;
    write_pem(cert_file, cert, is_one_file ? key : NULL, NULL);
    if (!is_one_file)
        write_pem(key_file, NULL, key, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void write_garbage(const char *path)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs("-----BEGIN CERTIFICATE-----\nnot a certificate\n-----END CERTIFICATE-----\n", file);
    CHECK(fclose(file) == 0);
}

/* Each path of the struct with its file name. */
#define FOR_EACH_FILE(certs, do)                            \
    do                                                      \
        ((certs)->ca_file, "ca.pem");                       \
    do                                                      \
        ((certs)->cert_file, "cert.pem");                   \
    do                                                      \
        ((certs)->key_file, "key.pem");                     \
    do                                                      \
        ((certs)->expired_file, "expired.pem");             \
    do                                                      \
        ((certs)->client_file, "client.pem");               \
    do                                                      \
        ((certs)->other_ca_file, "other-ca.pem");           \
    do                                                      \
        ((certs)->encrypted_key_file, "encrypted-key.pem"); \
    do                                                      \
        ((certs)->garbage_file, "garbage.pem");             \
    do                                                      \
    ((certs)->missing_file, "missing.pem")

void certs_init(struct certs *certs)
{
    const char *temporary = getenv("TMPDIR");
    snprintf(certs->folder, sizeof(certs->folder), "%s/weir-certs-XXXXXX",
             temporary != NULL && strlen(temporary) < 40 ? temporary : "/tmp");
    CHECK(mkdtemp(certs->folder) != NULL);
#define SET_PATH(field, name) snprintf((field), CERTS_PATH_BYTES, "%.70s/%s", certs->folder, name)
    FOR_EACH_FILE(certs, SET_PATH);
#undef SET_PATH
    EVP_PKEY *ca_key = key_new(), *other_key = key_new();
    X509 *ca = cert_new(&authority, ca_key, NULL, NULL);
    X509 *other_ca = cert_new(&other_authority, other_key, NULL, NULL);
    write_pem(certs->ca_file, ca, NULL, NULL);
    write_pem(certs->other_ca_file, other_ca, NULL, NULL);
    write_pem(certs->encrypted_key_file, NULL, other_key, "secret");
    write_signed(&server, ca, ca_key, certs->cert_file, certs->key_file);
    write_signed(&expired, ca, ca_key, certs->expired_file, certs->expired_file);
    write_signed(&client, ca, ca_key, certs->client_file, certs->client_file);
    write_garbage(certs->garbage_file);
    X509_free(ca);
    X509_free(other_ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(other_key);
}

void certs_fini(struct certs *certs)
{
#define REMOVE_FILE(field, name) unlink(field)
    FOR_EACH_FILE(certs, REMOVE_FILE);
#undef REMOVE_FILE
    rmdir(certs->folder);
}
