/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows.h - is this packet part of a flow that an ENI has already accepted
 *
 * Security groups are stateful, and the state is the ENI's: each port a flow crosses remembers
 * it on its own, with "local" for the side of the ENI.
 */
#ifndef TERWAY_FLOWS_H
#define TERWAY_FLOWS_H

#include "fabric.h"
#include "groups.h"
#include "maps.h"
#include "packet.h"

#define SECOND_NS 1000000000ULL
/* Idle times, as the cloud documents them for an ENI (help page "Security group rules";
 * ModifyNetworkInterfaceAttribute, ConnectionTrackingConfiguration, its defaults). */
#define TCP_ESTABLISHED_S 910
#define TCP_CLOSED_S      3
#define OTHER_S           30 /* UDP; and what has no figure: half-open TCP, ICMP, the rest */

enum direction {
	INGRESS, /* to the ENI */
	EGRESS,
};

/* One port's view of one packet. */
struct view {
	__u32 number;
	__u32 direction;
	__u32 remote; /* the port of the ENI that has the remote address, or 0 */
};

static __always_inline void make_flow_key(struct flow_key *key, __u32 number,
					  enum direction direction, const struct packet *p)
{
	bool out = direction == EGRESS;

	key->port = number;
	key->family = p->family;
	key->protocol = p->protocol;
	key->local = out ? p->source : p->destination;
	key->remote = out ? p->destination : p->source;
	key->local_port = out ? p->source_port : p->destination_port;
	key->remote_port = out ? p->destination_port : p->source_port;
}

static __always_inline __u64 idle_limit_ns(const struct flow *flow, __u16 protocol)
{
	__u32 fins = flow->flags & (FLOW_FIN_LOCAL | FLOW_FIN_REMOTE);

	if (protocol != IPPROTO_TCP)
		return OTHER_S * SECOND_NS;
	if ((flow->flags & FLOW_RESET) || fins == (FLOW_FIN_LOCAL | FLOW_FIN_REMOTE))
		return TCP_CLOSED_S * SECOND_NS;
	return (flow->flags & FLOW_REPLIED ? TCP_ESTABLISHED_S : OTHER_S) * SECOND_NS;
}

static __always_inline struct flow *find_flow(const struct flow_key *key)
{
	struct flow *flow = bpf_map_lookup_elem(&flows, key);

	/* No difference: another CPU may see the flow later than our "now". */
	if (!flow || flow->last_seen + idle_limit_ns(flow, key->protocol) < bpf_ktime_get_ns())
		return NULL;
	return flow;
}

/* A connection's first packet asks the rules again, even where an older flow had its ports. */
static __always_inline bool opens_connection(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && !p->is_later &&
	       (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline __u32 flags_after(__u32 flags, enum direction direction,
					 const struct packet *p)
{
	bool by_opener = (direction == EGRESS) == !!(flags & FLOW_OPENED_LOCALLY);

	if (!by_opener)
		flags |= FLOW_REPLIED;
	if (p->protocol != IPPROTO_TCP)
		return flags;
	if (p->tcp_flags & TCP_FIN)
		flags |= direction == EGRESS ? FLOW_FIN_LOCAL : FLOW_FIN_REMOTE;
	if (p->tcp_flags & TCP_RST)
		flags |= FLOW_RESET;
	return flags;
}

/* Writes only what changed: two CPUs that carry one flow must not fight for its cache line. */
static __always_inline void touch_flow(struct flow *flow, enum direction direction,
				       const struct packet *p)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 flags = flags_after(flow->flags, direction, p);

	if (flags != flow->flags)
		flow->flags = flags;
	if (flow->last_seen + SECOND_NS < now)
		flow->last_seen = now;
}

static __always_inline enum drop_reason remember_flow(const struct flow_key *key,
						      const struct view *view,
						      const struct packet *p, __u32 epoch)
{
	struct flow flow = {
		.last_seen = bpf_ktime_get_ns(),
		.peer = view->remote,
		.epoch = epoch,
		.flags = view->direction == EGRESS ? FLOW_OPENED_LOCALLY : 0,
	};

	flow.flags = flags_after(flow.flags, view->direction, p);
	return bpf_map_update_elem(&flows, key, &flow, BPF_ANY) ? DROP_FLOW_TABLE : DROP_NONE;
}

/* Remember a flow that no rule has to accept, or that it still goes on from the same peer. */
enum drop_reason keep_flow(const struct packet *p, const struct view *view)
{
	struct flow_key key = {};
	struct flow *flow;

	if (!p || !view)
		return DROP_KERNEL;
	make_flow_key(&key, view->number, view->direction, p);
	flow = find_flow(&key);
	if (!flow || flow->peer != view->remote)
		return remember_flow(&key, view, p, 0);
	touch_flow(flow, view->direction, p);
	return DROP_NONE;
}

static __always_inline void add_groups(struct question *q, __u32 number)
{
	const struct port *remote = bpf_map_lookup_elem(&ports, &number);

	if (!remote)
		return;
#pragma unroll
	for (int i = 0; i < GROUP_WORDS; i++)
		q->peer_groups[i] |= remote->groups[i];
}

/* Whether the port's rules for `direction` accept a flow with this key, opened that way. */
static __always_inline bool ask_rules(const struct flow_key *key, const struct port *port,
				      __u32 remote, enum direction direction)
{
	bool out = direction == EGRESS;
	struct question q = {
		.peer = key->remote,
		.peer_groups = {1 << GROUP_ANYBODY},
		.selector = key->family << 8 | key->protocol,
		.port = bpf_ntohs(out ? key->remote_port : key->local_port),
	};

	add_groups(&q, remote);
	return is_accepted(out ? port->egress_rules : port->ingress_rules, &q);
}

/*
 * Changed rules reach established flows too: the help page promises that sessions stay only
 * where the new rules say the same. So each flow asks again, once, when its port's epoch moved.
 */
static __always_inline bool is_still_accepted(struct flow *flow, const struct flow_key *key,
					      const struct port *port, __u32 remote)
{
	enum direction opened = flow->flags & FLOW_OPENED_LOCALLY ? EGRESS : INGRESS;

	if (flow->epoch == port->epoch)
		return true;
	if (!ask_rules(key, port, remote, opened))
		return false;
	flow->epoch = port->epoch;
	return true;
}

/* Whether the packet that an ICMP error quotes belongs to a flow of this port. */
static __always_inline bool quotes_known_flow(struct __sk_buff *skb, const struct packet *error,
					      const struct view *view)
{
	/* The error travels against the packet it quotes. */
	enum direction quoted_direction = view->direction == EGRESS ? INGRESS : EGRESS;
	struct packet *quoted = blank_packet(PACKET_QUOTED, error->end);
	struct flow_key key = {};

	if (parse_packet(skb, error->l4 + sizeof(struct icmp_start), error->family, quoted))
		return false;
	make_flow_key(&key, view->number, quoted_direction, quoted);
	return find_flow(&key) != NULL;
}

/* Let the packet pass the port's security groups, or say why not. */
static __attribute__((noinline)) enum drop_reason
pass_groups(struct __sk_buff *skb, const struct packet *p, const struct view *view)
{
	struct flow_key key = {};
	const struct port *port;
	struct flow *flow;

	if (!p || !view)
		return DROP_KERNEL;
	port = bpf_map_lookup_elem(&ports, &view->number);
	if (!port)
		return DROP_UNKNOWN_PORT;
	make_flow_key(&key, view->number, view->direction, p);
	flow = opens_connection(p) ? NULL : find_flow(&key);
	if (flow && is_still_accepted(flow, &key, port, view->remote)) {
		touch_flow(flow, view->direction, p);
		return DROP_NONE;
	}
	if (is_icmp_error(p) && quotes_known_flow(skb, p, view))
		return DROP_NONE;
	if (!ask_rules(&key, port, view->remote, view->direction))
		return view->direction == EGRESS ? DROP_EGRESS : DROP_INGRESS;
	return remember_flow(&key, view, p, port->epoch);
}

#endif
