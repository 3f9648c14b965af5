/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * maps.h - what the fabric remembers: ports, addresses, routes, rules, flows, counters
 */
#ifndef TERWAY_MAPS_H
#define TERWAY_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "fabric.h"
#include "packet.h"

#define PORTS_MAX       4096
#define ADDRESSES_MAX   65536  /* 4096 ENIs with 16 addresses each */
#define ROUTES_MAX      4096   /* vSwitch ranges and custom route entries */
#define RULE_LISTS_MAX  512    /* 256 groups, two directions; 45 kB each when used */
#define FLOWS_MAX       131072 /* two entries a flow: 65536 flows at once, 14 MB */
#define LISTENERS_MAX   4096   /* ports of load balancers; 1.6 kB each when used */
#define CONNECTIONS_MAX 65536  /* two entries a connection: 32768 at once, 6 MB */
#define ACCESS_MAX      65536  /* 300 ranges a list */
#define FRAGMENTS_MAX   1024   /* packets in flight in pieces */

/* By number: see PORT_LINK_BITS. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct port);
	__uint(max_entries, PORTS_MAX);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address_key);
	__type(value, struct owner);
	__uint(max_entries, ADDRESSES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct route_key);
	__type(value, struct route);
	__uint(max_entries, ROUTES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} routes SEC(".maps");

/* By digest of the content. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct rule_list);
	__uint(max_entries, RULE_LISTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} rule_lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(max_entries, FLOWS_MAX);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
	__uint(max_entries, FRAGMENTS_MAX);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct listener_key);
	__type(value, struct listener);
	__uint(max_entries, LISTENERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct connection_key);
	__type(value, struct connection);
	__uint(max_entries, CONNECTIONS_MAX);
} connections SEC(".maps");

/* Whose turn it is at a listener that takes one slot after the other. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct listener_key);
	__type(value, __u32);
	__uint(max_entries, LISTENERS_MAX);
} turns SEC(".maps");

/* Sources that listeners let in, or do not. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct access_key);
	__type(value, __u32);
	__uint(max_entries, ACCESS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} access_lists SEC(".maps");

/* By number; an entry for each port is made before the port. Key 0 counts what has no port. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, __u32);
	__type(value, struct counters);
	__uint(max_entries, PORTS_MAX + 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} counters SEC(".maps");

static __always_inline struct counters *counters_of(__u32 port)
{
	const __u32 nobody = 0;
	struct counters *found = bpf_map_lookup_elem(&counters, &port);

	return found ? found : bpf_map_lookup_elem(&counters, &nobody);
}

static __always_inline void count_drop(__u32 port, enum drop_reason reason)
{
	struct counters *c = counters_of(port);

	if (c && reason < DROP_REASONS)
		c->drops[reason]++;
}

static __always_inline void count_answer(__u32 port)
{
	struct counters *c = counters_of(port);

	if (c)
		c->answered++;
}

static __always_inline void count_egress(__u32 port, __u32 bytes)
{
	struct counters *c = counters_of(port);

	if (c) {
		c->egress_packets++;
		c->egress_bytes += bytes;
	}
}

static __always_inline void count_ingress(__u32 port, __u32 bytes)
{
	struct counters *c = counters_of(port);

	if (c) {
		c->ingress_packets++;
		c->ingress_bytes += bytes;
	}
}

enum packet_slot {
	PACKET_AT_HAND,
	PACKET_QUOTED, /* by the ICMP error at hand */
	PACKET_SLOTS,
};

/*
 * What is parsed, by `enum packet_slot`. Not on the stack, where the verifier remembers each value
 * that a byte may have and goes each way on with each of them: what is in a map is just a number.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct packet);
	__uint(max_entries, PACKET_SLOTS);
} packets SEC(".maps");

/* Return a packet to parse into, of which nothing beyond `limit` is read. */
static __always_inline struct packet *blank_packet(__u32 slot, __u32 limit)
{
	struct packet *p = bpf_map_lookup_elem(&packets, &slot);

	if (!p)
		return NULL;
	__builtin_memset(p, 0, sizeof(*p));
	p->limit = limit;
	p->is_quoted = slot == PACKET_QUOTED;
	return p;
}

#endif
