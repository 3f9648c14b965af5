// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * priority.bpf.c - says in which of three queues of an ENI a pod's packet waits
 *
 * Hook:   tc egress (clsact, direct action) of each ENI that carries pods.  Reads: classes.
 * Oracle: tests/bpf/test_priority.py.
 *
 * It sets skb->priority to one of the values that the default map of prio and pfifo_fast knows
 * (interactive 0, best effort 1, bulk 2), so that no queue needs filters of its own. What is from
 * no pod stays as it is.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define CLASSES_MAX    16384 /* addresses of pods of a node, both families */
#define IPV4_SOURCE_AT (ETH_HLEN + 12)
#define IPV6_SOURCE_AT (ETH_HLEN + 8)
#define MAPPED_IPV4    bpf_htonl(0x0000ffff) /* ::ffff:0:0/96 (RFC 4291, section 2.5.5.2) */

struct source {
	__be32 word[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct source);
	__type(value, __u32);
	__uint(max_entries, CLASSES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} classes SEC(".maps");

static __always_inline long read_source(struct __sk_buff *skb, struct source *source)
{
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return bpf_skb_load_bytes(skb, IPV6_SOURCE_AT, source, sizeof(*source));
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return -1;
	source->word[2] = MAPPED_IPV4;
	return bpf_skb_load_bytes(skb, IPV4_SOURCE_AT, &source->word[3], sizeof(source->word[3]));
}

SEC("tc")
int terway_priority(struct __sk_buff *skb)
{
	struct source source = {};
	const __u32 *class;

	if (read_source(skb, &source))
		return TC_ACT_UNSPEC;
	class = bpf_map_lookup_elem(&classes, &source);
	if (class)
		skb->priority = *class;
	return TC_ACT_UNSPEC;
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
