/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * service.h - what services there are, and which backend a connection has
 *
 *   frontends[address, port] ─► sets[inside | outside] ─┬─► backends     up to SET_INLINE
 *                                                       └─► slots ─► backends
 *
 * Written by the agent: service/ decides what is in them. Choices and affinities are the programs'.
 * The agent may load with other sizes (linux/ebpf/); these are for some 30,000 services.
 */
#ifndef TERWAY_SERVICE_H
#define TERWAY_SERVICE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"

#define FRONTENDS_MAX     131072 /* 30,000 services: two families, a node port, an address outside */
#define SETS_MAX          131072  /* as many */
#define BACKENDS_MAX      524288  /* four for each set */
#define SLOTS_MAX         1048576 /* 8 MB: 32 services with 1,000 endpoints */
#define CHOICES_MAX       262144  /* as many as connections; 19 MB */
#define AFFINITIES_MAX    65536
#define SOURCE_RANGES_MAX 16384

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct frontend_key);
	__type(value, struct frontend);
	__uint(max_entries, FRONTENDS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} frontends SEC(".maps");

/* By number. An entry is exchanged as a whole, so a packet sees the old set or the new. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct backend_set);
	__uint(max_entries, SETS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} sets SEC(".maps");

/* The Maglev tables of large sets, one behind the other. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, SLOTS_MAX);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct backend);
	__uint(max_entries, BACKENDS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} backends SEC(".maps");

/* By what the client sends. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_tuple);
	__type(value, struct choice);
	__uint(max_entries, CHOICES_MAX);
} choices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
	__uint(max_entries, AFFINITIES_MAX);
} affinities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct source_range);
	__type(value, __u32);
	__uint(max_entries, SOURCE_RANGES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} source_ranges SEC(".maps");

#endif
