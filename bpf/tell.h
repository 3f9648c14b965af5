/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tell.h - counts what is lost, and tells whoever watches what happens
 *
 * Writes: losses, telling, untold, events.  Reads: watching.
 * Oracle: tests/bpf/test_tell.py.
 *
 *   loss ─► losses[(endpoint, reason)]        flow ─┐
 *     └──────────────► watched? ◄───────────────────┘
 *                        └ asked for, within the budget of the second ─► events
 *
 * Nobody watches, mostly: that is one look into an array for each connection that opens or ends,
 * and nothing at all for the packets between. How much is told in a second is bounded; what is left
 * out is counted, so that who watches knows. Built with TELL_NOTHING, nothing of this is there:
 * bench compares the two.
 */
#ifndef TERWAY_TELL_H
#define TERWAY_TELL_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"

#define LOSSES_MAX    65536     /* 4,096 endpoints with 16 reasons each; made as they occur */
#define EVENTS_BYTES  (1 << 18) /* 2,978 messages: a second's worth at most rates */
#define TELL_NS_PER_S 1000000000ULL

#ifdef TELL_NOTHING
#define IS_TELLING false
#else
#define IS_TELLING true
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, struct loss_key);
	__type(value, struct loss_count);
	__uint(max_entries, LOSSES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct watching);
	__uint(max_entries, 1);
} watching SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct telling);
	__uint(max_entries, 1);
} telling SEC(".maps");

/* Messages that were left out, ever: above the budget, or the ring was full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} untold SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

/* The entry of `key`, made where there is none yet. */
static __always_inline struct loss_count *loss_count_of(const struct loss_key *key)
{
	struct loss_count *count = bpf_map_lookup_elem(&losses, key);
	const struct loss_count none = {};

	if (count)
		return count;
	bpf_map_update_elem(&losses, key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&losses, key);
}

/* Where there is no room for one pod's entry, the loss is counted as nobody's. */
static __noinline int count_loss(__u32 endpoint, __u32 reason, __u32 bytes)
{
	struct loss_key key = {.endpoint = endpoint, .reason = reason};
	struct loss_count *count = loss_count_of(&key);

	if (!count) {
		key.endpoint = 0;
		count = loss_count_of(&key);
	}
	if (!count)
		return 0;
	count->packets++;
	count->bytes += bytes;
	return 0;
}

/* Who watches, if somebody asked for `what`. */
static __always_inline const struct watching *watched(__u32 what)
{
	__u32 only = 0;
	const struct watching *asked = bpf_map_lookup_elem(&watching, &only);

	return asked && asked->flags & what ? asked : NULL;
}

static __always_inline bool is_watched(const struct watching *asked, const struct address *address,
				       __u32 family)
{
	const struct address *v6 = &asked->v6;

	if (family == FAMILY_V4)
		return asked->v4 && address->word[0] == asked->v4;
	return v6->word[0] && address->word[0] == v6->word[0] && address->word[1] == v6->word[1] &&
	       address->word[2] == v6->word[2] && address->word[3] == v6->word[3];
}

/* Is it about the endpoint that is watched: at its link, or from or to its addresses? */
static __always_inline bool is_asked_for(const struct watching *asked, __u32 endpoint,
					 const struct flow_tuple *flow)
{
	if (!asked->endpoint || asked->endpoint == endpoint)
		return true;
	return flow && (is_watched(asked, &flow->source, flow->family) ||
			is_watched(asked, &flow->destination, flow->family));
}

/* May one more be told in this second? Only those that may write to what all CPUs share. */
static __always_inline bool is_in_budget(__u64 now, __u32 per_second)
{
	__u32 only = 0;
	struct telling *so_far = bpf_map_lookup_elem(&telling, &only);

	if (!so_far)
		return false;
	if (so_far->second != now / TELL_NS_PER_S) {
		so_far->second = now / TELL_NS_PER_S;
		so_far->told = 0;
	}
	if (so_far->told >= per_second)
		return false;
	__sync_fetch_and_add(&so_far->told, 1);
	return true;
}

static __always_inline void leave_out(void)
{
	__u32 only = 0;
	__u64 *left_out = bpf_map_lookup_elem(&untold, &only);

	if (left_out)
		(*left_out)++;
}

/* All messages of a connection are told, or none: the choice is by what does not change in it. */
static __always_inline bool is_sampled(const struct flow_tuple *flow, __u32 one_in)
{
	__u32 mixed = flow->source_port << 16 | flow->destination_port;

	mixed ^= flow->source.word[0] ^ flow->source.word[3];
	mixed ^= flow->destination.word[0] ^ flow->destination.word[3];
	/* The finalizer of MurmurHash3: each bit of the input turns half of the result's. */
	mixed = (mixed ^ mixed >> 16) * 0x85ebca6b;
	mixed = (mixed ^ mixed >> 13) * 0xc2b2ae35;
	mixed ^= mixed >> 16;
	return one_in < 2 || mixed % one_in == 0;
}

/* A place in the ring with all that every message has, or NULL: not now. */
static __always_inline struct event *new_event(struct __sk_buff *skb, __u32 endpoint,
					       __u32 per_second)
{
	__u64 now = bpf_ktime_get_ns();
	struct event *event = NULL;

	if (is_in_budget(now, per_second))
		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		leave_out();
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->at_ns = now;
	event->endpoint = endpoint;
	event->ifindex = skb->ifindex;
	event->bytes = skb->len;
	return event;
}

/* The service that a connection is for. Together with what happened it is one argument: see below.
 */
static __always_inline void name_frontend(struct event *event, const struct address *frontend,
					  __u32 what)
{
	if (!frontend)
		return;
	event->frontend = *frontend;
	event->frontend_port = what >> 8;
}

/* `what`: the frontend's port, and in the lower 8 bits the reason. Five arguments, no more. */
static __noinline int send_loss(struct __sk_buff *skb, __u32 endpoint,
				const struct flow_tuple *flow, const struct address *frontend,
				__u32 what)
{
	const struct watching *asked = watched(WATCH_LOSSES);
	struct event *event;

	if (!asked || !is_asked_for(asked, endpoint, flow))
		return 0;
	event = new_event(skb, endpoint, asked->per_second);
	if (!event)
		return 0;
	event->happening = HAPPENED_LOSS;
	event->reason = what;
	if (flow)
		event->flow = *flow;
	name_frontend(event, frontend, what);
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP); /* who reads looks by itself */
	return 0;
}

/* `what`: as above, with what happened. */
static __noinline int send_flow(struct __sk_buff *skb, __u32 endpoint,
				const struct flow_tuple *flow, const struct address *frontend,
				__u32 what)
{
	const struct watching *asked = watched(WATCH_FLOWS);
	struct event *event;

	if (!asked || !is_asked_for(asked, endpoint, flow) || !is_sampled(flow, asked->one_in))
		return 0;
	event = new_event(skb, endpoint, asked->per_second);
	if (!event)
		return 0;
	event->happening = what;
	event->flow = *flow;
	name_frontend(event, frontend, what);
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP); /* who reads looks by itself */
	return 0;
}

/*
 * A packet goes no further. `flow` is what was read of it, or NULL; `frontend` the service's it is
 * for, or NULL. Endpoint 0: nobody's.
 */
static __always_inline void tell_loss(struct __sk_buff *skb, __u32 endpoint,
				      const struct flow_tuple *flow, const struct address *frontend,
				      __be16 frontend_port, enum loss reason)
{
	if (!IS_TELLING)
		return;
	count_loss(endpoint, reason, skb->len);
	send_loss(skb, endpoint, flow, frontend, frontend_port << 8 | reason);
}

/* Something happened to a connection. `frontend` is the service's it is for, or NULL. */
static __always_inline void tell_flow(struct __sk_buff *skb, __u32 endpoint,
				      const struct flow_tuple *flow, const struct address *frontend,
				      __be16 frontend_port, enum happening happening)
{
	if (IS_TELLING && watched(WATCH_FLOWS))
		send_flow(skb, endpoint, flow, frontend, frontend_port << 8 | happening);
}

#endif
