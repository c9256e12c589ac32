#include "control/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "rt/sys.h"

/* sd_listen_fds(3): the first descriptor. */
enum { ACTIVATED_FIRST = 3, SOCKETS_MAX = 65536 };

static int refuse(int fd, const char *name, const char *what)
{
    return err_set(ERR_INVALID, FAULT_GATEWAY, "inherited socket %d%s%.60s%s %s", fd,
                   name[0] != '\0' ? " (" : "", name, name[0] != '\0' ? ")" : "", what);
}

/* A listening TCP socket; *bound gets its address. */
static int adopt(int fd, const char *name, struct net_addr *bound)
{
    int value = 0;
    socklen_t len = sizeof(value);
    *bound = (struct net_addr){.len = sizeof(bound->u)};
    if (getsockname(fd, &bound->u.any, &bound->len) < 0)
        return refuse(fd, name, errno == EBADF ? "is not open" : "is not a socket");
    if (bound->u.any.sa_family != AF_INET && bound->u.any.sa_family != AF_INET6)
        return refuse(fd, name, "is not a TCP socket; expected ListenStream=ADDRESS:PORT");
    if (sys_getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) < 0 || value == 0)
        return refuse(fd, name, "does not listen");
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return refuse(fd, name, "cannot be set up");
    return 0;
}

static int add(struct inheritance *inheritance, int fd, const struct net_addr *addr,
               bool is_activated)
{
    if (inheritance->count >= SOCKETS_MAX)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "too many inherited sockets");
    struct inherited_socket *all =
        mem_realloc(inheritance->sockets, (inheritance->count + 1) * sizeof(*inheritance->sockets));
    if (all == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for inherited sockets");
    inheritance->sockets = all;
    all[inheritance->count++] = (struct inherited_socket){fd, *addr, is_activated};
    return 0;
}

/* --- from the process before --------------------------------------------------------------------
 */

/* "ADDR=FD,FD,...;ADDR=..." with "activated" as a last item where it holds. */
static int read_entry(struct inheritance *inheritance, struct str entry)
{
    struct str fds = entry, text, item;
    struct net_addr addr, bound;
    unsigned first = inheritance->count;
    if (!str_cut(&fds, '=', &text) || !net_addr_parse_listen(text, &addr))
        return err_set(ERR_INVALID, FAULT_GATEWAY, "WEIR_LISTEN_FDS cannot be understood");
    while (str_next(&fds, ',', &item)) {
        uint64_t fd;
        if (str_eq(item, STR("activated"))) {
            for (unsigned i = first; i < inheritance->count; i++)
                inheritance->sockets[i].is_activated = true;
            continue;
        }
        if (!str_to_u64(item, &fd) || fd > INT32_MAX)
            return err_set(ERR_INVALID, FAULT_GATEWAY, "WEIR_LISTEN_FDS cannot be understood");
        int r = adopt((int)fd, "", &bound);
        if (r == 0)
            r = add(inheritance, (int)fd, &addr, false);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_predecessor(struct inheritance *inheritance)
{
    struct str rest = str_c(getenv("WEIR_LISTEN_FDS")), entry;
    int r = 0;
    while (r == 0 && str_next(&rest, ';', &entry)) {
        if (entry.len > 0)
            r = read_entry(inheritance, entry);
    }
    unsetenv("WEIR_LISTEN_FDS");
    return r;
}

void inherit_write_entry(struct buf *out, const struct net_addr *addr, bool is_activated,
                         const int *fds, unsigned count)
{
    char text[NET_ADDR_TEXT_BYTES];
    buf_printf(out, "%s=", net_addr_format(addr, true, text));
    for (unsigned i = 0; i < count; i++)
        buf_printf(out, "%s%d", i > 0 ? "," : "", fds[i]);
    buf_add_str(out, str_c(is_activated ? ",activated;" : ";"));
}

/* --- from systemd --------------------------------------------------------------------------------
 */

static int read_activation(struct inheritance *inheritance)
{
    uint64_t pid = 0, count = 0;
    bool is_for_us = str_to_u64(str_c(getenv("LISTEN_PID")), &pid) && pid == (uint64_t)getpid() &&
                     str_to_u64(str_c(getenv("LISTEN_FDS")), &count) && count <= SOCKETS_MAX;
    struct str names = str_c(getenv("LISTEN_FDNAMES"));
    int r = 0;
    for (unsigned i = 0; is_for_us && r == 0 && i < count; i++) {
        struct str item = STR_EMPTY;
        struct net_addr bound;
        char name[64];
        str_next(&names, ':', &item);
        snprintf(name, sizeof(name), "%.*s", STR_ARG(str_head(item, sizeof(name) - 1)));
        r = adopt(ACTIVATED_FIRST + (int)i, name, &bound);
        if (r == 0)
            r = add(inheritance, ACTIVATED_FIRST + (int)i, &bound, true);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return r;
}

/* --- the whole
 * ------------------------------------------------------------------------------------ */

int inheritance_init(struct inheritance *inheritance)
{
    *inheritance = (struct inheritance){NULL, 0};
    int r = read_predecessor(inheritance);
    if (r == 0)
        r = read_activation(inheritance);
    if (r < 0)
        inheritance_fini(inheritance);
    return r;
}

void inheritance_fini(struct inheritance *inheritance)
{
    for (unsigned i = 0; i < inheritance->count; i++) {
        if (inheritance->sockets[i].fd >= 0)
            sys_close(inheritance->sockets[i].fd);
    }
    mem_free(inheritance->sockets);
    *inheritance = (struct inheritance){NULL, 0};
}

unsigned inheritance_activated(const struct inheritance *inheritance, struct net_addr *out,
                               unsigned max)
{
    unsigned count = 0;
    for (unsigned i = 0; i < inheritance->count && count < max; i++) {
        const struct inherited_socket *s = &inheritance->sockets[i];
        bool is_known = !s->is_activated;
        for (unsigned j = 0; j < count; j++)
            is_known |= net_addr_equal(&out[j], &s->addr);
        if (!is_known)
            out[count++] = s->addr;
    }
    return count;
}

int inheritance_take(struct inheritance *inheritance, const struct net_addr *addr,
                     bool *is_activated)
{
    for (unsigned i = 0; i < inheritance->count; i++) {
        struct inherited_socket *s = &inheritance->sockets[i];
        if (s->fd < 0 || !net_addr_equal(&s->addr, addr))
            continue;
        int fd = s->fd;
        s->fd = -1;
        *is_activated = s->is_activated;
        return fd;
    }
    return -1;
}
