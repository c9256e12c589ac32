/*
 * Certificates for tests, made anew in a temporary folder.
 * Any thread.
 * Nothing yields.
 * The caller owns the struct; certs_fini removes the folder.
 * Failures abort the test program.
 */
#ifndef WEIR_TESTS_SUPPORT_CERTS_H
#define WEIR_TESTS_SUPPORT_CERTS_H

enum { CERTS_PATH_BYTES = 96 };

struct certs {
    char folder[CERTS_PATH_BYTES];
    char ca_file[CERTS_PATH_BYTES];
    /* For localhost, *.example.test, 127.0.0.1 and ::1; signed by the CA. */
    char cert_file[CERTS_PATH_BYTES];
    char key_file[CERTS_PATH_BYTES];
    /* For the same names, but its time is over. */
    char expired_file[CERTS_PATH_BYTES]; /* with its key */
    /* For a client, signed by the CA, with its key in the same file. */
    char client_file[CERTS_PATH_BYTES];
    char other_ca_file[CERTS_PATH_BYTES]; /* has signed nothing */
    char encrypted_key_file[CERTS_PATH_BYTES];
    char garbage_file[CERTS_PATH_BYTES];
    char missing_file[CERTS_PATH_BYTES]; /* is not there */
};

void certs_init(struct certs *certs);
void certs_fini(struct certs *certs);

#endif
