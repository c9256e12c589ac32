/*
 * Socket addresses: parsing, formatting, and what kind of network they lie in.
 * Any thread; nothing yields or allocates.
 * Values are copied.
 * Parsers return false on bad input.
 * Address kinds follow the IANA special-purpose registries (RFC 6890).
 */
#ifndef WEIR_RT_ADDR_H
#define WEIR_RT_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/str.h"

struct net_addr {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u;
    socklen_t len; /* 0 = none */
};

enum net_kind {
    NET_PUBLIC,
    NET_LOOPBACK,
    NET_PRIVATE,    /* RFC 1918, RFC 4193, RFC 6598 (carrier-grade NAT) */
    NET_LINK_LOCAL, /* 169.254/16 with the cloud metadata services, fe80::/10 */
    NET_RESERVED,   /* unspecified, multicast, broadcast, documentation, future use */
};

/* An IPv4 or IPv6 literal (IPv6 with or without brackets), no name. */
bool net_addr_parse(struct str literal, uint16_t port, struct net_addr *out);
/* "127.0.0.1:8080", "[::1]:0", "localhost:8080", ":8080" and "8080" (the last three = 127.0.0.1).
 */
bool net_addr_parse_listen(struct str text, struct net_addr *out);
uint16_t net_addr_port(const struct net_addr *addr);
/* Same family, address and port. */
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/* An IPv4-mapped IPv6 address (what a dual-stack socket reports) becomes the IPv4 address. */
void net_addr_unmap(struct net_addr *addr);
/* IPv4-mapped, 6to4 and NAT64 forms are judged by the IPv4 address inside. The well-known
 * metadata addresses (169.254.169.254, fd00:ec2::254, 100.100.100.200, ...) are link-local. */
enum net_kind net_addr_kind(const struct net_addr *addr);
#define NET_ADDR_TEXT_BYTES 64
/* "127.0.0.1" or "::1", with ":port" / "[..]:port" when with_port; returns out. */
const char *net_addr_format(const struct net_addr *addr, bool with_port,
                            char out[NET_ADDR_TEXT_BYTES]);

#endif
