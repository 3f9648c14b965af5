// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * guard.bpf.c - lets out of a pod what is the pod's own, and drops what claims to be another's
 *
 * Hook:   tc ingress (clsact, direct action) of the node's end of each pod's veth, before any other
 *         filter. What passes goes on to the next filter (TC_ACT_UNSPEC).
 * Reads:  owners.  Writes: drops, bell.
 * Oracle: tests/support/guard_oracle.py answers the same question in Python; tests/bpf feeds both.
 *
 *   pod │ eth0 ═══ cali… guard ──► MAC ─► source address ─► ARP, ND ──► the node's stack
 *
 * Headers are read by bpf_skb_load_bytes, which reaches paged data too. What cannot be read is
 * dropped. A drop that may come of a changed link of the pod (another plugin gave it another MAC)
 * rings the bell, so that the agent looks at the link again.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "guard.h"
#include "packet.h"

#define OWNERS_MAX 16384        /* links of a node, and those that went since the last sweep */
#define DROPS_MAX  65536        /* four reasons for each */
#define BELL_BYTES 4096         /* the smallest ring: 256 links that nobody has looked at yet */
#define QUIET_NS   100000000ULL /* a link rings ten times a second at most */

#define ARP_ETHERNET     1
#define ND_ROUTER_ADVERT 134
#define MLD_REPORT       131
#define MLD_DONE         132
#define MLD2_REPORT      143
#define ND_SOURCE_LINK   1
#define ND_TARGET_LINK   2
#define ND_OPTIONS_MAX   8
#define ND_HEAD_BYTES    8 /* type, code, checksum, flags */
#define ND_TARGET_BYTES  16

/* By ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct guard_owner);
	__uint(max_entries, OWNERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct guard_drops_key);
	__type(value, struct guard_drops_value);
	__uint(max_entries, DROPS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} drops SEC(".maps");

/* Tells the agent the ifindex of links to look at again. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, BELL_BYTES);
} bell SEC(".maps");

struct arp_claim {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender;
	__u8 target_mac[ETH_ALEN];
	__be32 target;
} __attribute__((packed));

static __always_inline bool is_same_address(const struct address *a, const struct guard_address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool is_no_address(const struct address *a)
{
	return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

static __always_inline bool is_link_local(const struct address *a)
{
	return (bpf_ntohl(a->word[0]) & 0xffc00000) == 0xfe800000;
}

/* Link-local scope: fe80::/10 and multicast that no router forwards (RFC 4291, section 2.7). */
static __always_inline bool stays_on_link(const struct address *a)
{
	return is_link_local(a) || (bpf_ntohl(a->word[0]) & 0xff0f0000) == 0xff020000;
}

static __always_inline bool is_same_hardware(const __u8 *a, const __u8 *b)
{
	__u8 differs = 0;

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		differs |= a[i] ^ b[i];
	return !differs;
}

static __always_inline bool may_be_a_changed_link(enum guard_reason reason)
{
	return reason == GUARD_SOURCE_MAC || reason == GUARD_LINK_LOCAL;
}

static __always_inline void ring(__u32 ifindex, struct guard_drops_value *count)
{
	__u64 now = bpf_ktime_get_ns();

	if (count->told_ns && now - count->told_ns < QUIET_NS)
		return;
	count->told_ns = now;
	bpf_ringbuf_output(&bell, &ifindex, sizeof(ifindex), 0);
}

static __always_inline int refuse(__u32 ifindex, enum guard_reason reason)
{
	struct guard_drops_key key = {.ifindex = ifindex, .reason = reason};
	struct guard_drops_value *count = bpf_map_lookup_elem(&drops, &key);

	if (!count) {
		const struct guard_drops_value none = {};

		bpf_map_update_elem(&drops, &key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&drops, &key);
	}
	if (count) {
		__sync_fetch_and_add(&count->packets, 1);
		if (may_be_a_changed_link(reason))
			ring(ifindex, count);
	}
	return TC_ACT_SHOT;
}

/* A probe (RFC 5227) has no sender address, and asks for an address before it is claimed. */
static __always_inline enum guard_reason check_arp(struct __sk_buff *skb,
						   const struct guard_owner *owner)
{
	struct arp_claim arp;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return GUARD_MALFORMED;
	if (arp.hardware != bpf_htons(ARP_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_len != ETH_ALEN || arp.protocol_len != sizeof(arp.sender))
		return GUARD_MALFORMED;
	if (!owner->v4 || !is_same_hardware(arp.sender_mac, owner->mac))
		return GUARD_ARP;
	if (!arp.sender)
		return arp.target == owner->v4 ? GUARD_NONE : GUARD_ARP;
	return arp.sender == owner->v4 ? GUARD_NONE : GUARD_ARP;
}

static __always_inline enum guard_reason check_ipv4(struct __sk_buff *skb,
						    const struct guard_owner *owner)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return GUARD_MALFORMED;
	if (ip.version != 4 || ip.ihl < 5 || bpf_ntohs(ip.tot_len) < ip.ihl * 4)
		return GUARD_MALFORMED;
	return owner->v4 && ip.saddr == owner->v4 ? GUARD_NONE : GUARD_SOURCE_ADDRESS;
}

/* Whose is an address that neighbour discovery speaks for? */
static __always_inline enum guard_reason check_claim(const struct guard_owner *owner,
						     const struct address *target)
{
	if (!is_no_address(target) &&
	    (is_same_address(target, &owner->v6) || is_same_address(target, &owner->link_local)))
		return GUARD_NONE;
	return is_link_local(target) ? GUARD_LINK_LOCAL : GUARD_ND;
}

/* The options of neighbour discovery: link-layer addresses must be the pod's link's own. */
static __always_inline enum guard_reason
check_options(struct __sk_buff *skb, const struct guard_owner *owner, __u32 offset, __u32 end)
{
	for (int i = 0; i < ND_OPTIONS_MAX; i++) {
		struct {
			__u8 type, len;
			__u8 mac[ETH_ALEN];
		} option;

		if (offset == end)
			return GUARD_NONE;
		if (offset + sizeof(option) > end ||
		    bpf_skb_load_bytes(skb, offset, &option, sizeof(option)) || !option.len)
			return GUARD_MALFORMED;
		if ((option.type == ND_SOURCE_LINK || option.type == ND_TARGET_LINK) &&
		    (option.len != 1 || !is_same_hardware(option.mac, owner->mac)))
			return GUARD_ND;
		offset += option.len * 8;
	}
	return offset == end ? GUARD_NONE : GUARD_MALFORMED;
}

static __always_inline enum guard_reason check_solicitation(const struct guard_owner *owner,
							    const struct packet *p,
							    const struct address *target)
{
	/* Only duplicate address detection has no source; it claims its target. */
	return is_no_address(&p->source) ? check_claim(owner, target) : GUARD_NONE;
}

/* RFC 6980: neighbour discovery is never in fragments. */
static __always_inline enum guard_reason
check_discovery(struct __sk_buff *skb, const struct guard_owner *owner, const struct packet *p)
{
	bool is_router_wanted = p->icmp_type == ICMP6_ROUTER_SOLICIT;
	__u32 options = p->l4 + ND_HEAD_BYTES + (is_router_wanted ? 0 : ND_TARGET_BYTES);
	enum guard_reason reason = GUARD_NONE;
	struct address target;

	if (p->icmp_type == ND_ROUTER_ADVERT || p->icmp_type == ICMP6_REDIRECT || p->is_fragment)
		return GUARD_ND;
	if (options > p->end)
		return GUARD_MALFORMED;
	if (!is_router_wanted) {
		if (bpf_skb_load_bytes(skb, p->l4 + ND_HEAD_BYTES, &target, sizeof(target)))
			return GUARD_MALFORMED;
		reason = p->icmp_type == ICMP6_SOLICITATION ? check_solicitation(owner, p, &target)
							    : check_claim(owner, &target);
	}
	return reason ? reason : check_options(skb, owner, options, p->end);
}

/* Without an address yet, a node may look for duplicates and routers, and join groups. */
static __always_inline bool may_lack_source(const struct packet *p)
{
	return p->protocol == IPPROTO_ICMPV6 && !p->is_fragment && stays_on_link(&p->destination) &&
	       (p->icmp_type == ICMP6_SOLICITATION || p->icmp_type == ICMP6_ROUTER_SOLICIT ||
		p->icmp_type == MLD2_REPORT || p->icmp_type == MLD_REPORT ||
		p->icmp_type == MLD_DONE);
}

static __always_inline enum guard_reason check_source(const struct guard_owner *owner,
						      const struct packet *p)
{
	if (is_no_address(&p->source))
		return may_lack_source(p) ? GUARD_NONE : GUARD_SOURCE_ADDRESS;
	if (is_same_address(&p->source, &owner->v6))
		return GUARD_NONE;
	if (!is_link_local(&p->source))
		return GUARD_SOURCE_ADDRESS;
	return is_same_address(&p->source, &owner->link_local) && stays_on_link(&p->destination)
		       ? GUARD_NONE
		       : GUARD_LINK_LOCAL;
}

static __always_inline bool is_plain(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

static __always_inline enum guard_reason check_ipv6(struct __sk_buff *skb,
						    const struct guard_owner *owner)
{
	struct packet p = {.limit = skb->len};
	struct ipv6hdr ip;
	enum guard_reason reason;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return GUARD_MALFORMED;
	__builtin_memcpy(&p.source, &ip.saddr, sizeof(p.source));
	/* Nearly all there is: nothing but the source can be wrong. */
	if (ip.version == 6 && is_plain(ip.nexthdr) && is_same_address(&p.source, &owner->v6) &&
	    !is_no_address(&p.source))
		return GUARD_NONE;
	if (parse_packet(skb, ETH_HLEN, FAMILY_V6, &p))
		return GUARD_MALFORMED;
	reason = check_source(owner, &p);
	if (reason || !is_neighbour_discovery(&p))
		return reason;
	return check_discovery(skb, owner, &p);
}

static __always_inline enum guard_reason check(struct __sk_buff *skb,
					       const struct guard_owner *owner)
{
	struct ethhdr eth;

	if (skb->vlan_present)
		return GUARD_VLAN;
	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return GUARD_MALFORMED;
	if (!is_same_hardware(eth.h_source, owner->mac))
		return GUARD_SOURCE_MAC;
	switch (eth.h_proto) {
	case bpf_htons(ETH_P_IP):
		return check_ipv4(skb, owner);
	case bpf_htons(ETH_P_IPV6):
		return check_ipv6(skb, owner);
	case bpf_htons(ETH_P_ARP):
		return check_arp(skb, owner);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return GUARD_VLAN;
	default:
		return GUARD_ETHERTYPE;
	}
}

SEC("tc")
int terway_guard(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct guard_owner *owner = bpf_map_lookup_elem(&owners, &ifindex);
	enum guard_reason reason = owner ? check(skb, owner) : GUARD_UNKNOWN_LINK;

	return reason ? refuse(ifindex, reason) : TC_ACT_UNSPEC;
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
