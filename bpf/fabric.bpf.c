// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fabric.bpf.c - carries each packet of the lab's VPC from one ENI to another, or says why not
 *
 * Hook:   tc ingress (clsact, direct action) of the fabric's end of each ENI's veth
 *         [fabric_port], and of the veth to the provider's services [fabric_services].
 * Reads:  ports, addresses, routes, rule_lists, listeners.
 * Writes: flows, fragments, connections, counters.
 * Oracle: src/terway/lab/vpc/oracle/ answers the same questions in Python; tests/bpf feeds both.
 *
 *   A │ eth0 ═══ e… fabric_port ──► groups of A ─► MTU ─► groups of B ──► eth1 │ B
 *
 * A packet leaves straight into the receiver's namespace (bpf_redirect_peer): one backlog queue
 * fewer than through the veth. Checksum and segmentation state of the skb stay as they are. TTL and
 * hop limit stay too: a VPC hides its hops.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "answers.h"
#include "balancer.h"
#include "fabric.h"
#include "flows.h"
#include "maps.h"
#include "packet.h"
#include "router.h"
#include "toobig.h"
#include "transit.h"

#define VLAN_ID_MASK 0xfff

/* The first fragment leaves its ports for those that follow; pieces out of order are dropped. */
static __always_inline enum drop_reason join_fragments(__u32 number, struct packet *p)
{
	struct fragment_key key = {
		.port = number,
		.family = p->family,
		.source = p->source,
		.destination = p->destination,
		.id = p->fragment_id,
		.protocol = p->protocol,
	};
	struct fragment ports_of = {p->source_port, p->destination_port};
	struct fragment *known;

	if (!p->is_later) {
		bpf_map_update_elem(&fragments, &key, &ports_of, BPF_ANY);
		return DROP_NONE;
	}
	known = bpf_map_lookup_elem(&fragments, &key);
	if (!known)
		return DROP_FRAGMENT;
	p->source_port = known->source_port;
	p->destination_port = known->destination_port;
	return DROP_NONE;
}

static __always_inline enum drop_reason check_source(struct passage *way, const struct packet *p)
{
	const struct owner *owner = find_owner(way->in.port->vpc, p->family, &p->source);
	bool is_own = owner && owner->kind == OWNER_PORT && owner->port == way->in.number;

	if (!is_own && (way->in.port->flags & PORT_SOURCE_CHECK))
		return DROP_SOURCE_ADDRESS;
	way->sender = owner && owner->kind == OWNER_PORT ? owner->port : 0;
	return DROP_NONE;
}

/* No ENI has the destination: a custom route may lead there; a vSwitch's range does not. */
static __always_inline enum drop_reason find_next_hop(struct passage *way, const struct packet *p)
{
	struct route_key key = {
		.prefixlen = 8 * (sizeof(key) - sizeof(key.prefixlen)),
		.vpc = way->in.port->vpc,
		.family = p->family,
		.destination = p->destination,
	};
	const struct route *route = bpf_map_lookup_elem(&routes, &key);

	if (!route)
		return DROP_NO_ROUTE;
	way->out_number = route->port;
	return route->port ? DROP_NONE : DROP_NO_ADDRESS;
}

/* Cross the fabric: the sender's groups, the size, the receiver's groups. */
static __always_inline int cross(struct __sk_buff *skb, const struct passage *way,
				 const struct packet *p, __u32 receiver)
{
	struct view egress = {way->in.number, EGRESS, receiver};
	struct view ingress = {way->out_number, INGRESS, way->sender};
	enum drop_reason reason = pass_groups(skb, p, &egress);

	if (reason)
		return drop(way->in.number, reason);
	if (wire_bytes(skb, p) > path_mtu(way))
		return drop_too_big(skb, p, way->in.number, path_mtu(way));
	reason = pass_groups(skb, p, &ingress);
	if (reason)
		return drop(way->out_number, reason);
	return deliver(skb, way);
}

/* To the provider's services: past the groups, but remembered for the way back. */
static __always_inline int cross_to_services(struct __sk_buff *skb, const struct passage *way,
					     const struct packet *p)
{
	struct view service = {way->out_number, INGRESS, way->in.number};

	if (wire_bytes(skb, p) > path_mtu(way))
		return drop_too_big(skb, p, way->in.number, path_mtu(way));
	if (keep_flow(p, &service))
		return drop(way->in.number, DROP_FLOW_TABLE);
	return deliver(skb, way);
}

/* The gateway is behind the port as everything is: whoever probes the path asks it. */
static __always_inline int reach_gateway(struct __sk_buff *skb, const struct passage *way,
					 const struct packet *p)
{
	if (wire_bytes(skb, p) > way->in.port->mtu)
		return drop_too_big(skb, p, way->in.number, way->in.port->mtu);
	return answer_gateway(skb, &way->in, p);
}

/* To who listens in the load balancer's name: past the groups of backends, not of the client. */
static __always_inline int cross_to_proxy(struct __sk_buff *skb, struct passage *way,
					  const struct packet *p, __u32 services)
{
	struct view egress = {way->in.number, EGRESS, 0};
	enum drop_reason reason = pass_groups(skb, p, &egress);

	if (!reason && opens_connection(p) && !is_welcome(p, way->in.port->vpc))
		reason = DROP_ACCESS;
	if (reason)
		return drop(way->in.number, reason);
	way->out_number = services;
	way->out = bpf_map_lookup_elem(&ports, &way->out_number);
	if (!way->out)
		return drop(way->in.number, DROP_NO_BACKEND);
	return cross_to_services(skb, way, p);
}

/* To an address that is a load balancer's; it answers echo requests as the gateway does. */
static __always_inline int reach_balancer(struct __sk_buff *skb, struct passage *way,
					  const struct packet *p, __u32 services)
{
	if (is_icmp(p))
		return reach_gateway(skb, way, p);
	if (is_proxied(p, way->in.port->vpc))
		return cross_to_proxy(skb, way, p, services);
	return cross_to_backend(skb, way, p);
}

static __always_inline bool is_services(const struct owner *owner)
{
	return owner && (owner->kind == OWNER_SERVICES || owner->kind == OWNER_PROBER);
}

static __always_inline int route_packet(struct __sk_buff *skb, struct passage *way,
					const struct packet *p)
{
	const struct owner *owner = find_owner(way->in.port->vpc, p->family, &p->destination);
	enum drop_reason reason;

	if (owner && owner->kind == OWNER_GATEWAY)
		return reach_gateway(skb, way, p);
	if (owner && owner->kind == OWNER_BALANCER)
		return reach_balancer(skb, way, p, owner->port);
	way->out_number = owner ? owner->port : 0;
	reason = owner ? DROP_NONE : find_next_hop(way, p);
	if (reason)
		return drop(way->in.number, reason);
	if (way->out_number == way->in.number)
		return drop(way->in.number, DROP_HAIRPIN);
	way->out = bpf_map_lookup_elem(&ports, &way->out_number);
	if (!way->out)
		return drop(way->in.number, DROP_NO_ADDRESS);
	if (is_services(owner))
		return cross_to_services(skb, way, p);
	if (way->in.port->flags & PORT_BACKEND) {
		int sent = cross_from_backend(skb, way, p);

		if (sent >= 0)
			return sent;
	}
	if (way->out->flags & PORT_BACKEND && opens_connection(p))
		forget_answers(p, way->in.port->vpc);
	return cross(skb, way, p, owner ? way->out_number : 0);
}

/* Check all that does not depend on where the packet goes. */
static __always_inline enum drop_reason admit(struct passage *way, const struct ethhdr *eth,
					      struct packet *p)
{
	enum drop_reason reason;

	if (eth->h_dest[0] & 1 || is_multicast(p))
		return DROP_MULTICAST;
	if (!is_same_mac(eth->h_dest, ROUTER_MAC))
		return DROP_DESTINATION_MAC;
	reason = check_source(way, p);
	if (reason || !p->is_fragment)
		return reason;
	return join_fragments(way->in.number, p);
}

static __always_inline int receive_ip(struct __sk_buff *skb, struct passage *way,
				      const struct ethhdr *eth, enum family family)
{
	struct packet *p = blank_packet(PACKET_AT_HAND, skb->len);
	enum drop_reason reason = parse_packet(skb, sizeof(*eth), family, p);

	if (reason)
		return drop(way->in.number, reason);
	if (is_neighbour_discovery(p))
		return answer_nd(skb, p, way->in.number);
	reason = admit(way, eth, p);
	if (reason)
		return drop(way->in.number, reason);
	return route_packet(skb, way, p);
}

static __always_inline bool is_tagged(const struct __sk_buff *skb, const struct ethhdr *eth)
{
	return skb->vlan_present || eth->h_proto == bpf_htons(ETH_P_8021Q) ||
	       eth->h_proto == bpf_htons(ETH_P_8021AD);
}

/* The VLAN id of a tagged frame, 0 for another kind of tag. From a link it is beside the frame. */
static __always_inline __u32 read_vlan_id(struct __sk_buff *skb, const struct ethhdr *eth)
{
	__be16 tag;

	if (skb->vlan_present)
		return skb->vlan_proto == bpf_htons(ETH_P_8021Q) ? skb->vlan_tci & VLAN_ID_MASK : 0;
	if (eth->h_proto != bpf_htons(ETH_P_8021Q) ||
	    bpf_skb_load_bytes(skb, sizeof(*eth), &tag, sizeof(tag)))
		return 0;
	return bpf_ntohs(tag) & VLAN_ID_MASK;
}

/* Find the member that a tag stands for, and take the tag off. What is wrong counts at the trunk.
 */
static __always_inline enum drop_reason receive_tagged(struct __sk_buff *skb, struct arrival *in,
						       struct ethhdr *eth)
{
	__u32 trunk = in->number;
	__u32 vlan_id = read_vlan_id(skb, eth);

	if (!vlan_id || !find_arrival(in, trunk | vlan_id << PORT_LINK_BITS)) {
		in->number = trunk;
		return DROP_VLAN;
	}
	if (bpf_skb_vlan_pop(skb) || bpf_skb_load_bytes(skb, 0, eth, sizeof(*eth)))
		return DROP_MALFORMED;
	return is_tagged(skb, eth) ? DROP_VLAN : DROP_NONE;
}

/* Read the frame and its port; on DROP_NONE both are valid, and the frame has no tag. */
static __always_inline enum drop_reason receive_frame(struct __sk_buff *skb, struct arrival *in,
						      struct ethhdr *eth)
{
	enum drop_reason reason = DROP_NONE;

	if (!find_arrival(in, skb->ifindex))
		return DROP_UNKNOWN_PORT;
	if (bpf_skb_load_bytes(skb, 0, eth, sizeof(*eth)))
		return DROP_MALFORMED;
	if (is_tagged(skb, eth))
		reason = receive_tagged(skb, in, eth);
	if (reason)
		return reason;
	return is_same_mac(eth->h_source, in->port->mac) ? DROP_NONE : DROP_SOURCE_MAC;
}

SEC("tc")
int fabric_port(struct __sk_buff *skb)
{
	struct passage way = {};
	struct ethhdr eth = {}; /* before Linux 6.3 the verifier sees the compiler read it early */
	enum drop_reason reason = receive_frame(skb, &way.in, &eth);

	if (reason)
		return drop(way.in.number, reason);
	switch (bpf_ntohs(eth.h_proto)) {
	case ETH_P_ARP:
		return answer_arp(skb, &way.in);
	case ETH_P_IP:
		return receive_ip(skb, &way, &eth, FAMILY_V4);
	case ETH_P_IPV6:
		return receive_ip(skb, &way, &eth, FAMILY_V6);
	default:
		return drop(way.in.number, DROP_ETHERTYPE);
	}
}

/* The port of a service's client, as remembered when it asked; ICMP errors quote that packet. */
static __attribute__((noinline)) int find_client(struct __sk_buff *skb, const struct packet *p,
						 __u32 number)
{
	struct packet *quoted = blank_packet(PACKET_QUOTED, p ? p->end : 0);
	struct flow_key key = {};
	struct flow *flow;

	if (!p)
		return 0;
	if (is_icmp_error(p)) {
		if (parse_packet(skb, p->l4 + sizeof(struct icmp_start), p->family, quoted))
			return 0;
		make_flow_key(&key, number, INGRESS, quoted);
	} else {
		make_flow_key(&key, number, EGRESS, p);
	}
	flow = find_flow(&key);
	if (!flow)
		return 0;
	touch_flow(flow, EGRESS, p);
	return flow->peer;
}

/* The port that a probe goes to, 0 for what is none: from the prober, to an ENI of its VPC. */
static __always_inline __u32 find_probed(const struct passage *way, const struct packet *p)
{
	__u32 vpc = way->in.port->vpc;
	const struct owner *owner = find_owner(vpc, p->family, &p->source);

	if (!owner || owner->kind != OWNER_PROBER)
		return 0;
	owner = find_owner(vpc, p->family, &p->destination);
	return owner && owner->kind == OWNER_PORT ? owner->port : 0;
}

static __always_inline int answer_client(struct __sk_buff *skb, struct passage *way,
					 struct packet *p)
{
	enum drop_reason reason = p->is_fragment ? join_fragments(way->in.number, p) : DROP_NONE;

	if (reason)
		return drop(way->in.number, reason);
	way->out_number = find_client(skb, p, way->in.number);
	if (!way->out_number)
		way->out_number = find_probed(way, p);
	if (!way->out_number)
		return drop(way->in.number, DROP_NO_ROUTE);
	way->out = bpf_map_lookup_elem(&ports, &way->out_number);
	if (!way->out)
		return drop(way->in.number, DROP_NO_ADDRESS);
	if (wire_bytes(skb, p) > path_mtu(way))
		return drop_too_big(skb, p, way->in.number, path_mtu(way));
	return deliver(skb, way);
}

SEC("tc")
int fabric_services(struct __sk_buff *skb)
{
	struct passage way = {};
	struct packet *p = blank_packet(PACKET_AT_HAND, skb->len);
	struct ethhdr eth = {}; /* before Linux 6.3 the verifier sees the compiler read it early */
	enum drop_reason reason = receive_frame(skb, &way.in, &eth);

	if (!reason && eth.h_proto != bpf_htons(ETH_P_IP) && eth.h_proto != bpf_htons(ETH_P_IPV6))
		reason = DROP_ETHERTYPE;
	if (!reason)
		reason =
			parse_packet(skb, sizeof(eth),
				     eth.h_proto == bpf_htons(ETH_P_IP) ? FAMILY_V4 : FAMILY_V6, p);
	if (reason || !p)
		return drop(way.in.number, reason);
	return answer_client(skb, &way, p);
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
