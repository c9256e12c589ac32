#include "control/notify.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "rt/sys.h"

static bool is_silent;

static void send_message(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;
    if (is_silent || len < 2 || len >= sizeof(addr.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@') /* the abstract namespace */
        addr.sun_path[0] = '\0';
    int fd = sys_socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0)
        return;
    socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&addr, addr_len);
    sys_close(fd);
}

void notify_ready(const char *status)
{
    char text[512];
    snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\nSTATUS=%s\n", (int)getpid(), status);
    send_message(text);
}

void notify_reloading(void)
{
    char text[128];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading\n",
             (long long)(clock_mono_ns() / NS_PER_US));
    send_message(text);
}

void notify_stopping(void)
{
    send_message("STOPPING=1\nSTATUS=finishing the requests that run\n");
}

void notify_hand_over(pid_t successor)
{
    char text[64];
    snprintf(text, sizeof(text), "MAINPID=%d\n", (int)successor);
    send_message(text);
    is_silent = true;
}
