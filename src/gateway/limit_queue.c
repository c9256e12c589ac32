#include "gateway/limit_queue.h"

#include "base/clock.h"
#include "base/err.h"

/* All targets' tickets of this thread, in the order they came. Few requests wait at a time, and
 * those of one target find each other by looking. */
static _Thread_local struct list waiting;
static _Thread_local unsigned waiting_count;

static bool is_of(const struct limit_ticket *ticket, struct str provider, struct str model)
{
    return str_eq(ticket->provider, provider) && str_eq(ticket->model, model);
}

static struct limit_ticket *first_of(struct str provider, struct str model)
{
    LIST_FOR_EACH(node, &waiting)
    {
        struct limit_ticket *ticket = CONTAINER_OF(node, struct limit_ticket, node);
        if (is_of(ticket, provider, model))
            return ticket;
    }
    return NULL;
}

bool limit_queue_is_busy(struct str provider, struct str model)
{
    return waiting_count > 0 && first_of(provider, model) != NULL;
}

int limit_queue_enter(struct limit_ticket *ticket, struct str provider, struct str model,
                      unsigned most)
{
    unsigned count = 0;
    if (waiting_count == 0)
        list_init(&waiting);
    LIST_FOR_EACH(node, &waiting)
    count += is_of(CONTAINER_OF(node, struct limit_ticket, node), provider, model);
    if (count >= most)
        return err_set(ERR_BUSY, FAULT_GATEWAY, "%u requests wait for it already", count);
    *ticket = (struct limit_ticket){
        .task = task_self(), .provider = provider, .model = model, .is_in = true};
    list_push(&waiting, &ticket->node);
    waiting_count++;
    return 0;
}

YIELDS int limit_queue_turn(const struct limit_ticket *ticket, int64_t until_ns,
                            int64_t deadline_ns)
{
    for (;;) {
        int64_t now_ns = clock_mono_ns();
        bool is_first = first_of(ticket->provider, ticket->model) == ticket;
        if (now_ns >= deadline_ns)
            return err_set(ERR_TIMEOUT, FAULT_UPSTREAM, "no key came free in time");
        if (is_first && now_ns >= until_ns)
            return 0;
        int r = task_park(is_first ? MIN(until_ns, deadline_ns) : deadline_ns);
        if (r < 0 && r != -ERR_TIMEOUT)
            return r;
    }
}

void limit_queue_leave(struct limit_ticket *ticket)
{
    if (!ticket->is_in)
        return;
    list_remove(&ticket->node);
    waiting_count--;
    ticket->is_in = false;
    struct limit_ticket *next =
        waiting_count > 0 ? first_of(ticket->provider, ticket->model) : NULL;
    if (next != NULL)
        task_wake(next->task);
}
