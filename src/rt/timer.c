#include "rt/timer.h"

#define SLOT_BITS 6
#define TICK_NS NS_PER_MS
/* The wheel's horizon: 2^30 ms, about 12 days; what is later is looked at again then. */
#define HORIZON_TICKS (INT64_C(1) << (SLOT_BITS * WHEEL_LEVELS))

void timer_wheel_init(struct timer_wheel *wheel, int64_t now_ns)
{
    wheel->now_tick = now_ns / TICK_NS;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        wheel->used[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
}

void timer_init(struct timer *timer, timer_fn *fn)
{
    list_init(&timer->node);
    timer->deadline_ns = CLOCK_NEVER;
    timer->linked_tick = -1;
    timer->fn = fn;
}

/* The tick at or after the deadline: a timer never fires early. */
static int64_t tick_of(int64_t deadline_ns)
{
    return deadline_ns / TICK_NS + (deadline_ns % TICK_NS != 0);
}

/* Links at the level of the highest bit in which the tick differs from now. */
static void wheel_link(struct timer_wheel *wheel, struct timer *timer)
{
    int64_t tick = MAX(tick_of(timer->deadline_ns), wheel->now_tick + 1);
    tick = MIN(tick, wheel->now_tick + HORIZON_TICKS - 1);
    uint64_t diff = (uint64_t)(tick ^ wheel->now_tick);
    unsigned level = (63u - (unsigned)__builtin_clzll(diff | 1)) / SLOT_BITS;
    if (level >= WHEEL_LEVELS)
        level = WHEEL_LEVELS - 1;
    unsigned slot = (unsigned)(tick >> (SLOT_BITS * level)) % WHEEL_SLOTS;
    timer->linked_tick = tick;
    list_remove(&timer->node);
    list_push(&wheel->slots[level][slot], &timer->node);
    wheel->used[level] |= UINT64_C(1) << slot;
}

void timer_arm(struct timer_wheel *wheel, struct timer *timer, int64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns;
    if (deadline_ns == CLOCK_NEVER)
        return;
    if (timer->linked_tick >= 0 && timer->linked_tick <= tick_of(deadline_ns))
        return;
    wheel_link(wheel, timer);
}

void timer_disarm(struct timer *timer)
{
    timer->deadline_ns = CLOCK_NEVER;
    timer->linked_tick = -1;
    list_remove(&timer->node);
}

/* The first tick after now at which `level` has a used slot, or INT64_MAX. */
static int64_t level_next_tick(const struct timer_wheel *wheel, unsigned level)
{
    if (wheel->used[level] == 0)
        return INT64_MAX;
    int64_t position = wheel->now_tick >> (SLOT_BITS * level);
    unsigned from = (unsigned)(position + 1) % WHEEL_SLOTS;
    uint64_t rotated = from == 0 ? wheel->used[level]
                                 : wheel->used[level] >> from | wheel->used[level] << (64 - from);
    return (position + 1 + __builtin_ctzll(rotated)) << (SLOT_BITS * level);
}

static int64_t wheel_next_tick(const struct timer_wheel *wheel)
{
    int64_t next = INT64_MAX;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        int64_t tick = level_next_tick(wheel, level);
        next = MIN(next, tick);
    }
    return next;
}

int64_t timer_wheel_next_ns(const struct timer_wheel *wheel)
{
    int64_t tick = wheel_next_tick(wheel);
    return tick == INT64_MAX ? CLOCK_NEVER : tick * TICK_NS;
}

/* Takes out what waits in the slots that begin at now_tick; fires what is due, re-links the rest.
 */
static unsigned run_tick(struct timer_wheel *wheel, int64_t now_ns)
{
    struct list due;
    list_init(&due);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        unsigned shift = SLOT_BITS * level;
        if ((wheel->now_tick & ((INT64_C(1) << shift) - 1)) != 0)
            break;
        unsigned slot = (unsigned)(wheel->now_tick >> shift) % WHEEL_SLOTS;
        list_splice(&due, &wheel->slots[level][slot]);
        wheel->used[level] &= ~(UINT64_C(1) << slot);
    }
    unsigned fired = 0;
    for (struct list *node; (node = list_pop(&due)) != NULL;) {
        struct timer *timer = CONTAINER_OF(node, struct timer, node);
        timer->linked_tick = -1;
        if (timer->deadline_ns == CLOCK_NEVER)
            continue;
        if (timer->deadline_ns > now_ns) {
            wheel_link(wheel, timer);
            continue;
        }
        timer->deadline_ns = CLOCK_NEVER;
        timer->fn(timer);
        fired++;
    }
    return fired;
}

unsigned timer_wheel_run(struct timer_wheel *wheel, int64_t now_ns)
{
    int64_t target = now_ns / TICK_NS;
    unsigned fired = 0;
    for (;;) {
        int64_t tick = wheel_next_tick(wheel);
        if (tick > target)
            break;
        wheel->now_tick = tick;
        fired += run_tick(wheel, now_ns);
    }
    wheel->now_tick = MAX(wheel->now_tick, target);
    return fired;
}
