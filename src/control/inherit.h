/*
 * Listening sockets that this process was started with: from the process that it replaces
 * (WEIR_LISTEN_FDS), or from systemd (socket activation: LISTEN_FDS, sd_listen_fds(3)).
 * Main thread.
 * Nothing yields.
 * The inheritance owns its descriptors until they are taken.
 * -ERR_INVALID with the error slot set for what is no listening TCP socket.
 */
#ifndef WEIR_CONTROL_INHERIT_H
#define WEIR_CONTROL_INHERIT_H

#include "base/buf.h"
#include "rt/addr.h"

struct inherited_socket {
    int fd;               /* -1 = taken */
    struct net_addr addr; /* as the config asked for it (port 0 stays 0), or what it is bound to */
    bool is_activated;    /* the service manager keeps it open whatever this process does */
};

struct inheritance {
    struct inherited_socket *sockets;
    unsigned count;
};

/* Reads and unsets the variables. */
int inheritance_init(struct inheritance *inheritance);
/* Closes what nobody took. */
void inheritance_fini(struct inheritance *inheritance);
/* The addresses of activated sockets, each once; returns how many, at most `max`. */
unsigned inheritance_activated(const struct inheritance *inheritance, struct net_addr *out,
                               unsigned max);
/* Takes one socket of that address; -1 when there is none left. */
int inheritance_take(struct inheritance *inheritance, const struct net_addr *addr,
                     bool *is_activated);

/* Appends an entry of WEIR_LISTEN_FDS. */
void inherit_write_entry(struct buf *out, const struct net_addr *addr, bool is_activated,
                         const int *fds, unsigned count);

#endif
