/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * track.h - which connection is this packet of, and which side opened it
 *
 * Reads, writes: flows.  Tested through all hooks: tests/bpf/test_quick.py, test_policy_program.py.
 *
 *   no entry of both ends ► NEW        as its opener sends it ► FORTH        turned round ► BACK
 *
 * What is found is copied into the passage, and written back where it has changed: the entry may be
 * evicted meanwhile, and two CPUs that carry one connection must not fight for its cache line.
 */
#ifndef TERWAY_TRACK_H
#define TERWAY_TRACK_H

#include "passage.h"
#include "tell.h"

#define TRACK_NS_PER_S 1000000000ULL

/* Idle limits, in seconds: those of the kernel's own connection tracking (nf_conntrack_*_timeout).
 */
#define TCP_OPENING_S  120
#define TCP_OPEN_S     432000
#define TCP_CLOSING_S  120
#define TCP_RESET_S    10
#define UDP_ASKED_S    30
#define UDP_ANSWERED_S 120
#define ICMP_S         30
#define OTHER_S        600

static __always_inline bool opens_tcp(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && !p->is_later &&
	       (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline bool has_ended(__u32 flags)
{
	const __u32 fins = FLOW_OPENER_FIN | FLOW_OTHER_FIN;

	return flags & FLOW_RST || (flags & fins) == fins;
}

static __always_inline __u64 idle_limit_s(__u32 flags, __u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_SCTP:
		if (flags & FLOW_RST)
			return TCP_RESET_S;
		if (flags & (FLOW_OPENER_FIN | FLOW_OTHER_FIN))
			return TCP_CLOSING_S;
		return flags & FLOW_ANSWERED ? TCP_OPEN_S : TCP_OPENING_S;
	case IPPROTO_UDP:
		return flags & FLOW_ANSWERED ? UDP_ANSWERED_S : UDP_ASKED_S;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ICMP_S;
	default:
		return OTHER_S;
	}
}

/* Is the source of `tuple` the lesser end? Any order will do that both directions agree on. */
static __always_inline bool is_lesser_first(const struct flow_tuple *tuple)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (tuple->source.word[i] != tuple->destination.word[i])
			return tuple->source.word[i] < tuple->destination.word[i];
	}
	return tuple->source_port <= tuple->destination_port;
}

/* Make the key of `flows` for a tuple; return whether that is the tuple turned round. */
static __always_inline bool make_flow_key_of(struct flow_tuple *key, const struct flow_tuple *tuple)
{
	if (is_lesser_first(tuple)) {
		*key = *tuple;
		return false;
	}
	turn_round(key, tuple);
	return true;
}

/* Return the live entry of `key`. No difference of times: another CPU may be ahead of our "now". */
static __always_inline const struct flow_state *live_flow(const struct flow_tuple *key, __u64 now)
{
	const struct flow_state *flow = bpf_map_lookup_elem(&flows, key);

	if (!flow)
		return NULL;
	return flow->seen_ns + idle_limit_s(flow->flags, key->protocol) * TRACK_NS_PER_S < now
		       ? NULL
		       : flow;
}

/* Return the endpoint that has the address now; 0: it is not a pod's of this node. */
static __always_inline __u32 endpoint_at(const struct address *address, __u32 family)
{
	__u32 number = local_of(address, family);

	return number == LOCAL_NODE ? 0 : number;
}

/*
 * Find the connection of `at->sent`: sets `standing`, `opened` and `flow`.
 *
 * A SYN that meets an ended connection opens a new one: it need not be the other side's, nor for
 * the service that the last one was for. What is remembered of somebody who had one of the
 * addresses before is of another connection.
 */
SUBPROGRAM int find_connection(struct passage *at)
{
	struct flow_tuple key = {};
	bool is_turned = make_flow_key_of(&key, &at->sent);
	const struct flow_state *flow = live_flow(&key, at->now_ns);
	__u32 sender = endpoint_at(&at->sent.source, at->sent.family);
	__u32 receiver = endpoint_at(&at->sent.destination, at->sent.family);
	bool is_forth;

	at->opened = at->sent;
	at->standing = STANDING_NEW;
	at->flow.opener = sender;
	at->flow.other = receiver;
	if (!flow)
		return 0;
	is_forth = is_turned == !!(flow->flags & FLOW_SECOND);
	if (flow->opener != (is_forth ? sender : receiver) ||
	    flow->other != (is_forth ? receiver : sender) ||
	    (opens_tcp(&at->p) && has_ended(flow->flags)))
		return 0;
	at->flow = *flow;
	at->standing = is_forth ? STANDING_FORTH : STANDING_BACK;
	if (!is_forth)
		turn_round(&at->opened, &at->sent);
	if (is_icmp_error(&at->p))
		at->standing = STANDING_ERROR;
	return 0;
}

static __always_inline __u32 flags_after(__u32 flags, const struct passage *at)
{
	const struct packet *p = &at->p;
	bool is_back = at->standing == STANDING_BACK;

	if (is_back)
		flags |= FLOW_ANSWERED;
	if (p->protocol != IPPROTO_TCP || p->is_later)
		return flags;
	if (opens_tcp(p) && !is_back && has_ended(flags))
		flags &= ~(FLOW_OPENER_FIN | FLOW_OTHER_FIN | FLOW_RST | FLOW_ANSWERED);
	if (p->tcp_flags & TCP_FIN)
		flags |= is_back ? FLOW_OTHER_FIN : FLOW_OPENER_FIN;
	if (p->tcp_flags & TCP_RST)
		flags |= FLOW_RST;
	return flags;
}

static __always_inline void tell_connection(struct __sk_buff *skb, const struct passage *at,
					    enum happening happening)
{
	const struct address *frontend = at->flow.frontend_port ? &at->flow.frontend : NULL;

	tell_flow(skb, at->endpoint, &at->opened, frontend, at->flow.frontend_port, happening);
}

/*
 * Remember what this packet makes of its connection. To be called once it is sure to go on.
 *
 * Only what changed is written, the time once in a second.
 */
SUBPROGRAM enum loss remember(struct __sk_buff *skb, struct passage *at)
{
	__u32 before = at->flow.flags;
	struct flow_tuple key = {};
	__u32 flags;

	if (at->standing == STANDING_ERROR || is_icmp_error(&at->p))
		return LOSS_NONE;
	flags = flags_after(before, at);
	if (at->standing != STANDING_NEW && !at->is_changed && flags == before &&
	    at->flow.seen_ns + TRACK_NS_PER_S > at->now_ns)
		return LOSS_NONE;
	flags = make_flow_key_of(&key, &at->opened) ? flags | FLOW_SECOND : flags & ~FLOW_SECOND;
	at->flow.flags = flags;
	at->flow.seen_ns = at->now_ns;
	if (bpf_map_update_elem(&flows, &key, &at->flow, BPF_ANY))
		return LOSS_TABLE_FULL;
	if (at->standing == STANDING_NEW)
		tell_connection(skb, at, HAPPENED_OPEN);
	else if (has_ended(flags) && !has_ended(before))
		tell_connection(skb, at, HAPPENED_CLOSE);
	return LOSS_NONE;
}

#endif
