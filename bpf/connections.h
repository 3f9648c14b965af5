/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connections.h - which backend does a balanced connection have, and whose are the answers
 */
#ifndef TERWAY_CONNECTIONS_H
#define TERWAY_CONNECTIONS_H

#include <linux/bpf.h>
#include <stddef.h>

#include "fabric.h"
#include "flows.h"
#include "maps.h"
#include "packet.h"
#include "renumber.h"

#define HASH_SEED   2166136261U /* FNV-1a, word by word */
#define HASH_FACTOR 16777619U

static __always_inline bool is_balanced(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP;
}

static __always_inline void make_connection_key(struct connection_key *key, const struct packet *p,
						__u32 vpc)
{
	key->vpc = vpc;
	key->family = p->family;
	key->protocol = p->protocol;
	key->source = p->source;
	key->destination = p->destination;
	key->source_port = p->source_port;
	key->destination_port = p->destination_port;
}

static __always_inline __u64 connection_limit_ns(__u16 protocol)
{
	return (protocol == IPPROTO_TCP ? TCP_ESTABLISHED_S : OTHER_S) * SECOND_NS;
}

static __always_inline struct connection *find_connection(const struct connection_key *key)
{
	struct connection *found = bpf_map_lookup_elem(&connections, key);
	__u64 now = bpf_ktime_get_ns();

	if (!found || found->last_seen + connection_limit_ns(key->protocol) < now)
		return NULL;
	if (found->last_seen + SECOND_NS < now)
		found->last_seen = now;
	return found;
}

static __always_inline __u32 hash_address(__u32 hash, const struct address *address)
{
#pragma unroll
	for (int i = 0; i < ADDRESS_WORDS; i++)
		hash = (hash ^ address->word[i]) * HASH_FACTOR;
	return hash;
}

/* The same for all packets of a connection, in the byte order of the machine. */
static __always_inline __u32 hash_of(const struct packet *p)
{
	__u32 hash = hash_address(HASH_SEED, &p->source);

	hash = hash_address(hash, &p->destination);
	hash = (hash ^ p->source_port) * HASH_FACTOR;
	hash = (hash ^ p->destination_port) * HASH_FACTOR;
	hash = (hash ^ p->protocol) * HASH_FACTOR;
	return hash ^ hash >> 16;
}

/* The key of the backend's answers to what goes to `to`. */
static __always_inline void make_answer_key(struct connection_key *key,
					    const struct connection_key *asked,
					    const struct connection *to)
{
	*key = *asked;
	key->source = to->address;
	key->source_port = to->port;
	key->destination = asked->source;
	key->destination_port = asked->source_port;
}

static __always_inline enum drop_reason remember_connection(const struct connection_key *asked,
							    const struct connection *to)
{
	struct connection forth = *to; /* before Linux 6.2 a map takes nothing of a caller's */
	struct connection_key answered = {};
	struct connection back = {
		.last_seen = to->last_seen,
		.address = asked->destination,
		.port = asked->destination_port,
		.is_answer = true,
	};

	make_answer_key(&answered, asked, to);
	if (bpf_map_update_elem(&connections, asked, &forth, BPF_ANY) ||
	    bpf_map_update_elem(&connections, &answered, &back, BPF_ANY))
		return DROP_FLOW_TABLE;
	return DROP_NONE;
}

#endif
