#include "drive.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { EVENTS_A_TURN = 256, READ_BYTES = 256 * 1024 };

/* One connection, with at most one request under way. */
struct link {
    int fd; /* -1: to be connected when it is needed */
    uint64_t number;
    bool is_busy;
    bool is_counted;     /* among those that are open (modes hold and hangup) */
    bool waits_for_room; /* EPOLLOUT is asked for */
    size_t sent;
    uint64_t scheduled_ns;
    uint64_t progress_ns; /* when the latest byte came or went */
    struct check check;
};

struct drive {
    struct ask *ask;
    const struct options *options;
    struct tally *tally;
    int epoll;
    struct link *links;
    uint64_t link_count; /* that have been used */
    struct link **idle;
    uint64_t idle_count;
    uint64_t busy;
    uint64_t open; /* have their first token, or have sent all of their request */
    uint64_t started;
    uint64_t start_limit;
    uint64_t end_ns;  /* no request begins after */
    uint64_t next_ns; /* the next arrival */
    double pause_ns;  /* between two arrivals, in the mean */
    bool restarts;    /* closed loop: a finished request is followed by another */
    bool is_opening;  /* modes hold and hangup */
    bool is_announced;
    uint64_t arrivals_left;
    uint64_t random;
    uint64_t sweep_ns;
};

uint64_t drive_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void watch(struct drive *drive, struct link *link, int operation)
{
    uint32_t room = link->waits_for_room ? EPOLLOUT : 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | room, .data.ptr = link};
    epoll_ctl(drive->epoll, operation, link->fd, &event);
}

static void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    link->waits_for_room = false;
}

static void start(struct drive *drive, struct link *link, uint64_t scheduled_ns);

/* The request of a link is over, well or not. */
static void settle(struct drive *drive, struct link *link, uint64_t now_ns)
{
    bool is_good = link->check.phase == CHECK_DONE;
    link->is_busy = false;
    drive->busy--;
    if (is_good && !link->check.is_refused) {
        drive->tally->requests++;
        hist_add(&drive->tally->latency, now_ns - link->scheduled_ns);
        if (link->check.first_token_ns > 0)
            hist_add(&drive->tally->ttft, link->check.first_token_ns - link->scheduled_ns);
    }
    if (!is_good || link->check.is_last || drive->options->is_fresh)
        link_close(link);
    if (drive->restarts && is_good && now_ns < drive->end_ns && drive->started < drive->start_limit)
        start(drive, link, drive_now_ns());
    else
        drive->idle[drive->idle_count++] = link;
}

static void fail(struct drive *drive, struct link *link, uint64_t now_ns)
{
    link->check.phase = CHECK_BROKEN;
    settle(drive, link, now_ns);
}

static void count_open(struct drive *drive, struct link *link)
{
    if (!link->is_counted)
        drive->open++;
    link->is_counted = true;
}

static void send_more(struct drive *drive, struct link *link)
{
    struct ask *ask = drive->ask;
    /* All requests share one text: the nonce of this one goes in before each piece is sent. */
    memcpy(ask->text + ask->nonce_at, link->check.call.nonce, FORMAT_NONCE_LEN);
    bool waited = link->waits_for_room;
    while (link->sent < ask->len) {
        ssize_t sent = send(link->fd, ask->text + link->sent, ask->len - link->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0) {
            tally_fault(drive->tally, FAULT_CONNECT, "cannot send: %s", strerror(errno));
            fail(drive, link, drive_now_ns());
            return;
        }
        link->sent += (size_t)sent;
    }
    link->waits_for_room = link->sent < ask->len;
    if (link->waits_for_room != waited)
        watch(drive, link, EPOLL_CTL_MOD);
    if (!link->waits_for_room && !drive->options->is_stream)
        count_open(drive, link);
}

/* Begins a request on a link; its time counts from `scheduled_ns`. */
static void start(struct drive *drive, struct link *link, uint64_t scheduled_ns)
{
    const struct options *options = drive->options;
    ask_renew(drive->ask);
    check_begin(&link->check, drive->ask->form, &drive->ask->call, options->is_stream,
                options->asks_usage, drive->tally);
    link->is_busy = true;
    link->sent = 0;
    link->scheduled_ns = link->progress_ns = scheduled_ns;
    drive->busy++;
    drive->started++;
    if (link->fd < 0) {
        link->fd = ask_connect(drive->ask, link->number, false);
        if (link->fd < 0) {
            tally_fault(drive->tally, FAULT_CONNECT, "%s", strerror(errno));
            fail(drive, link, scheduled_ns);
            return;
        }
        drive->tally->connects++;
        watch(drive, link, EPOLL_CTL_ADD);
    }
    send_more(drive, link);
}

static void on_readable(struct drive *drive, struct link *link)
{
    static char bytes[READ_BYTES];
    ssize_t got = recv(link->fd, bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EAGAIN)
        return;
    uint64_t now_ns = drive_now_ns();
    if (!link->is_busy) {
        /* The peer may close a connection that it has no use for; it may not talk on it. */
        if (got > 0)
            tally_fault(drive->tally, FAULT_FRAMING, "bytes behind the end of the answer");
        link_close(link);
        return;
    }
    if (got <= 0) {
        check_cut(&link->check);
    } else {
        link->progress_ns = now_ns;
        check_feed(&link->check, bytes, (size_t)got, now_ns);
        if (link->check.first_token_ns > 0)
            count_open(drive, link);
    }
    if (link->check.phase >= CHECK_DONE)
        settle(drive, link, now_ns);
}

/* --- arrivals
 * ---------------------------------------------------------------------------------------- */

static double next_pause_ns(struct drive *drive)
{
    if (drive->options->rate == 0 || drive->options->is_even)
        return drive->pause_ns;
    /* The pauses of a Poisson process, the same in every run. */
    uint64_t x = drive->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    drive->random = x;
    double share = ((double)(x >> 11) + 1.0) / 9007199254740993.0;
    return -log(share) * drive->pause_ns;
}

static struct link *free_link(struct drive *drive)
{
    if (drive->idle_count > 0)
        return drive->idle[--drive->idle_count];
    if (drive->link_count == drive->options->connections)
        return NULL;
    struct link *link = &drive->links[drive->link_count];
    link->number = drive->link_count++;
    link->fd = -1;
    return link;
}

static bool arrivals_over(const struct drive *drive, uint64_t now_ns)
{
    return drive->arrivals_left == 0 || drive->started >= drive->start_limit ||
           now_ns >= drive->end_ns || drive->next_ns >= drive->end_ns;
}

static void arrive(struct drive *drive, uint64_t now_ns)
{
    while (!arrivals_over(drive, now_ns) && drive->next_ns <= now_ns) {
        struct link *link = free_link(drive);
        if (link == NULL) {
            tally_fault(drive->tally, FAULT_CONNECT, "all %llu connections are busy",
                        (unsigned long long)drive->options->connections);
            drive->arrivals_left = 0;
            return;
        }
        if (drive->options->rate > 0)
            hist_add(&drive->tally->lateness, drive_now_ns() - drive->next_ns);
        start(drive, link, drive->options->rate > 0 ? drive->next_ns : drive_now_ns());
        drive->arrivals_left--;
        drive->next_ns += (uint64_t)next_pause_ns(drive);
    }
}

/* Fails the requests that have not moved for too long. */
static void sweep(struct drive *drive, uint64_t now_ns)
{
    drive->sweep_ns = now_ns + 500000000u;
    uint64_t timeout_ns = drive->options->timeout_ms * 1000000u;
    for (uint64_t i = 0; i < drive->link_count; i++) {
        struct link *link = &drive->links[i];
        if (!link->is_busy || now_ns < link->progress_ns + timeout_ns)
            continue;
        tally_fault(drive->tally, FAULT_TIMEOUT, "no byte for %llu ms, at token %llu of %.16s",
                    (unsigned long long)drive->options->timeout_ms,
                    (unsigned long long)link->check.seq, link->check.call.nonce);
        fail(drive, link, now_ns);
    }
}

/* --- the loop
 * ------------------------------------------------------------------------------------------ */

/* Says on stdout that all streams are open. True: it was a hang-up, and they are closed now. */
static bool announce(struct drive *drive)
{
    drive->is_announced = true;
    printf("{\"open\":%llu}\n", (unsigned long long)drive->open);
    fflush(stdout);
    if (strcmp(drive->options->mode, "hangup") != 0)
        return false;
    for (int c = getchar(); c != EOF && c != '\n';)
        c = getchar();
    for (uint64_t i = 0; i < drive->link_count; i++)
        link_close(&drive->links[i]);
    return true;
}

static bool wait_events(struct drive *drive, uint64_t now_ns)
{
    struct epoll_event events[EVENTS_A_TURN];
    uint64_t until = drive->sweep_ns;
    if (!arrivals_over(drive, now_ns) && drive->next_ns < until)
        until = drive->next_ns;
    uint64_t pause = until > now_ns ? until - now_ns : 0;
    struct timespec wait = {(time_t)(pause / 1000000000u), (long)(pause % 1000000000u)};
    int count = epoll_pwait2(drive->epoll, events, EVENTS_A_TURN, &wait, NULL);
    if (count < 0 && errno != EINTR) {
        perror("load: epoll");
        return false;
    }
    for (int i = 0; i < count; i++) {
        struct link *link = events[i].data.ptr;
        if (link->fd >= 0 && (events[i].events & EPOLLOUT) && link->is_busy)
            send_more(drive, link);
        if (link->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT))
            on_readable(drive, link);
    }
    return true;
}

static bool loop(struct drive *drive)
{
    for (;;) {
        uint64_t now_ns = drive_now_ns();
        arrive(drive, now_ns);
        if (now_ns >= drive->sweep_ns)
            sweep(drive, now_ns);
        if (drive->busy == 0 && arrivals_over(drive, now_ns))
            return true;
        if (drive->is_opening && !drive->is_announced && tally_faults(drive->tally) > 0)
            return true; /* they will never all be open */
        if (drive->is_opening && !drive->is_announced &&
            drive->open == drive->options->connections && announce(drive))
            return true;
        if (!wait_events(drive, now_ns))
            return false;
    }
}

static void set_up(struct drive *drive, uint64_t now_ns)
{
    const struct options *options = drive->options;
    drive->is_opening = strcmp(options->mode, "run") != 0;
    drive->restarts = options->rate == 0 && !drive->is_opening;
    drive->random = 88172645463325252u;
    drive->next_ns = now_ns;
    drive->sweep_ns = now_ns;
    drive->start_limit = options->requests > 0 ? options->requests : UINT64_MAX;
    drive->end_ns = options->duration_ms > 0 && !drive->is_opening
                        ? now_ns + options->duration_ms * 1000000u
                        : UINT64_MAX;
    if (options->rate > 0) {
        drive->pause_ns = 1e9 / (double)options->rate;
        drive->arrivals_left = UINT64_MAX;
    } else {
        drive->pause_ns = (double)options->ramp_ms * 1e6 / (double)options->connections;
        drive->arrivals_left = options->connections;
    }
}

bool drive_run(struct ask *ask, struct tally *tally, double *seconds)
{
    struct drive drive = {.ask = ask, .options = ask->options, .tally = tally};
    drive.epoll = epoll_create1(EPOLL_CLOEXEC);
    drive.links = calloc((size_t)ask->options->connections, sizeof(*drive.links));
    drive.idle = calloc((size_t)ask->options->connections, sizeof(struct link *));
    bool is_good = drive.epoll >= 0 && drive.links != NULL && drive.idle != NULL;
    if (!is_good)
        perror("load: cannot begin");
    uint64_t begin_ns = drive_now_ns();
    set_up(&drive, begin_ns);
    is_good = is_good && loop(&drive);
    *seconds = (double)(drive_now_ns() - begin_ns) / 1e9;
    for (uint64_t i = 0; i < drive.link_count; i++) {
        link_close(&drive.links[i]);
        check_fini(&drive.links[i].check);
    }
    free(drive.links);
    free(drive.idle);
    close(drive.epoll);
    return is_good;
}
