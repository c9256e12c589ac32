#include "name_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"

enum { TYPE_A = 1, TYPE_AAAA = 28, HEADER = 12, SERVFAIL = 2, NXDOMAIN = 3 };

struct record {
    const char *label;
    const char *a, *aaaa;
    unsigned a_count;
};

static const struct record records[] = {
    {"v4", "192.0.2.1", NULL, 1},
    {"v6", NULL, "2001:db8::1", 0},
    {"both", "192.0.2.2", "2001:db8::2", 1},
    {"many", "192.0.2.100", NULL, 12},
};

static unsigned char *put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
    return p + 2;
}

/* One answer record for the name of the question. */
static unsigned char *put_record(unsigned char *p, int family, const char *text, unsigned add)
{
    unsigned char ip[16];
    size_t len = family == AF_INET ? 4 : 16;
    CHECK(inet_pton(family, text, ip) == 1);
    ip[len - 1] = (unsigned char)(ip[len - 1] + add);
    p = put16(p, 0xc00c);
    p = put16(p, family == AF_INET ? TYPE_A : TYPE_AAAA);
    p = put16(p, 1);
    p = put16(put16(p, 0), 60);
    p = put16(p, (unsigned)len);
    memcpy(p, ip, len);
    return p + len;
}

static int is_label(const unsigned char *name, const char *label)
{
    return name[0] == strlen(label) && memcmp(name + 1, label, name[0]) == 0;
}

/* Writes the answer over the question in `m`; its length, or 0 for silence. */
static size_t answer(unsigned char *m, size_t len, int is_tcp)
{
    const unsigned char *name = m + HEADER;
    size_t end = HEADER;
    while (end < len && m[end] != 0)
        end += m[end] + 1u;
    end += 5; /* the root label, type, class */
    if (len < HEADER || end > len || is_label(name, "silent"))
        return 0;
    unsigned type = m[end - 3];
    unsigned char *p = m + end;
    unsigned rcode = is_label(name, "fails") ? SERVFAIL : NXDOMAIN;
    unsigned count = 0, truncated = 0;
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        const struct record *r = &records[i];
        if (!is_label(name, r->label))
            continue;
        rcode = 0;
        truncated = r->a_count > 1 && !is_tcp;
        if (type == TYPE_AAAA && r->aaaa != NULL && !truncated)
            p = put_record(p, AF_INET6, r->aaaa, count++);
        for (unsigned n = 0; type == TYPE_A && !truncated && n < r->a_count; n++)
            p = put_record(p, AF_INET, r->a, count++);
    }
    put16(m + 2, 0x8180u | rcode | truncated << 9);
    put16(m + 6, count);
    put16(put16(m + 8, 0), 0); /* no authority, no additional records */
    return (size_t)(p - m);
}

static void serve_udp(struct name_server *server)
{
    unsigned char m[1500];
    struct sockaddr_in peer;
    socklen_t peer_len = sizeof(peer);
    ssize_t n = recvfrom(server->udp, m, 512, 0, (struct sockaddr *)&peer, &peer_len);
    if (n <= 0)
        return;
    atomic_fetch_add(&server->queries, 1);
    size_t len = answer(m, (size_t)n, 0);
    if (len > 0)
        sendto(server->udp, m, len, 0, (struct sockaddr *)&peer, peer_len);
}

static int read_all(int fd, unsigned char *p, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, p + at, len - at);
        if (n <= 0)
            return 0;
        at += (size_t)n;
    }
    return 1;
}

static void serve_tcp(struct name_server *server)
{
    int fd = accept(server->tcp, NULL, NULL);
    unsigned char m[1500], size[2];
    while (read_all(fd, size, 2) && read_all(fd, m, MIN(size[0] * 256u + size[1], 512u))) {
        atomic_fetch_add(&server->tcp_queries, 1);
        size_t len = answer(m, size[0] * 256u + size[1], 1);
        unsigned char out[1502];
        put16(out, (unsigned)len);
        memcpy(out + 2, m, len);
        /* In pieces, as networks do it. */
        for (size_t at = 0; at < len + 2; at += 7)
            (void)!send(fd, out + at, MIN(len + 2 - at, 7u), MSG_NOSIGNAL);
    }
    close(fd);
}

static void *server_main(void *arg)
{
    struct name_server *server = arg;
    for (;;) {
        struct pollfd fds[] = {{.fd = server->udp, .events = POLLIN},
                               {.fd = server->tcp, .events = POLLIN},
                               {.fd = server->stop_pipe[0], .events = POLLIN}};
        CHECK(poll(fds, 3, -1) > 0);
        if (fds[2].revents != 0)
            return NULL;
        if (fds[0].revents != 0)
            serve_udp(server);
        if (fds[1].revents != 0)
            serve_tcp(server);
    }
}

/* Both sockets on one port, or false when another program has the port for one of them. */
static bool bind_both(struct name_server *server, struct sockaddr_in *addr)
{
    socklen_t len = sizeof(*addr);
    *addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->tcp, (struct sockaddr *)addr, len) == 0 && listen(server->tcp, 8) == 0 &&
        getsockname(server->tcp, (struct sockaddr *)addr, &len) == 0 &&
        bind(server->udp, (struct sockaddr *)addr, len) == 0)
        return true;
    close(server->udp);
    close(server->tcp);
    return false;
}

void name_server_start(struct name_server *server)
{
    memset(server, 0, sizeof(*server));
    struct sockaddr_in addr;
    unsigned tries = 0;
    while (!bind_both(server, &addr))
        CHECK(++tries < 100);
    CHECK(pipe(server->stop_pipe) == 0);
    snprintf(server->csv, sizeof(server->csv), "127.0.0.1:%u", ntohs(addr.sin_port));
    CHECK(pthread_create(&server->thread, NULL, server_main, server) == 0);
}

void name_server_stop(struct name_server *server)
{
    CHECK(write(server->stop_pipe[1], "x", 1) == 1);
    pthread_join(server->thread, NULL);
    close(server->udp);
    close(server->tcp);
    close(server->stop_pipe[0]);
    close(server->stop_pipe[1]);
}
