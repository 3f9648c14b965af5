/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * entry.h - what passes the uplink and is for a service: who asks from outside, and who is answered
 *
 * Oracle: tests/bpf/test_entry.py makes every packet from nothing (tests/support/whole_packets.py).
 *
 *   in:   client ─► frontend       leads to    client ─► backend here
 *                                              node's relay port ─► backend elsewhere
 *         backend ─► relay port    turned to   frontend ─► client, out by the uplink again
 *   out:  process here ─► client   turned to   frontend ─► client
 *
 * What pods answer is turned back where it leaves them (`leave`), and goes out by the uplink: the
 * VPC takes the frontend's address from no other ENI. Where sockets of the node cannot be helped
 * (SETTING_NODE_OUT), what its processes send to services is led to backends here, too.
 */
#ifndef TERWAY_ENTRY_H
#define TERWAY_ENTRY_H

#include "deliver.h"
#include "translate.h"

/* Whether the packet's connection is one that is translated where it enters the node. */
static __always_inline bool is_at_node(const struct passage *at)
{
	return at->flow.flags & FLOW_AT_NODE;
}

static __always_inline bool is_answer_at_node(const struct passage *at)
{
	return is_at_node(at) && (at->standing == STANDING_BACK || at->standing == STANDING_ERROR);
}

/*
 * Lead what comes by the uplink to where it belongs: `is_at_node` says whether it is ours.
 *
 * A new connection came by the uplink: what answers must leave by it.
 */
SUBPROGRAM enum loss come_in(struct __sk_buff *skb, struct passage *at)
{
	enum loss lost;

	if (!at)
		return LOSS_KERNEL;
	lost = serve(skb, at, SCOPE_OUTSIDE);
	if (lost)
		return lost;
	if (is_answer_at_node(at))
		return answer(skb, at);
	if (is_at_node(at) && at->standing == STANDING_NEW)
		at->flow.flags |= FLOW_BY_UPLINK;
	return LOSS_NONE;
}

/*
 * Nobody listens at a node port, so the node's stack refuses what it gets for one without
 * endpoints. Not where traffic stays on its node: a load balancer that does not know yet asks again
 * elsewhere.
 */
static __always_inline bool is_refused_by_stack(const struct passage *at, enum loss lost)
{
	const struct frontend *asked = lost == LOSS_NO_BACKEND ? find_frontend(&at->sent) : NULL;

	return asked && !(asked->flags & FRONTEND_LOCAL_OUTSIDE) &&
	       local_of(&at->p.destination, at->p.family) == LOCAL_NODE;
}

static __always_inline bool is_from_node(const struct passage *at)
{
	return local_of(&at->p.source, at->p.family) == LOCAL_NODE;
}

/* Turn back what processes of the node answer; `is_serving`: lead also what they ask. */
SUBPROGRAM enum loss go_out(struct __sk_buff *skb, struct passage *at, bool is_serving)
{
	enum loss lost = LOSS_NONE;

	if (!at)
		return LOSS_KERNEL;
	if (is_serving && is_from_node(at))
		lost = serve(skb, at, SCOPE_NODE);
	else
		find_connection(at);
	if (!lost && is_answer_at_node(at))
		lost = answer(skb, at);
	return lost;
}

#endif
