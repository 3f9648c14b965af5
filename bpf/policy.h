/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * policy.h - may this connection be: what the policies of one of its ends say
 *
 * Reads: policy_*, locals.  Oracle: policy/evaluate.py, policy/bpf/paper.py; tests/bpf feeds both.
 *
 *   endpoint ─sides─► rule set ─┐
 *   other end ─hosts, nets─► class ─verdicts─► protocols, set of ports ─pages─► yes or no
 *
 * Every packet is judged, answers as what their connection's opener sent (docs/decisions/0016).
 * What changes together changes by one number, `policy_generation`, which a packet reads once: so
 * it meets the policies from before a change, or those after it, never some of each.
 */
#ifndef TERWAY_POLICY_H
#define TERWAY_POLICY_H

#include "passage.h"
#include "tables.h"

#define POLICY_SIDES_MAX    1024    /* as many as `endpoints` */
#define POLICY_HOSTS_MAX    262144  /* two addresses of each pod that some policy here names */
#define POLICY_NETS_MAX     131072  /* prefixes; an exchange has old and new beside each other */
#define POLICY_VERDICTS_MAX 1048576 /* rule sets here by the classes that each names, twice */
#define POLICY_PAGES_MAX    131072

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} policy_generation SEC(".maps");

/* By endpoint. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct policy_sides);
	__uint(max_entries, POLICY_SIDES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_sides SEC(".maps");

/* The class of an address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address_of);
	__type(value, struct policy_turn);
	__uint(max_entries, POLICY_HOSTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_hosts SEC(".maps");

/* Which of the nets in `policy_nets` count. A hash, though it has one entry: those of an array are
 * overwritten, those of a hash exchanged as one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct policy_turn);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_nets_turn SEC(".maps");

/* The class of addresses that are no hosts of their own. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct policy_net);
	__type(value, __u32);
	__uint(max_entries, POLICY_NETS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_nets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct policy_pair);
	__type(value, __u32);
	__uint(max_entries, POLICY_VERDICTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct policy_page_of);
	__type(value, struct policy_page);
	__uint(max_entries, POLICY_PAGES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_ports SEC(".maps");

/* What is asked about a connection, at one of its ends. */
struct question {
	struct address other; /* the other end's */
	__u32 family;
	__u32 generation;
	__u32 rule_set;
	__u16 port; /* the destination's, of what the opener sends; host byte order */
	__u8 protocol;
	__u8 zero;
};

static __always_inline __u32 turned(const struct policy_turn *turn, __u32 generation)
{
	return generation >= turn->since ? turn->after : turn->before;
}

static __always_inline __u32 class_by_net(const struct question *q)
{
	const __u32 only = 0;
	const struct policy_turn *turn = bpf_map_lookup_elem(&policy_nets_turn, &only);
	struct policy_net key = {.prefixlen = 64 + 128, .family = q->family, .address = q->other};
	const __u32 *found;

	if (!turn)
		return CLASS_NOBODY;
	key.nets = turned(turn, q->generation);
	found = key.nets ? bpf_map_lookup_elem(&policy_nets, &key) : NULL;
	return found ? *found : CLASS_NOBODY;
}

static __always_inline __u32 class_of(const struct question *q)
{
	struct address_of key = {.address = q->other, .family = q->family};
	const struct policy_turn *host = bpf_map_lookup_elem(&policy_hosts, &key);
	__u32 class_id = host ? turned(host, q->generation) : CLASS_NONE;

	return class_id == CLASS_NONE ? class_by_net(q) : class_id;
}

/* What the rule set allows to the class. A rule set without entries is none, and allows nothing. */
static __always_inline __u32 verdict_of(__u32 rule_set, __u32 class_id)
{
	struct policy_pair key = {.rule_set = rule_set, .class_id = class_id};
	const __u32 *found = bpf_map_lookup_elem(&policy_verdicts, &key);

	if (!found && class_id != CLASS_NOBODY) {
		key.class_id = CLASS_NOBODY;
		found = bpf_map_lookup_elem(&policy_verdicts, &key);
	}
	return found ? *found : 0;
}

static __always_inline bool is_on_page(__u32 ports, __u8 protocol, __u16 port)
{
	struct policy_page_of key = {.ports = ports, .protocol = protocol, .upper = port >> 8};
	const struct policy_page *page = bpf_map_lookup_elem(&policy_ports, &key);

	return page && page->bits[(port & 0xff) >> 5] & 1U << (port & 0x1f);
}

static __always_inline bool is_among(__u32 verdict, __u8 protocol, __u16 port)
{
	__u32 whole;

	switch (protocol) {
	case IPPROTO_TCP:
		whole = PORTS_TCP;
		break;
	case IPPROTO_UDP:
		whole = PORTS_UDP;
		break;
	case IPPROTO_SCTP:
		whole = PORTS_SCTP;
		break;
	default:
		return verdict & PORTS_OTHER;
	}
	if (verdict & whole)
		return true;
	return verdict & PORTS_SET && is_on_page(verdict & PORTS_SET, protocol, port);
}

/* Does the rule set allow it? */
SUBPROGRAM bool is_allowed(const struct question *q)
{
	return is_among(verdict_of(q->rule_set, class_of(q)), q->protocol, q->port);
}

/* Read once, for both ends of a packet between two pods of the node. */
static __always_inline __u32 generation_of(struct passage *at)
{
	const __u32 only = 0;
	const __u32 *now;

	if (!at->generation) {
		now = bpf_map_lookup_elem(&policy_generation, &only);
		at->generation = now ? *now : 0;
	}
	return at->generation;
}

/* Return NULL where nothing restricts the endpoint. */
static __always_inline const struct sides *sides_of(const struct passage *at, __u32 generation)
{
	const struct policy_sides *found = bpf_map_lookup_elem(&policy_sides, &at->endpoint);

	if (!found)
		return NULL;
	return generation >= found->since ? &found->after : &found->before;
}

/*
 * Neither opens a connection nor belongs to one. Who lets it pass lets forged answers pass; and who
 * remembers it has a pod say of a connection that it opened it.
 */
static __always_inline bool is_stray(const struct passage *at)
{
	const __u8 opening = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK;

	if (at->standing != STANDING_NEW)
		return false;
	return is_icmp_error(&at->p) ||
	       (at->p.protocol == IPPROTO_TCP && (at->p.tcp_flags & opening) != TCP_SYN);
}

static __always_inline bool restricts(const struct sides *sides)
{
	return sides->ingress | sides->egress | sides->own_node | sides->itself;
}

static __always_inline bool is_of_node(const struct passage *at, const struct address *other)
{
	return local_of(other, at->opened.family) == LOCAL_NODE;
}

static __always_inline enum loss ask(const struct passage *at, __u32 rule_set,
				     const struct address *other, enum loss denied)
{
	struct question q = {
		.other = *other,
		.family = at->opened.family,
		.generation = at->generation,
		.rule_set = rule_set,
		.port = bpf_ntohs(at->opened.destination_port),
		.protocol = at->opened.protocol,
	};

	return !rule_set || is_allowed(&q) ? LOSS_NONE : denied;
}

/* Whether what the pod sends to the node's stack gets there: not from one that has no second leg.
 */
static __always_inline bool leads_to_stack(__u32 number)
{
	const struct endpoint *pod = endpoint_of(number);

	return pod && (pod->kind != ENDPOINT_EXCLUSIVE || pod->leg);
}

/* Who asks for a service that the node's stack leads to its endpoint is judged behind that, where
 * the real other end is known: by the tables there (agent/policy/side_by_side.py).
 */
static __always_inline bool is_judged_by_stack(const struct passage *at)
{
	const struct settings *node = node_settings();

	return node && !(node->flags & SETTING_SERVICES) &&
	       is_for_host_stack(&at->opened.destination, at->opened.family) &&
	       leads_to_stack(at->endpoint);
}

/*
 * The endpoint is who opened. To its own node, and to itself by way of a service, NetworkPolicy
 * never comes between: `own_node` is what is left of the policies without it. Where nothing is
 * left, only who is denied is asked whether it is that.
 */
static __always_inline enum loss judge_opener(const struct passage *at, const struct sides *sides)
{
	const struct address *other = &at->opened.destination;
	enum loss lost;

	if (!sides->egress || is_judged_by_stack(at))
		return LOSS_NONE;
	if (at->flow.flags & FLOW_HAIRPIN || (sides->own_node && is_of_node(at, other)))
		return ask(at, sides->own_node, other, LOSS_POLICY_EGRESS);
	lost = ask(at, sides->egress, other, LOSS_POLICY_EGRESS);
	return lost && !sides->own_node && is_of_node(at, other) ? LOSS_NONE : lost;
}

/* The endpoint opens to what is the node's own, whatever its address: `own_node` alone is asked. */
static __always_inline enum loss judge_to_node(struct passage *at)
{
	const struct sides *sides = sides_of(at, generation_of(at));

	return sides ? ask(at, sides->own_node, &at->opened.destination, LOSS_POLICY_EGRESS)
		     : LOSS_NONE;
}

/* The endpoint is whom somebody opened to. Its own node is always let in. */
static __always_inline enum loss judge_opened(const struct passage *at, const struct sides *sides)
{
	const struct address *other = &at->opened.source;
	enum loss lost;

	/* What a pod gets from itself has the service's address as its source. */
	if (at->flow.flags & FLOW_HAIRPIN)
		return ask(at, sides->itself, &at->opened.destination, LOSS_POLICY_INGRESS);
	lost = ask(at, sides->ingress, other, LOSS_POLICY_INGRESS);
	return lost && is_of_node(at, other) ? LOSS_NONE : lost;
}

/* Judge a packet that the endpoint sends, or (`is_in`) gets. Its connection is known by now. */
SUBPROGRAM enum loss judge(struct passage *at, bool is_in)
{
	/* First of all: entries that are found after it are of this generation, or know it. */
	__u32 generation = generation_of(at);
	const struct sides *sides = sides_of(at, generation);
	bool is_opener = (at->standing == STANDING_BACK) == is_in;
	const struct address *other = is_opener ? &at->opened.destination : &at->opened.source;

	if (!sides || !restricts(sides) || at->standing == STANDING_ERROR)
		return LOSS_NONE;
	if (is_stray(at))
		return is_of_node(at, other) ? LOSS_NONE : LOSS_UNKNOWN_FLOW;
	return is_opener ? judge_opener(at, sides) : judge_opened(at, sides);
}

#endif
