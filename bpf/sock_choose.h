/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_choose.h - which service does a process of the node name, and which backend may answer it
 *
 * There is no packet yet whose ends could be hashed: one of the set is drawn.
 */
#ifndef TERWAY_SOCK_CHOOSE_H
#define TERWAY_SOCK_CHOOSE_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "service.h"
#include "tables.h"

#define SPLITMIX_STEP 0x9e3779b97f4a7c15ULL /* Steele, Lea, Flood 2014: SplitMix64 */
#define SPLITMIX_MIX  0xbf58476d1ce4e5b9ULL

/* Who connects to no address at all gets the loopback's. */
static __always_inline bool is_loopback(const struct address *a, __u32 family)
{
	__u32 first = bpf_ntohl(a->word[0]) >> 24;

	if (family == FAMILY_V4)
		return first == 127 || !a->word[0];
	return !(a->word[0] | a->word[1] | a->word[2]) && bpf_ntohl(a->word[3]) <= 1;
}

static __always_inline bool is_of_this_node(const struct frontend_key *peer)
{
	return is_loopback(&peer->address, peer->family) ||
	       local_of(&peer->address, peer->family) == LOCAL_NODE;
}

static __always_inline const struct frontend *find_frontend(const struct frontend_key *peer)
{
	struct frontend_key any = {
		.port = peer->port,
		.protocol = peer->protocol,
		.family = peer->family,
	};
	const struct frontend *found = bpf_map_lookup_elem(&frontends, peer);

	if (!found && is_of_this_node(peer))
		found = bpf_map_lookup_elem(&frontends, &any);
	return found;
}

/* What a packet of the node would have as its source. */
static __always_inline struct address own_address(const struct settings *node, __u32 family)
{
	struct address own = {{node->node4}};

	return family == FAMILY_V4 ? own : node->node6;
}

static __always_inline bool may_ask(const struct frontend *asked, const struct address *client,
				    __u32 family)
{
	struct source_range range = {
		.prefixlen = 64 + 128,
		.service = asked->service,
		.family = family,
		.address = *client,
	};

	return !(asked->flags & FRONTEND_SOURCE_RANGES) ||
	       bpf_map_lookup_elem(&source_ranges, &range);
}

static __always_inline __u64 mix(__u64 seed)
{
	seed += SPLITMIX_STEP;
	seed = (seed ^ (seed >> 30)) * SPLITMIX_MIX;
	return seed ^ (seed >> 31);
}

/* A connection is tried again with another; a socket's messages stay with one. */
static __always_inline __u32 draw(__u64 cookie, bool is_message)
{
	return is_message ? mix(cookie) : bpf_get_prandom_u32();
}

static __always_inline __u32 one_of(__u32 number, __u32 drawn)
{
	const struct backend_set *set = bpf_map_lookup_elem(&sets, &number);
	const __u32 *slot;
	__u32 place;

	if (!set || !set->count)
		return 0;
	if (set->count <= SET_INLINE) {
		place = drawn % set->count;
		/* The compiler knows what follows, and leaves it out; the verifier does not. */
		asm volatile("" : "+r"(place));
		return place < SET_INLINE ? set->backend[place] : 0;
	}
	if (!set->size)
		return 0;
	place = set->table + drawn % set->size;
	slot = bpf_map_lookup_elem(&slots, &place);
	return slot ? *slot : 0;
}

/* The backend that the client had last, if it may have it again. */
static __always_inline __u32 last_of(const struct frontend *asked, const struct affinity_key *who)
{
	const struct affinity *last = bpf_map_lookup_elem(&affinities, who);
	const struct backend *backend;

	if (!last || bpf_ktime_get_ns() - last->seen_ns > asked->affinity_s * 1000000000ULL)
		return 0;
	backend = bpf_map_lookup_elem(&backends, &last->backend);
	return backend && !(backend->flags & BACKEND_TERMINATING) ? last->backend : 0;
}

static __always_inline __u32 choose_for_client(const struct frontend *asked,
					       const struct address *client, __u32 family,
					       __u32 drawn)
{
	struct affinity_key who = {.client = *client, .family = family, .service = asked->service};
	struct affinity now = {};

	if (!(asked->flags & FRONTEND_AFFINITY))
		return one_of(asked->inside, drawn);
	now.backend = last_of(asked, &who);
	if (!now.backend)
		now.backend = one_of(asked->inside, drawn);
	now.seen_ns = bpf_ktime_get_ns();
	if (now.backend)
		bpf_map_update_elem(&affinities, &who, &now, BPF_ANY);
	return now.backend;
}

#endif
