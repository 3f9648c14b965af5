/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * translate.h - leads what a client sends to its backend, and what comes back to what it asked
 *
 *   serve    client ─► frontend     becomes    client (or another source) ─► backend
 *   answer   backend ─► client      becomes    frontend ─► client
 *
 * ICMP errors go along, each with what it quotes. A later fragment has no ports to change.
 */
#ifndef TERWAY_TRANSLATE_H
#define TERWAY_TRANSLATE_H

#include "choose.h"
#include "passage.h"
#include "rewrite.h"
#include "track.h"

/* ---- back -------------------------------------------------------------------------------- */

static __always_inline bool is_translated(const struct flow_state *flow)
{
	return flow->frontend_port || flow->flags & FLOW_SOURCE;
}

/* The connection as its client sends it. */
static __always_inline void set_asked(struct flow_tuple *asked, const struct passage *at)
{
	*asked = at->opened;
	if (at->flow.frontend_port) {
		asked->destination = at->flow.frontend;
		asked->destination_port = at->flow.frontend_port;
	}
	if (at->flow.flags & FLOW_SOURCE) {
		asked->source = at->flow.client;
		asked->source_port = at->flow.client_port;
	}
}

/* An ICMP error about what the client sent, from the backend or from a router on the way. */
SUBPROGRAM enum loss answer_error(struct __sk_buff *skb, struct passage *at)
{
	struct flow_tuple asked, ends;
	enum loss lost;

	if (!at)
		return LOSS_KERNEL;
	if (!is_same(&at->sent.source, &at->opened.source) ||
	    at->sent.source_port != at->opened.source_port)
		return LOSS_NONE; /* it is the backend that it goes to */
	set_asked(&asked, at);
	describe(&ends, &at->p);
	ends.destination = asked.source;
	if (is_same(&ends.source, &at->opened.destination) || at->flow.flags & FLOW_AT_NODE)
		ends.source = asked.destination;
	lost = rewrite_quoted(skb, &at->p, &at->quoted, &asked);
	if (!lost)
		lost = rewrite(skb, &at->p, &ends);
	at->sent = asked;
	return lost;
}

/* What goes to the client of a translated connection: give it the ends that the client knows. */
SUBPROGRAM enum loss answer(struct __sk_buff *skb, struct passage *at)
{
	struct flow_tuple asked, back;

	if (!at || !is_translated(&at->flow))
		return LOSS_NONE;
	if (at->standing == STANDING_ERROR)
		return answer_error(skb, at);
	if (at->standing != STANDING_BACK)
		return LOSS_NONE;
	set_asked(&asked, at);
	turn_round(&back, &asked);
	at->sent = back;
	return rewrite(skb, &at->p, &back);
}

/* ---- forth ------------------------------------------------------------------------------- */

/* Give the packet the ends of `opened`; its connection is that one, or begins with `flow`. */
SUBPROGRAM enum loss send_to_backend(struct __sk_buff *skb, struct passage *at, __u32 scope)
{
	const struct flow_state *known;
	__u32 backend;
	enum loss lost;
	bool is_own;

	if (!at)
		return LOSS_KERNEL;
	backend = at->flow.backend;
	lost = rewrite(skb, &at->p, &at->opened);
	if (lost)
		return lost;
	at->sent = at->opened;
	at->flow.flags |= scope == SCOPE_INSIDE ? FLOW_AT_CLIENT : FLOW_AT_NODE;
	at->standing = STANDING_NEW;
	known = flow_between(at, &is_own);
	if (known && is_own) {
		at->standing = STANDING_FORTH;
		at->flow = *known;
		at->flow.backend = backend;
	}
	return LOSS_NONE;
}

/* A VPC takes no router's address from this node: what is relayed has the node's. */
static __always_inline bool is_from_relay(const struct flow_state *flow)
{
	return flow->flags & FLOW_SOURCE && !(flow->flags & FLOW_HAIRPIN);
}

/* An ICMP error of the client, about an answer that it got from the service. */
SUBPROGRAM enum loss serve_error(struct __sk_buff *skb, struct passage *at)
{
	struct flow_tuple quoted, ends;
	enum loss lost;

	if (!at)
		return LOSS_KERNEL;
	quoted = at->sent;
	turn_round(&ends, &quoted);
	at->sent = ends;
	if (recall(at, &ends) != RECALLED_BACKEND) {
		at->sent = quoted;
		__builtin_memset(&at->flow, 0, sizeof(at->flow));
		return find_connection(at);
	}
	describe(&ends, &at->p);
	if (is_same(&ends.source, &at->sent.source) || is_from_relay(&at->flow))
		ends.source = at->opened.source;
	if (is_same(&ends.destination, &at->sent.destination))
		ends.destination = at->opened.destination;
	turn_round(&at->sent, &at->opened);
	lost = rewrite_quoted(skb, &at->p, &at->quoted, &at->sent);
	if (!lost)
		lost = rewrite(skb, &at->p, &ends);
	if (!lost)
		find_connection(at);
	return lost;
}

static __always_inline bool is_for_outside(const struct frontend *asked)
{
	return asked->flags & (FRONTEND_EXTERNAL | FRONTEND_HOST_PORT);
}

SUBPROGRAM enum loss serve_new(struct __sk_buff *skb, struct passage *at, __u32 scope)
{
	const struct frontend *asked;
	enum loss lost;

	if (!at)
		return LOSS_KERNEL;
	__builtin_memset(&at->flow, 0, sizeof(at->flow));
	find_connection(at);
	/* What a pod answers itself has the service as its destination: nobody else turns it. */
	if (at->standing == STANDING_BACK && at->flow.flags & FLOW_HAIRPIN)
		return answer(skb, at);
	if (at->standing != STANDING_NEW)
		return LOSS_NONE;
	asked = find_frontend(&at->sent);
	if (!asked || (scope == SCOPE_OUTSIDE && !is_for_outside(asked)))
		return LOSS_NONE;
	lost = choose(at, asked, scope);
	return lost ? lost : send_to_backend(skb, at, scope);
}

/*
 * What a client sends: find its connection, and lead it to a backend if it is for a service.
 *
 * In the place of `find_connection`: sets `standing`, `opened`, `flow`; `p` and `sent` are then as
 * the packet goes on. An answer is left as it is. Lost: the packet is as it came, see refuse.h.
 */
SUBPROGRAM enum loss serve(struct __sk_buff *skb, struct passage *at, __u32 scope)
{
	enum recalled recalled;

	if (!at)
		return LOSS_KERNEL;
	at->scope = scope;
	if (is_icmp_error(&at->p))
		return serve_error(skb, at);
	recalled = recall(at, &at->sent);
	if (recalled == RECALLED_GONE)
		return LOSS_BACKEND_GONE;
	if (recalled == RECALLED_NOTHING)
		return serve_new(skb, at, scope);
	return send_to_backend(skb, at, scope);
}

#endif
