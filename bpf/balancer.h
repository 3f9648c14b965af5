/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * balancer.h - forwards what comes to a load balancer's address, and gives the answers its source
 *
 *   client ──► VIP:port ══► backend:port of the listener         the client's source stays
 *   client ◄── VIP:port ◄══ backend:port
 *
 * Oracle: src/terway/lab/vpc/oracle/balancer.py. TCP and UDP; a TCP connection stays at its backend
 * for as long as it lives, unless its listener cuts those whose backend is listed no longer.
 */
#ifndef TERWAY_BALANCER_H
#define TERWAY_BALANCER_H

#include <linux/bpf.h>
#include <stddef.h>

#include "fabric.h"
#include "flows.h"
#include "maps.h"
#include "packet.h"
#include "toobig.h"
#include "choose_backend.h"
#include "transit.h"
#include "renumber.h"
#include "reset.h"

/* Whether a packet answers a balanced connection; `to` is then the source that it must show. */
bool find_answer(const struct packet *p, __u32 vpc, struct connection *to)
{
	struct connection_key key = {};
	const struct connection *held;

	if (!p || !to)
		return false;
	make_connection_key(&key, p, vpc);
	held = find_connection(&key);
	if (!held || !held->is_answer)
		return false;
	*to = *held;
	return true;
}

/* A connection to the backend itself, from where a balanced one had come: its answers are its own.
 */
static __always_inline void forget_answers(const struct packet *p, __u32 vpc)
{
	struct connection_key key = {};
	struct connection to = {.address = p->destination, .port = p->destination_port};
	struct connection_key answered = {};

	make_connection_key(&key, p, vpc);
	make_answer_key(&answered, &key, &to);
	bpf_map_delete_elem(&connections, &answered);
}

/* The port that has the backend's address. */
static __always_inline enum drop_reason find_backend(struct passage *way, const struct packet *p,
						     const struct connection *to)
{
	const struct owner *owner = find_owner(way->in.port->vpc, p->family, &to->address);

	if (!owner || owner->kind != OWNER_PORT)
		return DROP_NO_BACKEND;
	if (owner->port == way->in.number)
		return DROP_HAIRPIN;
	way->out_number = owner->port;
	way->out = bpf_map_lookup_elem(&ports, &way->out_number);
	return way->out ? DROP_NONE : DROP_NO_BACKEND;
}

/* From a client to a backend, past the backend's groups: a balancer is the provider's own. */
static __always_inline int cross_to_backend(struct __sk_buff *skb, struct passage *way,
					    const struct packet *p)
{
	struct view egress = {way->in.number, EGRESS, 0};
	struct connection to = {};
	enum drop_reason reason = is_balanced(p) ? DROP_NONE : DROP_NO_LISTENER;

	if (!reason)
		reason = pass_groups(skb, p, &egress);
	if (!reason)
		reason = choose_backend(p, way->in.port->vpc, &to);
	if (!reason)
		reason = find_backend(way, p, &to);
	if (reason == DROP_CUT)
		return drop_cut(skb, p, way->in.number);
	if (reason)
		return drop(way->in.number, reason);
	if (wire_bytes(skb, p) > path_mtu(way))
		return drop_too_big(skb, p, way->in.number, path_mtu(way));
	if (translate(skb, p, &to))
		return drop(way->in.number, DROP_KERNEL);
	return deliver(skb, way);
}

/* From a backend back to the client, who sees the balancer. */
static __always_inline int cross_to_client(struct __sk_buff *skb, struct passage *way,
					   const struct packet *p, const struct connection *to)
{
	struct view ingress = {way->out_number, INGRESS, 0};
	struct packet seen = *p; /* as the client does */
	enum drop_reason reason;

	if (wire_bytes(skb, p) > path_mtu(way))
		return drop_too_big(skb, p, way->in.number, path_mtu(way));
	seen.source = to->address;
	seen.source_port = to->port;
	reason = pass_groups(skb, &seen, &ingress);
	if (reason)
		return drop(way->out_number, reason);
	if (translate(skb, p, to))
		return drop(way->in.number, DROP_KERNEL);
	return deliver(skb, way);
}

/* What an ICMP error about a balanced packet quotes, false if it is about anything else. */
static __always_inline bool find_quoted(struct __sk_buff *skb, const struct packet *error,
					__u32 vpc, struct packet *quoted, struct connection *to)
{
	struct packet back = {};

	quoted->is_quoted = true;
	quoted->limit = error->end;
	if (parse_packet(skb, error->l4 + sizeof(struct icmp_start), error->family, quoted) ||
	    quoted->is_later || !is_balanced(quoted))
		return false;
	back.family = quoted->family;
	back.protocol = quoted->protocol;
	back.source = quoted->destination;
	back.source_port = quoted->destination_port;
	back.destination = quoted->source;
	back.destination_port = quoted->source_port;
	return find_answer(&back, vpc, to);
}

/*
 * Have a backend's ICMP error about what was forwarded to it quote what the client had sent. Above
 * zero when it does now, below when the kernel refused. A function, for its room on the stack.
 */
static __attribute__((noinline)) int mend_error(struct __sk_buff *skb, const struct packet *error,
						__u32 vpc)
{
	struct packet quoted = {};
	struct connection to = {};

	if (!error || !find_quoted(skb, error, vpc, &quoted, &to))
		return 0;
	return translate_quoted(skb, error, &quoted, &to) ? -1 : 1;
}

/* To a client, past the backend's groups. */
static __always_inline int cross_error(struct __sk_buff *skb, const struct passage *way,
				       const struct packet *error)
{
	struct view ingress = {way->out_number, INGRESS, way->sender};
	enum drop_reason reason = pass_groups(skb, error, &ingress);

	return reason ? drop(way->out_number, reason) : deliver(skb, way);
}

/*
 * What a backend sends: its answers show the balancer, and its errors what the client had sent.
 * Negative is what is its own.
 */
static __always_inline int cross_from_backend(struct __sk_buff *skb, struct passage *way,
					      const struct packet *p)
{
	struct connection to = {};
	int mended;

	if (is_balanced(p) && find_answer(p, way->in.port->vpc, &to))
		return cross_to_client(skb, way, p, &to);
	if (!is_icmp_error(p) || wire_bytes(skb, p) > path_mtu(way))
		return -1;
	mended = mend_error(skb, p, way->in.port->vpc);
	if (mended < 0)
		return drop(way->in.number, DROP_KERNEL);
	return mended ? cross_error(skb, way, p) : -1;
}

#endif
