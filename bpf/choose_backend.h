/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * choose_backend.h - to which backend of a listener does a client's packet go
 *
 *   held connection ─► its backend, while that is listed
 *   known client    ─► the backend it had (persistence)
 *   anybody         ─► a slot: the next one, or by a hash; slots are as many as weights say
 *
 * Oracle: src/terway/lab/vpc/oracle/choice.py.
 */
#ifndef TERWAY_CHOOSE_BACKEND_H
#define TERWAY_CHOOSE_BACKEND_H

#include "connections.h"

static __always_inline void make_listener_key(struct listener_key *key, const struct packet *p,
					      __u32 vpc)
{
	key->vpc = vpc;
	key->family = p->family;
	key->protocol = p->protocol;
	key->address = p->destination;
	key->port = p->destination_port;
}

static __always_inline bool is_same_address(const struct address *one, const struct address *other)
{
	__u32 differs = 0;

#pragma unroll
	for (int i = 0; i < ADDRESS_WORDS; i++)
		differs |= one->word[i] ^ other->word[i];
	return !differs;
}

/* The backend's flags, below zero where it is not listed. */
static __attribute__((noinline)) int find_listed(const struct listener *listener,
						 const struct connection *to)
{
	if (!listener || !to)
		return -1;
	for (__u32 i = 0; i < LISTENER_BACKENDS; i++) {
		const struct listed_backend *backend = &listener->backends[i];

		if (i >= listener->count)
			return -1;
		if (backend->port == to->port && is_same_address(&backend->address, &to->address))
			return backend->flags;
	}
	return -1;
}

static __always_inline bool is_let_in(const struct packet *p, const struct listener *listener)
{
	struct access_key key = {
		.prefixlen = 8 * (sizeof(key) - sizeof(key.prefixlen)),
		.list = listener->access,
		.source = p->source,
	};
	bool is_listed;

	if (!(listener->flags & (LISTENER_ALLOWS | LISTENER_REFUSES)))
		return true;
	is_listed = bpf_map_lookup_elem(&access_lists, &key);
	return is_listed == !!(listener->flags & LISTENER_ALLOWS);
}

static __always_inline const struct listener *find_listener(const struct packet *p, __u32 vpc)
{
	struct listener_key at = {};

	if (!p)
		return 0;
	make_listener_key(&at, p, vpc);
	return bpf_map_lookup_elem(&listeners, &at);
}

/* Whether the port that a packet is for is proxied. A function: the key is too much for a stack. */
bool is_proxied(const struct packet *p, __u32 vpc)
{
	const struct listener *listener = find_listener(p, vpc);

	return listener && listener->flags & LISTENER_PROXIED;
}

/* Whether the listener's access list lets in who sends a packet to a port that is proxied. */
bool is_welcome(const struct packet *p, __u32 vpc)
{
	const struct listener *listener = find_listener(p, vpc);

	return listener && is_let_in(p, listener);
}

/*
 * Whether a connection goes on where it was. Datagrams have no end: whoever sends on and on would
 * reach a backend that has gone for ever, so they are led away from one that is not healthy.
 */
static __always_inline bool goes_on(const struct packet *p, const struct connection *held,
				    const struct listener *listener)
{
	int flags;

	if (!held || opens_connection(p))
		return false;
	if (p->protocol == IPPROTO_TCP && !(listener && listener->flags & LISTENER_CUTS))
		return true;
	flags = find_listed(listener, held);
	return p->protocol == IPPROTO_TCP ? flags >= 0 : flags > 0 && flags & BACKEND_HEALTHY;
}

static __always_inline void make_client_key(struct connection_key *key)
{
	key->family |= PERSISTENT_OF;
	key->source_port = 0;
}

/* Put the backend into `to` that the client's address had, unless that was too long ago. */
static __always_inline bool find_persistent(const struct connection_key *asked,
					    const struct listener *listener, struct connection *to)
{
	struct connection_key key = *asked;
	const struct connection *held;
	int flags;

	if (!listener->persistence_s)
		return false;
	make_client_key(&key);
	held = bpf_map_lookup_elem(&connections, &key);
	if (!held || held->last_seen + listener->persistence_s * SECOND_NS < bpf_ktime_get_ns())
		return false;
	flags = find_listed(listener, held);
	if (flags < 0 || !(flags & BACKEND_OPEN))
		return false;
	to->address = held->address;
	to->port = held->port;
	return true;
}

static __always_inline void keep_persistent(const struct connection_key *asked,
					    const struct listener *listener,
					    const struct connection *to)
{
	struct connection_key key = *asked;
	struct connection kept = *to;

	if (!listener->persistence_s)
		return;
	make_client_key(&key);
	bpf_map_update_elem(&connections, &key, &kept, BPF_ANY);
}

static __always_inline __u32 take_turn(const struct packet *p, __u32 vpc)
{
	struct listener_key at = {};
	const __u32 second = 1;
	__u32 *turn;
	__u32 taken = 0;

	make_listener_key(&at, p, vpc);
	turn = bpf_map_lookup_elem(&turns, &at);
	if (turn)
		taken = (*turn)++; /* two at once may get the same: no harm */
	else
		bpf_map_update_elem(&turns, &at, &second, BPF_ANY);
	return taken;
}

static __always_inline __u32 hash_source(const struct packet *p)
{
	__u32 hash = hash_address(HASH_SEED, &p->source);

	return hash ^ hash >> 16;
}

static __always_inline __u32 choose_slot(const struct packet *p, __u32 vpc,
					 const struct listener *listener)
{
	__u32 chosen;

	if (listener->flags & LISTENER_BY_TURNS)
		chosen = take_turn(p, vpc);
	else
		chosen = listener->flags & LISTENER_BY_SOURCE ? hash_source(p) : hash_of(p);
	return chosen % listener->slots_used;
}

/* A backend for a new connection. */
static __always_inline enum drop_reason choose_new(const struct packet *p, __u32 vpc,
						   const struct listener *listener,
						   struct connection *to)
{
	__u32 slot, chosen;

	if (!listener->slots_used)
		return DROP_NO_BACKEND;
	slot = choose_slot(p, vpc, listener);
	if (slot >= LISTENER_SLOTS)
		return DROP_KERNEL;
	chosen = listener->slots[slot];
	if (chosen >= LISTENER_BACKENDS)
		return DROP_KERNEL;
	to->address = listener->backends[chosen].address;
	to->port = listener->backends[chosen].port;
	return DROP_NONE;
}

/* Where a client's packet goes: to the backend that its connection has, or to one for it. */
enum drop_reason choose_backend(const struct packet *p, __u32 vpc, struct connection *to)
{
	struct connection_key key = {};
	struct listener_key at = {};
	const struct connection *held;
	const struct listener *listener;
	enum drop_reason reason = DROP_NONE;

	if (!p || !to)
		return DROP_KERNEL;
	make_connection_key(&key, p, vpc);
	make_listener_key(&at, p, vpc);
	held = find_connection(&key);
	listener = bpf_map_lookup_elem(&listeners, &at);
	if (goes_on(p, held, listener)) {
		*to = *held;
		return DROP_NONE;
	}
	if (!listener)
		return DROP_NO_LISTENER;
	if (held && p->protocol == IPPROTO_TCP && !opens_connection(p))
		return DROP_CUT;
	if (!is_let_in(p, listener))
		return DROP_ACCESS;
	if (!find_persistent(&key, listener, to))
		reason = choose_new(p, vpc, listener, to);
	if (reason)
		return reason;
	to->last_seen = bpf_ktime_get_ns();
	keep_persistent(&key, listener, to);
	return remember_connection(&key, to);
}

#endif
