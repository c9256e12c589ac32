#include "rt/addr.h"

#include <arpa/inet.h>

/* A block of the special-purpose registries. The most restrictive of all that match wins. */
struct block4 {
    uint8_t prefix[4];
    unsigned bits;
    enum net_kind kind;
};

struct block6 {
    uint8_t prefix[16];
    unsigned bits;
    enum net_kind kind;
    unsigned ipv4_at; /* where an IPv4 address lies inside, which is judged as well; 0 = none */
};

/* IANA IPv4 Special-Purpose Address Registry, and what the cloud providers answer on. */
static const struct block4 blocks4[] = {
    {{0}, 8, NET_RESERVED}, /* "this host": Linux connects 0.0.0.0 to itself */
    {{10}, 8, NET_PRIVATE},
    {{100, 64}, 10, NET_PRIVATE},
    {{100, 100, 100, 200}, 32, NET_LINK_LOCAL}, /* Alibaba Cloud metadata */
    {{127}, 8, NET_LOOPBACK},
    {{168, 63, 129, 16}, 32, NET_LINK_LOCAL}, /* Azure's WireServer */
    {{169, 254}, 16, NET_LINK_LOCAL},
    {{172, 16}, 12, NET_PRIVATE},
    {{192, 0, 0}, 24, NET_RESERVED}, /* with Oracle Cloud's 192.0.0.192 */
    {{192, 0, 2}, 24, NET_RESERVED},
    {{192, 88, 99}, 24, NET_RESERVED},
    {{192, 168}, 16, NET_PRIVATE},
    /* Benchmarking (RFC 2544): in practice the made-up answers of local VPN resolvers. */
    {{198, 18}, 15, NET_PRIVATE},
    {{198, 51, 100}, 24, NET_RESERVED},
    {{203, 0, 113}, 24, NET_RESERVED},
    {{224}, 4, NET_RESERVED},
    {{240}, 4, NET_RESERVED},
};

/* IANA IPv6 Special-Purpose Address Registry. What lies outside 2000::/3 and is not named here is
 * not assigned. */
static const struct block6 blocks6[] = {
    {{[15] = 1}, 128, NET_LOOPBACK, 0},
    {{[10] = 0xff, [11] = 0xff}, 96, NET_PUBLIC, 12},      /* ::ffff:a.b.c.d */
    {{0x00, 0x64, 0xff, 0x9b}, 96, NET_PUBLIC, 12},        /* NAT64, RFC 6052 */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, NET_PRIVATE, 12}, /* local NAT64, RFC 8215 */
    {{0x20, 0x01, 0x00}, 23, NET_RESERVED, 0},             /* with Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, NET_RESERVED, 0},       /* documentation */
    {{0x20, 0x02}, 16, NET_PUBLIC, 2},                     /* 6to4, RFC 3056 */
    {{0x3f, 0xff}, 20, NET_RESERVED, 0},                   /* documentation, RFC 9637 */
    {{0xfc}, 7, NET_PRIVATE, 0},
    {{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128, NET_LINK_LOCAL, 0}, /* AWS metadata */
    {{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54}, 128, NET_LINK_LOCAL, 0}, /* Google */
    {{0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe}, 128, NET_LINK_LOCAL, 0}, /* Oracle */
    {{0xfe, 0x80}, 10, NET_LINK_LOCAL, 0},
    {{0xfe, 0xc0}, 10, NET_PRIVATE, 0}, /* the former site-local */
    {{0xff}, 8, NET_RESERVED, 0},
};

/* The values that the kinds are compared by: a later one is the more restrictive. */
_Static_assert(NET_PUBLIC < NET_LOOPBACK && NET_LOOPBACK < NET_PRIVATE &&
                   NET_PRIVATE < NET_LINK_LOCAL && NET_LINK_LOCAL < NET_RESERVED,
               "the kinds are in the order of restriction");

static void set_v4(struct net_addr *out, struct in_addr ip, uint16_t port)
{
    memset(out, 0, sizeof(*out));
    out->u.v4.sin_family = AF_INET;
    out->u.v4.sin_addr = ip;
    out->u.v4.sin_port = htons(port);
    out->len = sizeof(out->u.v4);
}

bool net_addr_parse(struct str literal, uint16_t port, struct net_addr *out)
{
    bool has_brackets = literal.len >= 2 && literal.ptr[0] == '[';
    if (has_brackets) {
        if (literal.ptr[literal.len - 1] != ']')
            return false;
        literal = str_n(literal.ptr + 1, literal.len - 2);
    }
    char text[INET6_ADDRSTRLEN];
    if (literal.len == 0 || literal.len >= sizeof(text) || str_index(literal, '\0') >= 0)
        return false;
    memcpy(text, literal.ptr, literal.len);
    text[literal.len] = '\0';
    struct in_addr ip4;
    if (!has_brackets && inet_pton(AF_INET, text, &ip4) == 1) {
        set_v4(out, ip4, port);
        return true;
    }
    struct in6_addr ip6;
    if (inet_pton(AF_INET6, text, &ip6) != 1)
        return false;
    memset(out, 0, sizeof(*out));
    out->u.v6.sin6_family = AF_INET6;
    out->u.v6.sin6_addr = ip6;
    out->u.v6.sin6_port = htons(port);
    out->len = sizeof(out->u.v6);
    return true;
}

bool net_addr_parse_listen(struct str text, struct net_addr *out)
{
    ptrdiff_t colon = str_rindex(text, ':');
    struct str host = colon < 0 ? STR_EMPTY : str_head(text, (size_t)colon);
    uint64_t port;
    if (!str_to_u64(str_skip(text, (size_t)(colon + 1)), &port) || port > UINT16_MAX)
        return false;
    if (host.len == 0 || str_ieq(host, STR("localhost")))
        host = STR("127.0.0.1");
    /* Without brackets nobody can tell an IPv6 address's last group from a port. */
    if (str_index(host, ':') >= 0 && host.ptr[0] != '[')
        return false;
    return net_addr_parse(host, (uint16_t)port, out);
}

uint16_t net_addr_port(const struct net_addr *addr)
{
    switch (addr->u.any.sa_family) {
    case AF_INET:
        return ntohs(addr->u.v4.sin_port);
    case AF_INET6:
        return ntohs(addr->u.v6.sin6_port);
    default:
        return 0;
    }
}

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    if (a->len == 0 || b->len == 0 || a->u.any.sa_family != b->u.any.sa_family)
        return a->len == b->len;
    if (a->u.any.sa_family == AF_INET)
        return a->u.v4.sin_port == b->u.v4.sin_port &&
               a->u.v4.sin_addr.s_addr == b->u.v4.sin_addr.s_addr;
    return a->u.v6.sin6_port == b->u.v6.sin6_port &&
           a->u.v6.sin6_scope_id == b->u.v6.sin6_scope_id &&
           memcmp(&a->u.v6.sin6_addr, &b->u.v6.sin6_addr, sizeof(a->u.v6.sin6_addr)) == 0;
}

void net_addr_unmap(struct net_addr *addr)
{
    if (addr->u.any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->u.v6.sin6_addr))
        return;
    struct in_addr ip4;
    memcpy(&ip4, addr->u.v6.sin6_addr.s6_addr + 12, sizeof(ip4));
    set_v4(addr, ip4, ntohs(addr->u.v6.sin6_port));
}

static bool has_prefix(const uint8_t *ip, const uint8_t *prefix, unsigned bits)
{
    unsigned whole = bits / 8;
    if (memcmp(ip, prefix, whole) != 0)
        return false;
    unsigned mask = 0xff00u >> bits % 8;
    return bits % 8 == 0 || ((ip[whole] ^ prefix[whole]) & mask & 0xff) == 0;
}

static enum net_kind kind4(const uint8_t ip[4])
{
    enum net_kind kind = NET_PUBLIC;
    for (size_t i = 0; i < ARRAY_LEN(blocks4); i++) {
        if (has_prefix(ip, blocks4[i].prefix, blocks4[i].bits))
            kind = MAX(kind, blocks4[i].kind);
    }
    return kind;
}

static enum net_kind kind6(const uint8_t ip[16])
{
    enum net_kind kind = NET_PUBLIC;
    bool is_known = (ip[0] & 0xe0) == 0x20;
    for (size_t i = 0; i < ARRAY_LEN(blocks6); i++) {
        const struct block6 *block = &blocks6[i];
        if (!has_prefix(ip, block->prefix, block->bits))
            continue;
        is_known = true;
        kind = MAX(kind, block->kind);
        if (block->ipv4_at != 0) {
            enum net_kind inside = kind4(ip + block->ipv4_at);
            kind = MAX(kind, inside);
        }
    }
    return is_known ? kind : NET_RESERVED;
}

enum net_kind net_addr_kind(const struct net_addr *addr)
{
    switch (addr->u.any.sa_family) {
    case AF_INET:
        return kind4((const uint8_t *)&addr->u.v4.sin_addr);
    case AF_INET6:
        return kind6(addr->u.v6.sin6_addr.s6_addr);
    default:
        return NET_RESERVED;
    }
}

/* Dotted decimal by hand: each request's record has its client's address, and inet_ntop prints. */
static size_t format_v4(const struct in_addr *ip, char *out)
{
    uint8_t octets[4];
    size_t n = 0;
    memcpy(octets, ip, sizeof(octets));
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            out[n++] = '.';
        n += str_put_u64(out + n, octets[i]);
    }
    return n;
}

const char *net_addr_format(const struct net_addr *addr, bool with_port,
                            char out[NET_ADDR_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "unknown";
    bool is_v6 = addr->u.any.sa_family == AF_INET6;
    if (is_v6)
        inet_ntop(AF_INET6, &addr->u.v6.sin6_addr, ip, sizeof(ip));
    else if (addr->u.any.sa_family == AF_INET)
        ip[format_v4(&addr->u.v4.sin_addr, ip)] = '\0';
    if (with_port)
        snprintf(out, NET_ADDR_TEXT_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", ip,
                 (unsigned)net_addr_port(addr));
    else
        memcpy(out, ip, strlen(ip) + 1);
    return out;
}
