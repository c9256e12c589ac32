/*
 * Mirroring: a sample of the requests is sent to a second target as well, off their way. Its answer
 * is logged with the request's id and thrown away.
 * Loop threads; each has its own bounds.
 * Nothing yields: the copy runs in a task of its own.
 * The copy owns all it needs.
 * Cannot fail: what cannot be copied is counted as dropped.
 */
#ifndef WEIR_GATEWAY_MIRROR_H
#define WEIR_GATEWAY_MIRROR_H

struct exchange;

/* After the plan, whose policy says whether and where to. */
void mirror_copy(struct exchange *ex);

#endif
