// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * datapath.bpf.c - what becomes of the packets of this node's pods
 *
 * Hooks:  see each program; docs/design/ebpf.md has the table.
 * Reads:  endpoints, links, locals, host_stack, settings, policy_*.  Writes: flows, pieces, losses,
 *         events.
 * Oracles: policy/evaluate.py of policies, tests/support/choice_oracle.py and
 * translation_oracle.py of services; tests/bpf feeds both.
 *
 *   from_pod ─► leave ─┬─► of this node ─► enter ─► into the pod
 *                      ├─► the stack's: node, host_stack, too big, TTL
 *                      └─► by the ENI to the gateway
 *   from_eni ─► enter ─► into the pod              to_pod ─► enter ─► on to the pod
 *
 * `leave` is the sender's half of a passage, `enter` the receiver's; a packet between two pods of
 * the node has both in one program. What is nobody's business here goes on to the next filter.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"
#include "deliver.h"
#include "entry.h"
#include "passage.h"
#include "policy.h"
#include "quick.h"
#include "refuse.h"
#include "tables.h"
#include "tell.h"
#include "track.h"
#include "translate.h"

#define GO_ON         TC_ACT_UNSPEC   /* to the next filter, and to the stack */
#define ARP_SENDER_AT (ETH_HLEN + 14) /* RFC 826, with addresses of Ethernet and IPv4 */
#define METADATA_IPV4 0x646464c8      /* 100.100.100.200, help page "Instance metadata" */

static __always_inline __u32 family_of_protocol(__be16 protocol)
{
	if (protocol == bpf_htons(ETH_P_IP))
		return FAMILY_V4;
	return protocol == bpf_htons(ETH_P_IPV6) ? FAMILY_V6 : 0;
}

static __always_inline __u32 family_of(const struct __sk_buff *skb)
{
	return family_of_protocol(skb->protocol);
}

/* What policies deny is told as they were asked: with the endpoint behind a service. */
static __always_inline int lose_denied(struct __sk_buff *skb, const struct passage *at,
				       enum loss reason)
{
	const struct address *frontend = at->flow.frontend_port ? &at->flow.frontend : NULL;

	tell_loss(skb, at->endpoint, &at->opened, frontend, at->flow.frontend_port, reason);
	return TC_ACT_SHOT;
}

SUBPROGRAM int lose(struct __sk_buff *skb, const struct passage *at, enum loss reason)
{
	if (reason == LOSS_POLICY_EGRESS || reason == LOSS_POLICY_INGRESS)
		return lose_denied(skb, at, reason);
	tell_loss(skb, at->endpoint, at->sent.family ? &at->sent : NULL, NULL, 0, reason);
	return TC_ACT_SHOT;
}

static __always_inline int lose_unread(struct __sk_buff *skb, __u32 endpoint, enum loss reason)
{
	tell_loss(skb, endpoint, NULL, NULL, 0, reason);
	return TC_ACT_SHOT;
}

/* Multicast and broadcast. 240.0.0.0/4 is judged: Linux routes it as any other. */
static __always_inline bool is_for_many(const struct packet *p)
{
	__u32 first = bpf_ntohl(p->destination.word[0]);

	if (p->family == FAMILY_V6)
		return first >> 24 == 0xff;
	return first >> 28 == 0xe || first == 0xffffffff;
}

static __always_inline bool is_neighbour(const struct address *address, const struct endpoint *pod)
{
	return local_of(address, FAMILY_V6) == LOCAL_NODE ||
	       (pod && !is_none(address) && is_same(address, &pod->gateway6));
}

/* Neighbour discovery between global addresses: with the node or the gateway, who are on the link,
 * and never forwarded (RFC 4861, section 7.1). Else it could carry anything to anybody.
 */
static __always_inline bool is_among_neighbours(const struct packet *p, const struct endpoint *pod)
{
	return is_neighbour_discovery(p) && p->ttl == 255 &&
	       (is_neighbour(&p->destination, pod) || is_neighbour(&p->source, pod));
}

/* Talk of the link itself: neighbours, routers, groups. It leads nowhere else. */
static __always_inline bool is_of_link(const struct packet *p, const struct endpoint *pod)
{
	return is_for_many(p) || is_link_local(&p->destination, p->family) ||
	       is_link_local(&p->source, p->family) || is_none(&p->source) ||
	       is_among_neighbours(p, pod);
}

static __always_inline bool is_metadata(const struct packet *p)
{
	return p->family == FAMILY_V4 && p->destination.word[0] == bpf_htonl(METADATA_IPV4);
}

/* The node's own DNS cache has a link-local address. It never opens anything to a pod. */
SUBPROGRAM enum loss judge_to_cache(struct passage *at)
{
	if (!at || !is_for_host_stack(&at->p.destination, at->p.family))
		return LOSS_NONE;
	find_connection(at);
	return judge_to_node(at);
}

/*
 * A pod's own device leads to more than the node: siblings, groups of the VPC. What is of the link
 * is judged there, each packet as if it opened something; but for what no link can do without, and
 * the node's own DNS cache, which has a link-local address.
 */
SUBPROGRAM enum loss judge_on_link(struct passage *at, bool is_in)
{
	const struct address *other = is_in ? &at->p.source : &at->p.destination;

	if (is_neighbour_talk(&at->p))
		return LOSS_NONE;
	if (is_for_host_stack(other, at->p.family))
		return is_in ? LOSS_NONE : judge_to_cache(at);
	find_connection(at);
	return judge(at, is_in);
}

/* The sender's half: what it is part of, and whether the pod may send it. */
SUBPROGRAM enum loss leave(struct __sk_buff *skb, struct passage *at)
{
	const struct settings *node = node_settings();
	enum loss lost = LOSS_NONE;

	/* A pod reports errors about what it was sent, and not about what others were. */
	if (is_icmp_error(&at->p) && !is_same(&at->p.source, &at->quoted.destination))
		return LOSS_MALFORMED;
	if (node && node->flags & SETTING_SERVICES)
		lost = serve(skb, at, SCOPE_INSIDE);
	else
		find_connection(at);
	return lost ? lost : judge(at, false);
}

/* The receiver's half: whether the pod may get it. */
SUBPROGRAM enum loss enter(struct __sk_buff *skb, struct passage *at)
{
	enum loss lost;

	if (!at->opened.family)
		find_connection(at);
	lost = judge(at, true);
	if (lost || !(at->flow.flags & FLOW_AT_CLIENT))
		return lost;
	return answer(skb, at);
}

/* All ends that are here have been asked, by the same policies: what follows need not ask them. */
static __always_inline void approve(struct passage *at)
{
	__u32 generation = generation_of(at);

	if (at->flow.approved == generation)
		return;
	at->flow.approved = generation;
	at->is_changed = true;
}

static __always_inline bool may_go_past_stack(const struct __sk_buff *skb, const struct passage *at,
					      __u16 mtu)
{
	return at->p.ttl > 1 && fits(skb, &at->p, mtu);
}

/* What was led to a backend becomes again what the client has sent. */
static __always_inline enum loss take_back(struct __sk_buff *skb, struct passage *at)
{
	struct flow_tuple asked;

	if (!is_translated(&at->flow) || at->standing == STANDING_BACK)
		return LOSS_NONE;
	set_asked(&asked, at);
	return rewrite(skb, &at->p, &asked);
}

/* Lose the packet; LOSS_NONE: it is now what its client is to be told, and to be sent back. */
SUBPROGRAM enum loss turn_into_refusal(struct __sk_buff *skb, struct passage *at, enum loss reason)
{
	if (!at)
		return LOSS_KERNEL;
	lose(skb, at, reason);
	if (!is_to_be_told(reason) || (is_by_policy(reason) && take_back(skb, at)))
		return reason;
	return refuse(skb, at, reason);
}

/* A pod is told straight into its namespace, who is outside by where the packet came from. */
SUBPROGRAM int lose_and_tell(struct __sk_buff *skb, struct passage *at, enum loss reason)
{
	__u32 ifindex = skb->ifindex;

	if (turn_into_refusal(skb, at, reason))
		return TC_ACT_SHOT;
	return bpf_map_lookup_elem(&links, &ifindex) ? bpf_redirect_peer(ifindex, 0)
						     : bpf_redirect(ifindex, 0);
}

/* Through the queue of the pod's link, where `to_pod` does the receiver's half. */
static __always_inline int enqueue_for(struct __sk_buff *skb, const struct passage *at,
				       const struct endpoint *to)
{
	enum loss lost = age(skb, at->p.family);

	if (!lost)
		lost = address_frame(skb, to->pod_mac, to->link_mac);
	return lost ? lose(skb, at, lost) : bpf_redirect(to->link, 0);
}

/* Into the namespace of a pod that is here. */
SUBPROGRAM int put_into(struct __sk_buff *skb, struct passage *at, __u32 number,
			const struct endpoint *to)
{
	bool is_by_stack = to->kind == ENDPOINT_EXCLUSIVE || !may_go_past_stack(skb, at, to->mtu);
	bool is_queued = to->kind == ENDPOINT_IPVLAN || to->flags & ENDPOINT_QUEUED;
	enum loss lost = LOSS_NONE;

	/* Who does the receiver's half finds here what was translated. */
	if ((is_by_stack || is_queued) && at->flow.frontend_port)
		lost = remember(skb, at);
	if (lost)
		return lose(skb, at, lost);
	if (is_by_stack)
		return GO_ON;
	if (is_queued)
		return enqueue_for(skb, at, to);
	at->endpoint = number;
	lost = enter(skb, at);
	if (lost)
		return lose_and_tell(skb, at, lost);
	approve(at);
	lost = remember(skb, at);
	if (!lost)
		lost = age(skb, at->p.family);
	if (!lost)
		lost = address_frame(skb, to->pod_mac, to->link_mac);
	return lost ? lose(skb, at, lost) : bpf_redirect_peer(to->link, 0);
}

/* Was the question forwarded, and perhaps translated, by the stack? Then the answer is its, too. */
static __always_inline bool is_answer_by_stack(const struct passage *at)
{
	return at->standing == STANDING_BACK && at->flow.flags & FLOW_BY_UPLINK;
}

/* Out to the VPC by the ENI. Where the question came in by the uplink, the stack knows why. */
SUBPROGRAM int put_out(struct __sk_buff *skb, struct passage *at, const struct endpoint *from)
{
	enum loss lost;

	approve(at);
	lost = remember(skb, at);
	if (lost)
		return lose(skb, at, lost);
	if (is_answer_by_stack(at) || !from->eni || !may_go_past_stack(skb, at, from->mtu))
		return GO_ON;
	lost = age(skb, at->p.family);
	if (lost)
		return lose(skb, at, lost);
	return send_by(from->eni, at->p.family, from->gateway4, &from->gateway6);
}

/* What a pod sent is read, and may leave: where to? */
static __always_inline int route(struct __sk_buff *skb, struct passage *at,
				 const struct endpoint *from)
{
	__u32 number = local_of(&at->p.destination, at->p.family);
	const struct endpoint *to = number && number != LOCAL_NODE ? endpoint_of(number) : NULL;
	enum loss lost;

	if (to && !is_answer_by_stack(at))
		return put_into(skb, at, number, to);
	if (number || is_for_host_stack(&at->p.destination, at->p.family) ||
	    (from->flags & ENDPOINT_NO_METADATA && is_metadata(&at->p))) {
		lost = remember(skb, at);
		return lost ? lose(skb, at, lost) : GO_ON;
	}
	return put_out(skb, at, from);
}

/* On to a backend elsewhere, or to a client: both are beyond the uplink. */
static __always_inline int put_by_uplink(struct __sk_buff *skb, const struct passage *at,
					 const struct settings *node)
{
	enum loss lost =
		fits(skb, &at->p, node->uplink_mtu) ? age(skb, at->p.family) : LOSS_TOO_BIG;

	if (lost)
		return lose(skb, at, lost);
	return send_by(node->uplink, at->p.family, node->gateway4, &node->gateway6);
}

/* A pod answers who came by the uplink, or a process of the node that asked for its service. */
SUBPROGRAM int answer_outside(struct __sk_buff *skb, struct passage *at)
{
	const struct settings *node = node_settings();
	enum loss lost = answer(skb, at);

	if (!lost)
		lost = remember(skb, at);
	if (lost || !node)
		return lose(skb, at, lost ? lost : LOSS_KERNEL);
	if (local_of(&at->p.destination, at->p.family) == LOCAL_NODE)
		return GO_ON;
	return put_by_uplink(skb, at, node);
}

/* tc ingress of the node's end of a pod's veth, after the guard. */
SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const __u32 *number = bpf_map_lookup_elem(&links, &ifindex);
	const struct endpoint *from = number ? endpoint_of(*number) : NULL;
	__u32 family = family_of(skb);
	struct passage *at;
	enum loss lost;
	int quick;

	if (!family)
		return GO_ON;
	if (from) {
		quick = go_quickly(skb, family, *number);
		if (quick != NOT_QUICK)
			return quick;
	}
	at = new_passage();
	if (!from || !at)
		return lose_unread(skb, 0, LOSS_UNKNOWN_POD);
	at->endpoint = *number;
	lost = read_packet(skb, at, family);
	if (lost)
		return lose(skb, at, lost);
	if (is_of_link(&at->p, NULL)) {
		lost = judge_to_cache(at);
		return lost ? lose_and_tell(skb, at, lost) : GO_ON;
	}
	lost = leave(skb, at);
	if (lost)
		return lose_and_tell(skb, at, lost);
	return is_answer_at_node(at) ? answer_outside(skb, at) : route(skb, at, from);
}

/*
 * What the stack forwards from the uplink is answered by it: only the stack knows why. Where
 * somebody else does services, so is what it forwards from another pod: that one asked for one.
 */
static __always_inline void mark_way_in(const struct __sk_buff *skb, struct passage *at)
{
	const struct endpoint *to = endpoint_of(at->endpoint);
	const struct settings *node = node_settings();
	__u32 way = skb->ingress_ifindex;

	if (!node || !to || !way || at->standing != STANDING_NEW)
		return;
	if (way == node->uplink || (!(node->flags & SETTING_SERVICES) && way != to->eni))
		at->flow.flags |= FLOW_BY_UPLINK;
}

/* Where somebody else does services: what is of no connection may be an answer to turn back. */
static __always_inline bool may_be_translated(struct passage *at)
{
	const struct settings *node = node_settings();

	if (!node || node->flags & SETTING_SERVICES || opens_tcp(&at->p))
		return false;
	find_connection(at);
	return at->standing == STANDING_NEW;
}

/* tc egress of the node's end of a pod's veth: what the stack sends to the pod. */
SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const __u32 *number = bpf_map_lookup_elem(&links, &ifindex);
	__u32 family = family_of(skb);
	struct passage *at;
	enum loss lost;

	if (!family)
		return GO_ON;
	at = new_passage();
	if (!number || !at)
		return lose_unread(skb, 0, LOSS_UNKNOWN_POD);
	at->endpoint = *number;
	lost = read_packet(skb, at, family);
	if (lost)
		return lose(skb, at, lost);
	/* What was forwarded is not of the link, whatever its addresses say. */
	if (!skb->ingress_ifindex && is_of_link(&at->p, NULL))
		return GO_ON;
	lost = enter(skb, at);
	mark_way_in(skb, at);
	if (!lost)
		lost = remember(skb, at);
	return lost ? lose(skb, at, lost) : GO_ON;
}

/* What a child of the ENI answers who came by the uplink: it leaves its pod for the node. */
static __always_inline int turn_back(struct __sk_buff *skb, struct passage *at)
{
	find_connection(at);
	return is_answer_at_node(at) ? answer_outside(skb, at) : GO_ON;
}

/* Ingress of an ENI that pods share. What is for no pod is the stack's. */
SEC("tc")
int from_eni(struct __sk_buff *skb)
{
	__u32 family = family_of(skb);
	const struct endpoint *to;
	struct passage *at;
	__u32 number;
	enum loss lost;
	int quick;

	/* Tagged: not for the ENI, but for a member of it. Its program takes the tag off first. */
	if (!family || skb->vlan_present)
		return GO_ON;
	quick = go_quickly(skb, family, 0);
	if (quick != NOT_QUICK)
		return quick;
	at = new_passage();
	if (!at)
		return GO_ON;
	lost = read_packet(skb, at, family);
	if (lost == LOSS_MALFORMED)
		return GO_ON; /* nobody knows for whom: `to_pod` sees it if it is for a pod */
	number = local_of(&at->p.destination, family);
	to = number && number != LOCAL_NODE ? endpoint_of(number) : NULL;
	if (!to)
		return lost ? GO_ON : turn_back(skb, at);
	if (to->kind == ENDPOINT_IPVLAN && to->eni == skb->ifindex)
		return GO_ON; /* the ENI itself leads to its children */
	if (!lost && may_be_translated(at))
		return GO_ON;
	at->endpoint = number;
	return lost ? lose(skb, at, lost) : put_into(skb, at, number, to);
}

/* What came by the uplink has the ends that it goes on with. */
static __always_inline int lead_in(struct __sk_buff *skb, struct passage *at,
				   const struct settings *node)
{
	__u32 number = local_of(&at->p.destination, at->p.family);
	const struct endpoint *to = number && number != LOCAL_NODE ? endpoint_of(number) : NULL;
	enum loss lost;

	if (to && to->kind != ENDPOINT_EXCLUSIVE)
		return put_into(skb, at, number, to);
	lost = remember(skb, at);
	if (lost)
		return lose(skb, at, lost);
	/* By the second leg, where the stack would put the node's address for the client's. */
	if (to && to->link && may_go_past_stack(skb, at, to->mtu))
		return enqueue_for(skb, at, to);
	return number ? GO_ON : put_by_uplink(skb, at, node);
}

/* Ingress of the uplink: who asks this node from outside, and what comes back to it. */
SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	const struct settings *node = node_settings();
	bool is_ours = node && node->flags & SETTING_NODE_IN;
	__u32 family = family_of(skb);
	struct passage *at = family && is_ours ? new_passage() : NULL;
	enum loss lost;
	int verdict;

	/* What cannot be read is for nobody that is known here: the stack's. */
	if (!at || read_packet(skb, at, family) || is_of_link(&at->p, NULL))
		return GO_ON;
	lost = come_in(skb, at);
	if (!lost)
		return is_at_node(at) ? lead_in(skb, at, node) : GO_ON;
	verdict = lose(skb, at, lost);
	return is_refused_by_stack(at, lost) ? GO_ON : verdict;
}

/* What leaves by the uplink is for a pod of this node: a process asked for its service. */
static __always_inline int turn_to(struct __sk_buff *skb, const struct passage *at)
{
	__u32 number = local_of(&at->p.destination, at->p.family);
	const struct endpoint *to = number && number != LOCAL_NODE ? endpoint_of(number) : NULL;

	return to && to->link ? enqueue_for(skb, at, to) : GO_ON;
}

/* Egress of the uplink: what processes of the node answer to who asked from outside. */
SEC("tc")
int to_uplink(struct __sk_buff *skb)
{
	const struct settings *node = node_settings();
	bool is_ours = node && node->flags & SETTING_NODE_IN;
	__u32 family = family_of(skb);
	struct passage *at = family && is_ours ? new_passage() : NULL;
	enum loss lost;

	if (!at || read_packet(skb, at, family) || is_of_link(&at->p, NULL))
		return GO_ON;
	lost = go_out(skb, at, node->flags & SETTING_NODE_OUT);
	if (lost)
		return lose(skb, at, lost);
	if (!is_at_node(at))
		return GO_ON;
	lost = remember(skb, at);
	return lost ? lose(skb, at, lost) : turn_to(skb, at);
}

/* Whose device this is inside a pod: the program before this one has said. */
static __always_inline __u32 stamped(const struct __sk_buff *skb)
{
	return skb->cb[1] == STAMP ? skb->cb[0] : 0;
}

/* What the frame says it is. A process that writes whole frames can have `protocol` say otherwise.
 */
static __always_inline __be16 written_protocol(struct __sk_buff *skb)
{
	__be16 protocol = 0;

	bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_proto), &protocol, sizeof(protocol));
	return protocol;
}

/* ARP: does the pod claim no address but its own? A probe (RFC 5227) has none. */
static __always_inline bool is_own_claim(struct __sk_buff *skb, const struct endpoint *from)
{
	__be32 sender;

	return !bpf_skb_load_bytes(skb, ARP_SENDER_AT, &sender, sizeof(sender)) &&
	       (!sender || sender == from->v4);
}

/* Does the pod speak for itself? On the node's side of a veth the guard asks that. */
static __always_inline bool is_own(const struct passage *at, const struct endpoint *from)
{
	const struct packet *p = &at->p;

	if (p->family == FAMILY_V4)
		return from->v4 && p->source.word[0] == from->v4;
	if (is_same(&p->source, &from->v6))
		return !is_none(&p->source);
	return (is_none(&p->source) || is_link_local(&p->source, FAMILY_V6)) &&
	       (is_multicast(p) || is_link_local(&p->destination, FAMILY_V6));
}

/* On an IPvlan child, a frame to its own hardware address goes to a sibling or to the node. */
static __always_inline int keep_on_node(struct __sk_buff *skb, const struct passage *at,
					const struct endpoint *from)
{
	enum loss lost = address_frame(skb, from->pod_mac, from->pod_mac);

	return lost ? lose(skb, at, lost) : GO_ON;
}

/* Back into the pod. A mark says who has sent it, which no packet from outside can have. */
static __always_inline int send_back_in(struct __sk_buff *skb)
{
	skb->mark = STAMP;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/*
 * By a service to itself, with an ENI of its own: the VPC returns no frame to where it came from.
 * It was judged and translated for both ends when it comes back in.
 */
static __always_inline int send_to_itself(struct __sk_buff *skb, struct passage *at)
{
	__u8 mac[ETH_ALEN] = {};
	enum loss lost = enter(skb, at);

	if (!lost && bpf_skb_load_bytes(skb, ETH_ALEN, mac, sizeof(mac)))
		lost = LOSS_KERNEL;
	if (!lost)
		lost = address_frame(skb, mac, mac);
	return lost ? lose(skb, at, lost) : send_back_in(skb);
}

/* Out of a device inside the pod: where the device itself does not lead the right way. */
static __always_inline int route_inside(struct __sk_buff *skb, struct passage *at,
					const struct endpoint *from)
{
	__u32 number = local_of(&at->p.destination, at->p.family);
	bool is_for_node = number == LOCAL_NODE || is_answer_at_node(at) ||
			   is_for_host_stack(&at->p.destination, at->p.family);
	const struct address leg6 = {{bpf_htonl(0xfe800000), 0, 0, bpf_htonl(1)}};

	if (from->kind == ENDPOINT_IPVLAN)
		return number || is_for_node ? keep_on_node(skb, at, from) : GO_ON;
	if (is_for_node && from->leg)
		return send_by(from->leg, at->p.family, bpf_htonl(0xa9fe0101), &leg6);
	return number && number == at->endpoint ? send_to_itself(skb, at) : GO_ON;
}

/* What the node has of the link's addresses is on no link of a child's. */
static __always_inline int send_on_link(struct __sk_buff *skb, struct passage *at,
					const struct endpoint *from)
{
	enum loss lost = judge_on_link(at, false);

	if (lost)
		return lose(skb, at, lost);
	return from->kind == ENDPOINT_IPVLAN && is_for_host_stack(&at->p.destination, at->p.family)
		       ? keep_on_node(skb, at, from)
		       : GO_ON;
}

/* tc egress of a pod's own device, inside the pod: an IPvlan child, or a whole ENI. */
SEC("tc")
int out_of_pod(struct __sk_buff *skb)
{
	__u32 number = stamped(skb);
	const struct endpoint *from = endpoint_of(number);
	__be16 protocol = written_protocol(skb);
	__u32 family = family_of_protocol(protocol);
	struct passage *at;
	enum loss lost;

	if (skb->vlan_present || !(family || protocol == bpf_htons(ETH_P_ARP)))
		return lose_unread(skb, number, LOSS_VLAN);
	if (!family)
		return from && !is_own_claim(skb, from) ? lose_unread(skb, number, LOSS_SOURCE)
							: GO_ON;
	at = new_passage();
	if (!from || !at)
		return lose_unread(skb, 0, LOSS_UNKNOWN_POD);
	at->endpoint = number;
	lost = read_packet(skb, at, family);
	if (!lost && !is_own(at, from))
		lost = LOSS_SOURCE;
	if (lost)
		return lose(skb, at, lost);
	if (is_of_link(&at->p, from))
		return send_on_link(skb, at, from);
	lost = leave(skb, at);
	/* Now that it is where it goes: a service may have led it there. */
	if (!lost && from->flags & ENDPOINT_NO_METADATA && is_metadata(&at->p))
		lost = LOSS_METADATA;
	if (!lost)
		lost = remember(skb, at);
	if (!lost)
		return route_inside(skb, at, from);
	return turn_into_refusal(skb, at, lost) ? TC_ACT_SHOT : send_back_in(skb);
}

/* tc ingress of a pod's own device, inside the pod. */
SEC("tc")
int into_pod(struct __sk_buff *skb)
{
	const struct endpoint *to = endpoint_of(stamped(skb));
	__u32 family = family_of(skb);
	struct passage *at;
	enum loss lost;

	if (!family)
		return GO_ON;
	if (skb->mark == STAMP) {
		skb->mark = 0;
		return GO_ON; /* from the pod itself, or about what it sent: `send_back_in` */
	}
	at = new_passage();
	if (!at || !to)
		return lose_unread(skb, 0, LOSS_UNKNOWN_POD);
	at->endpoint = stamped(skb);
	lost = read_packet(skb, at, family);
	if (lost)
		return lose(skb, at, lost);
	if (is_of_link(&at->p, to)) {
		lost = judge_on_link(at, true);
	} else {
		lost = enter(skb, at);
		if (!lost)
			lost = remember(skb, at);
	}
	return lost ? lose(skb, at, lost) : GO_ON;
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
