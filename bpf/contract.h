/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * contract.h - every struct and number that the data path's programs and the agent both read
 *
 * The agent's half is src/terway/linux/ebpf/contract.py; tests/bpf/test_datapath_contract.py
 * compares the two, field by field, against the BTF of the built object. Change them together, and
 * raise LAYOUT when a struct or a map changes that outlives a terwayd.
 *
 * No struct has padding. Addresses: `struct address` of fabric.h, the family beside it.
 */
#ifndef TERWAY_CONTRACT_H
#define TERWAY_CONTRACT_H

#include <linux/types.h>

#include "fabric.h"

#define LAYOUT 1 /* of the maps that are pinned: another number is another folder of pins */

/* Why a packet went no further. Append only: dashboards know the numbers. */
enum loss {
	LOSS_NONE = 0,
	LOSS_MALFORMED,      /* headers are cut off or contradict each other */
	LOSS_SOURCE,         /* not an address, or not the MAC, of the pod */
	LOSS_VLAN,           /* a VLAN tag where there is no trunk */
	LOSS_POLICY_EGRESS,  /* the sender's policies do not allow it */
	LOSS_POLICY_INGRESS, /* the receiver's policies do not allow it */
	LOSS_UNKNOWN_FLOW,   /* belongs to no connection, at a pod that policies restrict */
	LOSS_NO_BACKEND,     /* the service has no endpoint that may answer */
	LOSS_BACKEND_GONE,   /* the connection's endpoint went */
	LOSS_SOURCE_RANGE,   /* not within the service's loadBalancerSourceRanges */
	LOSS_NO_PORT,        /* no port is left to translate the source to */
	LOSS_FRAGMENT,       /* a later fragment whose first one was not seen */
	LOSS_TTL,            /* it has travelled too far */
	LOSS_TOO_BIG,        /* larger than the MTU, and may not be cut */
	LOSS_METADATA,       /* the pod may not reach the metadata service */
	LOSS_UNKNOWN_POD,    /* the link is the data path's, and nobody said whose */
	LOSS_TABLE_FULL,     /* a map had no room for what must be remembered */
	LOSS_KERNEL,         /* a helper refused to change the packet */
	LOSSES,              /* how many there are */
};

/* ---- who is here ------------------------------------------------------------------------- */

enum endpoint_kind {
	ENDPOINT_VETH = 1,  /* programs at the node's end of the veth */
	ENDPOINT_IPVLAN,    /* programs inside the pod, on the child */
	ENDPOINT_EXCLUSIVE, /* programs inside the pod, on the ENI; and at its second leg */
};

#define ENDPOINT_NO_METADATA 0x1
#define ENDPOINT_QUEUED      0x2 /* what comes to the pod waits in the queue of `link` */

/* One interface of a pod of this node, by the number that the agent gave it (`endpoints`). */
struct endpoint {
	struct address v6; /* all zero: none */
	struct address gateway6;
	__be32 v4; /* zero: none */
	__be32 gateway4;
	__u32 link; /* node: ifindex of the veth's host end; of the ipvlan host child; 0: none */
	__u32 eni;  /* node: ifindex of the ENI it shares; 0: it has one to itself */
	__u32 leg;  /* inside the pod: ifindex of an exclusive pod's second leg; 0: none */
	__u32 flags;
	__u8 pod_mac[6];  /* of the pod's end */
	__u8 link_mac[6]; /* of `link` */
	__u16 kind;
	__u16 mtu; /* of the ENI, bytes of IP */
};
_Static_assert(sizeof(struct endpoint) == 72, "endpoint has padding");

/* Key of maps by address. */
struct address_of {
	struct address address;
	__u32 family;
};
_Static_assert(sizeof(struct address_of) == 20, "address_of has padding");

#define LOCAL_NODE 0xffffffff /* in `locals`: not a pod, the node itself */

/* Prefixes that are for the node's own stack (`host_stack`): bits that count after this field. */
struct prefix_of {
	__u32 prefixlen;
	__u32 family; /* whole: 32 bits more than the prefix of the address */
	struct address address;
};
_Static_assert(sizeof(struct prefix_of) == 24, "prefix_of has padding");

#define SETTING_SERVICES 0x1 /* ours; else the service range is in `host_stack` */
#define SETTING_POLICY   0x2
#define SETTING_NODE_IN  0x4  /* who asks from outside, and the node's own processes: ours, too */
#define SETTING_NODE_OUT 0x8  /* and those processes at eth0, not at their sockets */
#define SETTING_REJECT   0x10 /* who is denied by policies is told, where that can be done */

/* The only entry of `settings`. */
struct settings {
	struct address node6; /* the node's own addresses, those of its default routes */
	__be32 node4;
	__u32 flags;
	__u32 uplink;    /* ifindex */
	__be32 gateway4; /* of the uplink */
	struct address gateway6;
	__u8 uplink_mac[6];
	__u16 uplink_mtu;
};
_Static_assert(sizeof(struct settings) == 56, "settings has padding");

#define STAMP                                                                                      \
	0x7e2a57a9 /* in cb[1]: cb[0] is an endpoint's number, and no process has put it there */

/* ---- connections ------------------------------------------------------------------------- */

/* Key of `pieces`: a packet that came in fragments, and its ports. */
struct piece_key {
	struct address source;
	struct address destination;
	__be32 id;
	__u8 protocol;
	__u8 family;
	__u16 hook; /* whose it was at: the lower bits of the endpoint's number; 0: no pod's */
};
_Static_assert(sizeof(struct piece_key) == 40, "piece_key has padding");

struct piece {
	__be16 source_port;
	__be16 destination_port;
};
_Static_assert(sizeof(struct piece) == 4, "piece has padding");

/*
 * A packet's ends, after translation; an echo request's identifier is its source_port. As the key
 * of `flows` the lesser end is first, so that both directions are one entry and found by one look.
 */
struct flow_tuple {
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 family;
	__u16 zero;
};
_Static_assert(sizeof(struct flow_tuple) == 40, "flow_tuple has padding");

#define FLOW_OPENER_FIN 0x1
#define FLOW_OTHER_FIN  0x2
#define FLOW_RST        0x4
#define FLOW_ANSWERED   0x8
#define FLOW_AT_CLIENT  0x10  /* translated where the client is: a pod of this node */
#define FLOW_AT_NODE    0x20  /* translated where it came into the node */
#define FLOW_SOURCE     0x40  /* the source was translated, too: `client`, `client_port` */
#define FLOW_BY_UPLINK  0x80  /* came in by the uplink: answers leave by it */
#define FLOW_HAIRPIN    0x100 /* a pod to itself, by a service */
#define FLOW_SECOND     0x200 /* the second end of the key opened it */

/*
 * What is remembered of a connection (`flows`). An end that is an endpoint of this node is told
 * from whoever has its address later; numbers of endpoints have 16 bits here.
 */
struct flow_state {
	__u64 seen_ns;
	struct address frontend; /* what the client talks to; zero port and address: itself */
	struct address client;   /* with FLOW_SOURCE: who it is, before translation */
	__be16 frontend_port;
	__be16 client_port;
	__u32 flags;
	__u32 backend;  /* number, of `backends`; 0: none */
	__u32 approved; /* by the policies of this generation, at each end that is here; 0: not yet
			 */
	__u32 opener;   /* endpoint; 0: it is not here */
	__u32 other;
};
_Static_assert(sizeof(struct flow_state) == 64, "flow_state has padding");

/* Which backend a client's connection to a frontend has: by what the client sends (`choices`). */
struct choice {
	__u64 seen_ns;
	__u32 backend;
	__be16 source_port; /* the client's, after translation */
	__u16 zero;
};
_Static_assert(sizeof(struct choice) == 16, "choice has padding");

/* ---- policy ------------------------------------------------------------------------------ */

/*
 * A number that is to change with others at once. What `policy_generation` says decides, once for
 * each packet: from generation `since` on it is `after`, until then it was `before`.
 */
struct policy_turn {
	__u32 since;
	__u32 before;
	__u32 after;
};
_Static_assert(sizeof(struct policy_turn) == 12, "policy_turn has padding");

/* The rule sets of an endpoint; 0: nothing restricts it. The fields of Sides, compiled.py. */
struct sides {
	__u32 ingress;
	__u32 egress;
	__u32 own_node;
	__u32 itself;
};
_Static_assert(sizeof(struct sides) == 16, "sides has padding");

/* In `policy_sides`, by endpoint: see policy_turn. */
struct policy_sides {
	__u32 since;
	struct sides before;
	struct sides after;
};
_Static_assert(sizeof(struct policy_sides) == 36, "policy_sides has padding");

#define CLASS_NOBODY 0 /* whom no rule names; in `policy_verdicts`: all classes not there */
#define CLASS_NONE   0xffffffff /* in `policy_hosts`: no host of its own; the nets are asked */

/* Key of `policy_nets`: prefixes of one generation of nets, by family. */
struct policy_net {
	__u32 prefixlen; /* whole: 64 bits more than the prefix of the address */
	__u32 nets;      /* the generation, of which `policy_nets_turn` has the one that counts */
	__u32 family;
	struct address address;
};
_Static_assert(sizeof(struct policy_net) == 28, "policy_net has padding");

/* Key of `policy_verdicts`. The value: the protocols that are allowed as a whole, and the number of
 * a set of ports that are allowed besides, 0 if none is.
 */
struct policy_pair {
	__u32 rule_set;
	__u32 class_id;
};
_Static_assert(sizeof(struct policy_pair) == 8, "policy_pair has padding");

#define PORTS_TCP   0x80000000
#define PORTS_UDP   0x40000000
#define PORTS_SCTP  0x20000000
#define PORTS_OTHER 0x10000000 /* ICMP, and whatever has no ports */
#define PORTS_SET   0x0fffffff

/* Key of `policy_ports`: 256 ports of a set, those with one upper byte. No entry: none of them. */
struct policy_page_of {
	__u32 ports;
	__u8 protocol;
	__u8 upper;
	__u16 zero;
};
_Static_assert(sizeof(struct policy_page_of) == 8, "policy_page_of has padding");

/* A bit for each lower byte, the lowest first. */
struct policy_page {
	__u32 bits[8];
};
_Static_assert(sizeof(struct policy_page) == 32, "policy_page has padding");

/* ---- services ---------------------------------------------------------------------------- */

#define FRONTEND_ANY_NODE_ADDRESS 0 /* of a node port: family set, address zero */

/* Key of `frontends`. */
struct frontend_key {
	struct address address; /* zero: any address of this node (node ports, host ports) */
	__be16 port;
	__u8 protocol;
	__u8 family;
};
_Static_assert(sizeof(struct frontend_key) == 20, "frontend_key has padding");

#define FRONTEND_AFFINITY      0x1 /* sessionAffinity ClientIP */
#define FRONTEND_SOURCE_RANGES 0x2 /* `source_ranges` has entries of this service */
#define FRONTEND_EXTERNAL      0x4 /* also for who is outside: node port, LB, external IP */
#define FRONTEND_LOCAL_OUTSIDE 0x8 /* externalTrafficPolicy Local: the source stays */
#define FRONTEND_NODE_PORT     0x10
#define FRONTEND_HOST_PORT     0x20

/* What an address and port of a service lead to. Sets of backends are by number (`sets`). */
struct frontend {
	__u32 service; /* number, of a port of a service in one family */
	__u32 inside;  /* the set for pods and processes of the cluster; 0: no endpoint */
	__u32 outside; /* the set for who comes from outside; 0: no endpoint */
	__u32 affinity_s;
	__u32 flags;
};
_Static_assert(sizeof(struct frontend) == 20, "frontend has padding");

#define SET_INLINE 16 /* up to so many are chosen among by rendezvous, above by a Maglev table */

/* A set of backends. `count` above SET_INLINE: `slots[table ...]`, `size` of them, is the table. */
struct backend_set {
	__u32 count;
	__u32 table;
	__u32 size;
	__u32 backend[SET_INLINE];
};
_Static_assert(sizeof(struct backend_set) == 76, "backend_set has padding");

#define BACKEND_TERMINATING 0x1 /* goes on with what it has, and gets nothing new */
#define BACKEND_LINE_SHIFT  8   /* the flags above: the number of its service, as in `frontend` */

struct backend {
	struct address address;
	__be16 port;
	__u8 protocol;
	__u8 family;
	__u32 flags;
};
_Static_assert(sizeof(struct backend) == 24, "backend has padding");

/* Key of `affinities`: which backend a client had last. */
struct affinity_key {
	struct address client;
	__u32 family;
	__u32 service;
};
_Static_assert(sizeof(struct affinity_key) == 24, "affinity_key has padding");

struct affinity {
	__u64 seen_ns;
	__u32 backend;
	__u32 zero;
};
_Static_assert(sizeof(struct affinity) == 16, "affinity has padding");

/* Key of `source_ranges`. */
struct source_range {
	__u32 prefixlen; /* 64 bits more than the prefix of the address */
	__u32 service;
	__u32 family;
	struct address address;
};
_Static_assert(sizeof(struct source_range) == 28, "source_range has padding");

/* ---- what is seen ------------------------------------------------------------------------ */

/* Key of `losses`, a per-CPU map. Endpoint 0: nobody's. */
struct loss_key {
	__u32 endpoint;
	__u32 reason;
};
_Static_assert(sizeof(struct loss_key) == 8, "loss_key has padding");

struct loss_count {
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct loss_count) == 16, "loss_count has padding");

enum happening {
	HAPPENED_LOSS = 1, /* `reason` */
	HAPPENED_OPEN,     /* a connection was opened; for a service: `frontend` */
	HAPPENED_CLOSE,    /* by FIN of both, or RST */
};

#define WATCH_LOSSES 0x1
#define WATCH_FLOWS  0x2

/* The only entry of `watching`: who watches, and how much. All zero: nobody. */
struct watching {
	__u32 flags;
	__u32 one_in;     /* of flows, one in so many is told */
	__u32 per_second; /* messages at most */
	__u32 endpoint;   /* what happens there, or at the addresses below, alone; 0: everything */
	struct address v6;
	__be32 v4;
};
_Static_assert(sizeof(struct watching) == 36, "watching has padding");

/* One message of the ring `events`. */
struct event {
	__u64 at_ns; /* CLOCK_MONOTONIC */
	struct flow_tuple flow;
	struct address frontend;
	__be16 frontend_port;
	__u8 happening;
	__u8 reason;
	__u32 endpoint;
	__u32 ifindex;
	__u32 bytes;
};
_Static_assert(sizeof(struct event) == 80, "event has padding");

/* The only entry of `telling`: how many messages the present second has had. */
struct telling {
	__u64 second; /* of CLOCK_MONOTONIC */
	__u64 told;
};
_Static_assert(sizeof(struct telling) == 16, "telling has padding");

#endif
