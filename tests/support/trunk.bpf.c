// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * trunk.bpf.c - a guest's side of a trunk, as simple as can be: see tests/support/trunk_guest.py
 *
 * Frames with a member's tag go, without it, into the veth of the pod that has the member, and
 * come from there with it. Nothing is read but what the kernel says of the tag.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);   /* VLAN id */
	__type(value, __u32); /* ifindex of the pod's link on the node */
	__uint(max_entries, 64);
} pods SEC(".maps");

struct way_out {
	__u32 vlan_id;
	__u32 trunk;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct way_out);
	__uint(max_entries, 64);
} ways SEC(".maps");

/* Tagged frames by what the kernel takes them for: PACKET_HOST, PACKET_OTHERHOST, … */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 8);
} kinds SEC(".maps");

SEC("tc")
int from_trunk(struct __sk_buff *skb)
{
	__u32 vlan_id = skb->vlan_tci & 0xfff;
	__u32 kind = skb->pkt_type;
	__u32 *count, *pod;

	if (!skb->vlan_present)
		return TC_ACT_OK;
	count = bpf_map_lookup_elem(&kinds, &kind);
	if (count)
		__sync_fetch_and_add(count, 1);
	pod = bpf_map_lookup_elem(&pods, &vlan_id);
	if (!pod || bpf_skb_vlan_pop(skb))
		return TC_ACT_OK;
	return bpf_redirect(*pod, 0);
}

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct way_out *way = bpf_map_lookup_elem(&ways, &ifindex);

	if (!way || bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), way->vlan_id))
		return TC_ACT_SHOT;
	return bpf_redirect(way->trunk, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
