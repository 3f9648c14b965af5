/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * choose.h - is this packet for a service, and which backend does its connection have
 *
 * Reads: frontends, sets, slots, backends, source_ranges, locals, flows.
 * Writes: choices, affinities.  Oracle: tests/support/choice_oracle.py.
 *
 *   choices ─known, and its backend there─► that one
 *      └─► frontends ─► allowed to ask? ─► affinity ─► rendezvous or Maglev ─► free? ─► that one
 *
 * In: `sent`.  Out: `opened`, as the packet is to go on, and `flow`, what is to be remembered of
 * it.
 */
#ifndef TERWAY_CHOOSE_H
#define TERWAY_CHOOSE_H

#include "passage.h"
#include "relay.h"
#include "service.h"
#include "track.h"

#define BACKENDS_TRIED 3 /* where others have the connection that it would become */
#define PORTS_TRIED    8 /* and then with another source port each */
#define FIRST_PORT     32768
#define PORTS          28232 /* up to 60999: net.ipv4.ip_local_port_range */
#define PORT_STEP      7919  /* no divisor of PORTS: each try is another */

/* Who is looked for, and what was found on the way. */
struct search {
	__u32 service;
	__u32 set;
	__u32 affinity_s;
	__u32 flags; /* FRONTEND_* */
	__u32 hash;
};

/* ---- the hash ---------------------------------------------------------------------------- */

/* Finalizer of MurmurHash3: each bit of the input changes half of the output. */
static __always_inline __u32 mixed(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline __u32 hash_of(const struct flow_tuple *tuple)
{
	__u32 hash = tuple->protocol;

#pragma unroll
	for (int i = 0; i < 4; i++)
		hash = mixed(hash ^ bpf_ntohl(tuple->source.word[i]));
#pragma unroll
	for (int i = 0; i < 4; i++)
		hash = mixed(hash ^ bpf_ntohl(tuple->destination.word[i]));
	return mixed(hash ^
		     (bpf_ntohs(tuple->source_port) << 16 | bpf_ntohs(tuple->destination_port)));
}

/* ---- the frontend ------------------------------------------------------------------------ */

static __always_inline const struct frontend *find_frontend(const struct flow_tuple *sent)
{
	struct frontend_key key = {
		.address = sent->destination,
		.port = sent->destination_port,
		.protocol = sent->protocol,
		.family = sent->family,
	};
	const struct frontend *found = bpf_map_lookup_elem(&frontends, &key);

	if (found || local_of(&sent->destination, sent->family) != LOCAL_NODE)
		return found;
	__builtin_memset(&key.address, 0, sizeof(key.address));
	return bpf_map_lookup_elem(&frontends, &key);
}

static __always_inline bool may_ask(const struct frontend *asked, const struct flow_tuple *sent)
{
	struct source_range range = {
		.prefixlen = 64 + 128,
		.service = asked->service,
		.family = sent->family,
		.address = sent->source,
	};

	return !(asked->flags & FRONTEND_SOURCE_RANGES) ||
	       bpf_map_lookup_elem(&source_ranges, &range);
}

/* ---- one of a set ------------------------------------------------------------------------ */

/* The backend with the highest hash: one that comes or goes moves only its own connections. */
static __always_inline __u32 highest(const struct backend_set *set, __u32 hash)
{
	__u32 best = 0, best_weight = 0;

	for (int i = 0; i < SET_INLINE; i++) {
		__u32 weight = mixed(hash ^ mixed(set->backend[i]));

		if (i < (int)set->count && (!best || weight > best_weight)) {
			best = set->backend[i];
			best_weight = weight;
		}
	}
	return best;
}

static __always_inline __u32 of_table(const struct backend_set *set, __u32 hash)
{
	__u32 place = set->table + (set->size ? hash % set->size : 0);
	const __u32 *slot = bpf_map_lookup_elem(&slots, &place);

	return slot ? *slot : 0;
}

SUBPROGRAM __u32 one_of_set(__u32 number, __u32 hash)
{
	const struct backend_set *set = bpf_map_lookup_elem(&sets, &number);

	if (!set || !set->count)
		return 0;
	return set->count <= SET_INLINE ? highest(set, hash) : of_table(set, hash);
}

/* A set with a table has so many that it is not looked through. */
static __always_inline bool is_in_set(__u32 number, __u32 backend)
{
	const struct backend_set *set = bpf_map_lookup_elem(&sets, &number);
	bool is_in = set && set->count > SET_INLINE;

	for (int i = 0; set && i < SET_INLINE; i++)
		is_in |= i < (int)set->count && set->backend[i] == backend;
	return is_in;
}

/* ---- affinity ---------------------------------------------------------------------------- */

static __always_inline void set_affinity_key(struct affinity_key *key, const struct search *search,
					     const struct flow_tuple *sent)
{
	key->client = sent->source;
	key->family = sent->family;
	key->service = search->service;
}

static __always_inline bool is_at_work(__u32 number)
{
	const struct backend *backend = bpf_map_lookup_elem(&backends, &number);

	return backend && !(backend->flags & BACKEND_TERMINATING);
}

/* The backend that the client had last, if it may have it again; else 0. */
SUBPROGRAM __u32 last_of_client(const struct search *search, const struct passage *at)
{
	struct affinity_key key = {};
	const struct affinity *last;

	if (!search || !at)
		return 0;
	set_affinity_key(&key, search, &at->sent);
	last = bpf_map_lookup_elem(&affinities, &key);
	if (!last || last->seen_ns + search->affinity_s * TRACK_NS_PER_S < at->now_ns ||
	    !is_at_work(last->backend) || !is_in_set(search->set, last->backend))
		return 0;
	return last->backend;
}

static __always_inline void keep_affinity(const struct search *search, const struct passage *at)
{
	struct affinity now = {.seen_ns = at->now_ns, .backend = at->flow.backend};
	struct affinity_key key = {};

	set_affinity_key(&key, search, &at->sent);
	bpf_map_update_elem(&affinities, &key, &now, BPF_ANY);
}

/* ---- what the packet becomes ------------------------------------------------------------- */

/* Who is outside reaches a backend elsewhere by this node only. */
static __always_inline bool is_relayed(const struct passage *at, const struct backend *backend)
{
	return at->scope == SCOPE_OUTSIDE && !local_of(&backend->address, backend->family);
}

/*
 * Write to `opened` and `flow` what the packet becomes with a backend and a source port.
 *
 * A pod that reaches itself gets its packet from the service's address: no stack takes a packet
 * from itself. Returns false where there is no such backend.
 */
static __always_inline bool aim(struct passage *at, __u32 number, __be16 source_port)
{
	const struct backend *backend = bpf_map_lookup_elem(&backends, &number);
	bool is_hairpin;

	if (!backend || backend->family != at->sent.family)
		return false;
	is_hairpin = is_same(&backend->address, &at->sent.source);
	at->opened = at->sent;
	at->opened.destination = backend->address;
	at->opened.destination_port = backend->port;
	at->opened.source_port = source_port;
	if (is_hairpin)
		at->opened.source = at->sent.destination;
	if (is_relayed(at, backend) && !relay(&at->opened))
		return false;
	__builtin_memset(&at->flow, 0, sizeof(at->flow));
	at->flow.frontend = at->sent.destination;
	at->flow.frontend_port = at->sent.destination_port;
	at->flow.backend = number;
	at->flow.opener = endpoint_at(&at->opened.source, at->opened.family);
	at->flow.other = endpoint_at(&at->opened.destination, at->opened.family);
	if (!is_same(&at->opened.source, &at->sent.source) ||
	    at->opened.source_port != at->sent.source_port) {
		at->flow.client = at->sent.source;
		at->flow.client_port = at->sent.source_port;
		at->flow.flags = FLOW_SOURCE | (is_hairpin ? FLOW_HAIRPIN : 0);
	}
	return true;
}

static __always_inline bool is_same_asked(const struct flow_state *a, const struct flow_state *b)
{
	return is_same(&a->frontend, &b->frontend) && a->frontend_port == b->frontend_port &&
	       is_same(&a->client, &b->client) && a->client_port == b->client_port;
}

/* Return the live connection between the ends of `opened`; `is_own`: the client's, by `flow`. */
static __always_inline const struct flow_state *flow_between(const struct passage *at, bool *is_own)
{
	struct flow_tuple key = {};
	bool is_turned = make_flow_key_of(&key, &at->opened);
	const struct flow_state *flow = live_flow(&key, at->now_ns);

	*is_own = flow && is_turned == !!(flow->flags & FLOW_SECOND) &&
		  is_same_asked(flow, &at->flow);
	return flow;
}

/* Whether the connection that this would become is another's: both have the client's port. */
static __always_inline bool is_taken(const struct passage *at)
{
	bool is_own;
	const struct flow_state *flow = flow_between(at, &is_own);

	return flow && !is_own && !has_ended(flow->flags);
}

SUBPROGRAM bool aim_if_free(struct passage *at, __u32 number, __u32 source_port)
{
	return at && aim(at, number, source_port) && !is_taken(at);
}

/* ---- a choice ---------------------------------------------------------------------------- */

/* Try others of the set, then other source ports with the first. */
SUBPROGRAM enum loss find_free(struct passage *at, const struct search *search)
{
	__u32 number;

	if (!at || !search)
		return LOSS_KERNEL;
	for (__u32 i = 1; i < BACKENDS_TRIED; i++) {
		number = one_of_set(search->set, mixed(search->hash + i));
		if (aim_if_free(at, number, at->sent.source_port))
			return LOSS_NONE;
	}
	number = one_of_set(search->set, search->hash);
	for (__u32 i = 0; i < PORTS_TRIED; i++) {
		__u32 port = FIRST_PORT + (search->hash + i * PORT_STEP) % PORTS;

		if (aim_if_free(at, number, bpf_htons(port)))
			return LOSS_NONE;
	}
	return number && is_at_work(number) ? LOSS_NO_PORT : LOSS_NO_BACKEND;
}

static __always_inline enum loss keep_choice(struct passage *at)
{
	struct choice chosen = {
		.seen_ns = at->now_ns,
		.backend = at->flow.backend,
		.source_port = at->opened.source_port,
	};

	return bpf_map_update_elem(&choices, &at->sent, &chosen, BPF_ANY) ? LOSS_TABLE_FULL
									  : LOSS_NONE;
}

/* Choose a backend of `asked`. LOSS_NONE: `opened` and `flow` are what the packet becomes. */
SUBPROGRAM enum loss choose(struct passage *at, const struct frontend *asked, __u32 scope)
{
	struct search search = {};
	enum loss lost;
	__u32 number = 0;

	if (!at || !asked)
		return LOSS_KERNEL;
	if (!may_ask(asked, &at->sent))
		return LOSS_SOURCE_RANGE;
	search.service = asked->service;
	search.set = scope == SCOPE_OUTSIDE ? asked->outside : asked->inside;
	search.affinity_s = asked->affinity_s;
	search.flags = asked->flags;
	search.hash = hash_of(&at->sent);
	if (search.flags & FRONTEND_AFFINITY)
		number = last_of_client(&search, at);
	if (!number)
		number = one_of_set(search.set, search.hash);
	if (!number)
		return LOSS_NO_BACKEND;
	if (!aim_if_free(at, number, at->sent.source_port)) {
		lost = find_free(at, &search);
		if (lost)
			return lost;
	}
	if (search.flags & FRONTEND_AFFINITY)
		keep_affinity(&search, at);
	return keep_choice(at);
}

/* Whether the packet may begin something new: it is not in the middle of a connection. */
static __always_inline bool may_begin(const struct packet *p)
{
	return !is_icmp_error(p) && (p->protocol != IPPROTO_TCP || opens_tcp(p));
}

/* An old choice that a packet which may begin something need not keep to. */
static __always_inline bool is_past(const struct passage *at, const struct choice *choice)
{
	const struct flow_state *flow;
	bool is_own;

	if (!may_begin(&at->p))
		return false;
	if (!is_at_work(choice->backend))
		return true;
	flow = flow_between(at, &is_own);
	if (flow)
		return !is_own || has_ended(flow->flags);
	return choice->seen_ns + UDP_ASKED_S * TRACK_NS_PER_S < at->now_ns;
}

enum recalled {
	RECALLED_NOTHING,
	RECALLED_BACKEND, /* `opened` and `flow` are what the packet becomes */
	RECALLED_GONE,    /* its connection cannot go on */
};

/* Which backend the connection has already. */
SUBPROGRAM enum recalled recall(struct passage *at, const struct flow_tuple *asked)
{
	struct choice *choice;

	if (!at || !asked)
		return RECALLED_NOTHING;
	choice = bpf_map_lookup_elem(&choices, asked);
	if (!choice)
		return RECALLED_NOTHING;
	if (!aim(at, choice->backend, choice->source_port))
		return may_begin(&at->p) ? RECALLED_NOTHING : RECALLED_GONE;
	if (is_past(at, choice))
		return RECALLED_NOTHING;
	if (choice->seen_ns + TRACK_NS_PER_S < at->now_ns)
		choice->seen_ns = at->now_ns;
	return RECALLED_BACKEND;
}

#endif
