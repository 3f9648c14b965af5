// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * trunk_push.bpf.c - marks what a pod sends by a member ENI: the member's tag, and its MAC; and
 *                    lets a VLAN device's tag leave with what is its member's alone
 *
 * Hook:   tc egress (clsact, direct action) of a trunk ENI, after all others of ours.
 * Reads:  sources, devices.  Writes: losses.
 * Oracle: tests/lab/test_trunk_frames.py looks at the frames that come out.
 *
 *   pod ─► rule 2048, or redirect ─► trunk ENI ─ source address known? ─► tag, MAC ─► the wire
 *                                                 └ no: the trunk's own, as it is
 *   pod's VLAN device ─► tagged ─► MAC, sender and address all of that member? ─► the wire
 *                                 └ no: lost, and counted
 *
 * The tag stays beside the packet (skb->vlan_tci): segmentation and checksums are the device's as
 * without, the payload may be as long as without, and a device that writes no tags has the kernel
 * write them. The guard of the pod's link has seen to it that the source address is the pod's.
 *
 * A VLAN device is in its pod, where whoever is root can change its MAC and addresses, write whole
 * frames, and have the tag written into them: so the type is read in the frame (skb->protocol is
 * what a sender says it is), and a tag that is in there leaves by no trunk.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "trunk.h"

#define TYPE_AT        (2 * ETH_ALEN)
#define ARP_SENDER_AT  (ETH_HLEN + 8) /* hardware address, then protocol address (RFC 826) */
#define IPV4_SOURCE_AT (ETH_HLEN + 12)
#define IPV6_SOURCE_AT (ETH_HLEN + 8)
#define MAPPED_IPV4    bpf_htonl(0x0000ffff)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct trunk_source);
	__type(value, struct trunk_member);
	__uint(max_entries, 2 * MEMBERS_MAX); /* two families */
	__uint(map_flags, BPF_F_NO_PREALLOC);
} sources SEC(".maps");

/* By VLAN id: the members that have a VLAN device. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct trunk_member);
	__uint(max_entries, MEMBERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, enum trunk_loss);
	__type(value, __u64);
	__uint(max_entries, TRUNK_LOSSES);
} losses SEC(".maps");

static __always_inline int lose(enum trunk_loss why)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &why);

	if (count)
		__sync_fetch_and_add(count, 1);
	return TC_ACT_SHOT;
}

static __always_inline long read_ipv4(struct __sk_buff *skb, __u32 at, struct trunk_source *source)
{
	source->word[2] = MAPPED_IPV4;
	return bpf_skb_load_bytes(skb, at, &source->word[3], sizeof(source->word[3]));
}

static __always_inline long read_source(struct __sk_buff *skb, __be16 type,
					struct trunk_source *source)
{
	if (type == bpf_htons(ETH_P_IPV6))
		return bpf_skb_load_bytes(skb, IPV6_SOURCE_AT, source, sizeof(*source));
	if (type != bpf_htons(ETH_P_IP))
		return -1;
	return read_ipv4(skb, IPV4_SOURCE_AT, source);
}

/* What a member tells its neighbours by ARP is of itself; of whom else is read here. */
static __always_inline bool is_own_arp(struct __sk_buff *skb, const struct trunk_member *member,
				       struct trunk_source *source)
{
	__u8 mac[ETH_ALEN];

	if (bpf_skb_load_bytes(skb, ARP_SENDER_AT, mac, sizeof(mac)) || differs(mac, member->mac))
		return false;
	return !read_ipv4(skb, ARP_SENDER_AT + ETH_ALEN, source);
}

/* Nothing leads anywhere from fe80::/10 or :: but neighbours are asked for from there. */
static __always_inline bool stays_on_link(const struct trunk_source *source)
{
	__be32 rest = source->word[1] | source->word[2] | source->word[3];

	return (source->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
	       !(source->word[0] | rest);
}

/* Is a frame that a VLAN device tagged of the member that the tag is of? */
static __always_inline int check_tagged(struct __sk_buff *skb, __be16 type)
{
	__u32 vlan_id = skb->vlan_tci & VLAN_ID_MASK;
	const struct trunk_member *device, *member;
	struct trunk_source source = {};
	__u8 mac[ETH_ALEN];

	if (skb->vlan_proto != bpf_htons(ETH_P_8021Q))
		return lose(TRUNK_TAGS);
	device = bpf_map_lookup_elem(&devices, &vlan_id);
	if (!device)
		return lose(TRUNK_UNKNOWN_VLAN);
	if (bpf_skb_load_bytes(skb, ETH_ALEN, mac, sizeof(mac)) || differs(mac, device->mac))
		return lose(TRUNK_SPOOFED);
	if (type == bpf_htons(ETH_P_ARP) ? !is_own_arp(skb, device, &source)
					 : read_source(skb, type, &source) != 0)
		return lose(TRUNK_SPOOFED);
	if (type == bpf_htons(ETH_P_IPV6) && stays_on_link(&source))
		return TC_ACT_UNSPEC;
	member = bpf_map_lookup_elem(&sources, &source);
	if (!member || member->vlan_id != device->vlan_id)
		return lose(TRUNK_SPOOFED);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int terway_trunk_push(struct __sk_buff *skb)
{
	struct trunk_source source = {};
	const struct trunk_member *member;
	struct trunk_member found;
	__be16 type;

	if (bpf_skb_load_bytes(skb, TYPE_AT, &type, sizeof(type)))
		return TC_ACT_UNSPEC;
	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD))
		return lose(TRUNK_TAGS);
	if (skb->vlan_present)
		return check_tagged(skb, type);
	if (read_source(skb, type, &source))
		return TC_ACT_UNSPEC;
	member = bpf_map_lookup_elem(&sources, &source);
	if (!member || member->vlan_id & MEMBER_DEVICE)
		return TC_ACT_UNSPEC;
	found = *member;
	if (bpf_skb_store_bytes(skb, ETH_ALEN, found.mac, sizeof(found.mac), 0) ||
	    bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), found.vlan_id))
		return lose(TRUNK_KERNEL);
	return TC_ACT_UNSPEC;
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
