#include "ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static bool read_address(struct ask *ask, const char *target)
{
    char host[64];
    const char *colon = strrchr(target, ':');
    if (colon == NULL || (size_t)(colon - target) >= sizeof(host))
        return false;
    memcpy(host, target, (size_t)(colon - target));
    host[colon - target] = '\0';
    ask->address.sin_family = AF_INET;
    ask->address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    return inet_pton(AF_INET, host, &ask->address.sin_addr) == 1 && ask->address.sin_port != 0;
}

/* The prompt ends where no escape is cut, so that its JSON is valid at any length. */
static char *make_body(struct ask *ask, size_t *len, size_t *nonce_at)
{
    const struct options *options = ask->options;
    size_t room = (size_t)options->prompt + 1024;
    char *body = malloc(room);
    if (body == NULL)
        return NULL;
    const struct form *form = ask->form;
    size_t at = form->lead(body, room, options);
    *nonce_at = at;
    memset(body + at, '0', FORMAT_NONCE_LEN);
    at += FORMAT_NONCE_LEN;
    at += form->middle(body + at, room - at, options);
    format_filler_write(body + at, (size_t)options->prompt);
    at += (size_t)options->prompt;
    at += (size_t)snprintf(body + at, room - at, "%s", form->tail);
    *len = at;
    return body;
}

static bool make_text(struct ask *ask)
{
    const struct options *options = ask->options;
    size_t body_len = 0;
    size_t nonce_at = 0;
    char *body = make_body(ask, &body_len, &nonce_at);
    size_t key_len = options->key != NULL ? strlen(options->key) : 0;
    const char *path = options->path != NULL ? options->path : ask->form->path;
    size_t room = body_len + key_len + strlen(path) + 1024;
    ask->text = malloc(room);
    if (body == NULL || ask->text == NULL) {
        free(body);
        return false;
    }
    size_t at = (size_t)snprintf(
        ask->text, room,
        "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-bench-load\r\nAccept: %s\r\n"
        "Content-Type: application/json\r\n%s%s%s%sContent-Length: %zu\r\n\r\n",
        path, options->target, options->is_stream ? "text/event-stream" : "application/json",
        ask->form->head, key_len > 0 ? "Authorization: Bearer " : "",
        key_len > 0 ? options->key : "", key_len > 0 ? "\r\n" : "", body_len);
    memcpy(ask->text + at, body, body_len);
    free(body);
    ask->len = at + body_len;
    ask->nonce_at = at + nonce_at;
    return true;
}

bool ask_init(struct ask *ask, const struct options *options)
{
    *ask = (struct ask){.options = options, .form = form_find(options->dialect)};
    struct format_call *call = &ask->call;
    call->prompt_bytes = options->prompt;
    call->name_len = strlen(options->model);
    if (!format_model_parse(options->model, call->name_len, &call->model)) {
        fprintf(stderr, "load: the mock has no model '%s'\n", options->model);
        return false;
    }
    memcpy(call->name, options->model, call->name_len + 1);
    if (ask->form == NULL) {
        fprintf(stderr, "load: no such dialect: %s\n", options->dialect);
        return false;
    }
    if (!read_address(ask, options->target)) {
        fprintf(stderr, "load: --target must be an IPv4 address and a port, not '%s'\n",
                options->target);
        return false;
    }
    if (getrandom(&ask->nonces, sizeof(ask->nonces), 0) != sizeof(ask->nonces) || !make_text(ask)) {
        fputs("load: out of memory\n", stderr);
        return false;
    }
    return true;
}

void ask_fini(struct ask *ask)
{
    free(ask->text);
    ask->text = NULL;
}

void ask_renew(struct ask *ask)
{
    /* splitmix64: neighbours do not look alike, and none comes twice. */
    uint64_t z = ask->nonces += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    format_put_hex(ask->call.nonce, z ^ z >> 31);
}

int ask_connect(const struct ask *ask, uint64_t number, bool is_blocking)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (is_blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (ask->options->sources > 1) {
        /* One source address has too few ports for more connections than some 28,000. */
        struct sockaddr_in source = {.sin_family = AF_INET};
        source.sin_addr.s_addr =
            htonl(INADDR_LOOPBACK + (uint32_t)(number % ask->options->sources));
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *)&source, sizeof(source)) != 0) {
            close(fd);
            return -1;
        }
    }
    if (connect(fd, (const struct sockaddr *)&ask->address, sizeof(ask->address)) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}
