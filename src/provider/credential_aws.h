/*
 * What an AWS credential is found with: profiles of the shared files, and the Security Token
 * Service.
 * The loop thread of the credential.
 * All of it yields.
 * Results live in the arena.
 * -ERR_INVALID for files that cannot be used, -ERR_PROTOCOL for a service that refuses, and what
 * asking and reading give.
 */
#ifndef WEIR_PROVIDER_CREDENTIAL_AWS_H
#define WEIR_PROVIDER_CREDENTIAL_AWS_H

#include "provider/credential_private.h"

/* A profile, as ~/.aws/credentials and ~/.aws/config tell together; empty = not told. */
struct aws_profile {
    bool is_found;
    struct str access_key_id, secret_access_key, session_token;
    struct str role_arn, role_session_name, external_id;
    struct str source_profile, credential_source;
    struct str web_identity_token_file;
    struct str credential_process, sso_session, sso_start_url;
};
/* Files that are not there are no error: then is_found says so. */
YIELDS int aws_read_profile(struct arena *arena, struct str name, struct aws_profile *profile);

struct aws_role {
    struct str arn, external_id;
    struct str session_name; /* empty = weir */
};
/* Assumes a role with the credentials that *token has, which become those of the role.
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
YIELDS int aws_assume_role(struct credential *c, struct arena *arena, const struct aws_role *role,
                           struct credential_token *token);
/* The same with the token of another platform (EKS, CI), which is read from a file each time.
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html */
YIELDS int aws_assume_role_by_token(struct credential *c, struct arena *arena,
                                    const struct aws_role *role, struct str token_file,
                                    struct credential_token *token);

#endif
