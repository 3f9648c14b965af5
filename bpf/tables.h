/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tables.h - what the data path knows of this node, and remembers of connections
 *
 * The agent may load with other sizes (linux/ebpf/); these are for a node of the largest type.
 */
#ifndef TERWAY_TABLES_H
#define TERWAY_TABLES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"

#define ENDPOINTS_MAX   1024 /* interfaces of a node's pods: no instance type has more addresses */
#define LINKS_MAX       4096 /* links with a program, and those that went since the last sweep */
#define LOCALS_MAX      4096 /* two families for each endpoint, and the node's own */
#define HOST_STACK_MAX  256  /* prefixes that the configuration names */
#define CONNECTIONS_MAX 262144 /* half of nf_conntrack's default on the larger nodes; 25 MB */
#define PIECES_MAX      8192   /* packets in flight in fragments */

/* By the number that the agent gave. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct endpoint);
	__uint(max_entries, ENDPOINTS_MAX);
} endpoints SEC(".maps");

/* Which endpoint's a link of the node is, by ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, LINKS_MAX);
} links SEC(".maps");

/* Who of this node has an address: an endpoint's number, or LOCAL_NODE. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address_of);
	__type(value, __u32);
	__uint(max_entries, LOCALS_MAX);
} locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix_of);
	__type(value, __u32);
	__uint(max_entries, HOST_STACK_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} host_stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct settings);
	__uint(max_entries, 1);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_tuple);
	__type(value, struct flow_state);
	__uint(max_entries, CONNECTIONS_MAX);
} flows SEC(".maps");

/* Ports of packets whose first fragment was seen. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct piece_key);
	__type(value, struct piece);
	__uint(max_entries, PIECES_MAX);
} pieces SEC(".maps");

static __always_inline const struct settings *node_settings(void)
{
	const __u32 only = 0;

	return bpf_map_lookup_elem(&settings, &only);
}

/* Return whose of this node the address is: an endpoint's number, LOCAL_NODE, or 0. */
static __always_inline __u32 local_of(const struct address *address, __u32 family)
{
	struct address_of key = {.address = *address, .family = family};
	const __u32 *found = bpf_map_lookup_elem(&locals, &key);

	return found ? *found : 0;
}

static __always_inline bool is_for_host_stack(const struct address *address, __u32 family)
{
	struct prefix_of key = {.prefixlen = 32 + 128, .family = family, .address = *address};

	return bpf_map_lookup_elem(&host_stack, &key);
}

static __always_inline const struct endpoint *endpoint_of(__u32 number)
{
	return bpf_map_lookup_elem(&endpoints, &number);
}

#endif
