/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fabric.h - every struct and number that the fabric's program and the lab both read
 *
 * The lab's half is src/terway/lab/vpc/contract.py; tests/bpf/test_contract.py compares the two,
 * field by field, against the BTF of the built object. Change them together.
 *
 * No struct has padding: each is laid out so that the compiler adds none, and says so below.
 */
#ifndef TERWAY_FABRIC_H
#define TERWAY_FABRIC_H

#include <linux/types.h>

/* Why a packet went no further. Append only: readers know the numbers. */
enum drop_reason {
	DROP_NONE = 0,
	DROP_UNKNOWN_PORT,    /* the link is not, or no longer, a port */
	DROP_MALFORMED,       /* headers are cut off or contradict each other */
	DROP_VLAN,            /* a VLAN tag that stands for no member of this port, or two tags */
	DROP_ETHERTYPE,       /* neither IPv4, IPv6 nor ARP */
	DROP_DESTINATION_MAC, /* a frame that is not for the router */
	DROP_MULTICAST,       /* a VPC carries neither multicast nor broadcast */
	DROP_SOURCE_MAC,      /* not the MAC of the ENI */
	DROP_SOURCE_ADDRESS,  /* not an address of the ENI */
	DROP_UNANSWERED,      /* ARP or ND without an answer: announcements, DAD, unknown target */
	DROP_NO_ROUTE,        /* nothing in the VPC leads there */
	DROP_NO_ADDRESS,      /* in a vSwitch, but no ENI has the address */
	DROP_GATEWAY,         /* for the gateway itself, which answers echo requests only */
	DROP_HAIRPIN,         /* would leave by the port it came from: a loop */
	DROP_EGRESS,          /* no security group of the sender accepts it */
	DROP_INGRESS,         /* no security group of the receiver accepts it */
	DROP_TOO_BIG,         /* larger than the receiver's or the sender's MTU */
	DROP_FRAGMENT,        /* a later fragment whose first one was not seen */
	DROP_FLOW_TABLE,      /* the flow could not be remembered */
	DROP_KERNEL,          /* a helper refused to change the packet */
	DROP_FAULT,           /* lost on purpose: the port has a fault */
	DROP_NO_LISTENER,     /* a load balancer does not listen at this port */
	DROP_NO_BACKEND,      /* a load balancer has nobody healthy to forward to */
	DROP_ACCESS,          /* a load balancer's list of sources does not let it in */
	DROP_CUT,     /* a connection whose backend has gone, and its time to drain with it */
	DROP_REASONS, /* how many there are */
};

enum family {
	FAMILY_V4 = 4,
	FAMILY_V6 = 6,
};

/* An IPv4 address is the first word, the rest zero; the family is always beside it. */
struct address {
	__be32 word[4];
};

/*
 * A port's number: the ifindex of its link in the fabric's namespace. A member ENI shares the link
 * of its trunk, and has its VLAN id above that: 802.1Q ids have 12 bits, 0 is for no tag.
 */
#define PORT_LINK_BITS 20
#define PORT_LINK_MASK ((1U << PORT_LINK_BITS) - 1)

/* A port's vSwitch in one family. Without that family, network and mask are all ones. */
struct subnet {
	struct address network;
	struct address mask;
	struct address gateway;
};
_Static_assert(sizeof(struct subnet) == 48, "subnet has padding");

#define PORT_SOURCE_CHECK 0x1 /* a source must be an address of the ENI */
#define PORT_BACKEND      0x2 /* load balancers forward to it: its answers may be theirs */

#define GROUP_WORDS   4 /* 256 security groups in a lab; a region's quota is 100 */
#define GROUP_ANYBODY 0 /* this bit is set for every peer, ENI or not */

struct port {
	__u64 ingress_rules; /* key into rule_lists */
	__u64 egress_rules;
	__u64 groups[GROUP_WORDS]; /* one bit for each security group the ENI is in */
	struct subnet vswitch[2];  /* IPv4, IPv6 */
	__u32 vpc;
	__u32 mtu;   /* bytes of IP */
	__u32 epoch; /* changes with the rules and with the members of the groups they name */
	__u16 flags;
	__u8 mac[6];
	__u32 loss; /* a fault: of 2^32 packets in either direction, how many are lost */
};
_Static_assert(sizeof(struct port) == 168, "port has padding");

/* In address_key.family: the key is the first address of a prefix, /28 or /80, and the owner has
 * all of it. There is no other size, so a second lookup does for a trie.
 */
#define PREFIX_OF       0x100
#define PREFIX_V4_MASK  0xfffffff0 /* host byte order */
#define PREFIX_V6_WORD2 0xffff0000 /* host byte order: the words before are the prefix's, whole */

/* Exact addresses, and prefixes: whose is it. */
struct address_key {
	__u32 vpc;
	__u32 family;
	struct address address;
};
_Static_assert(sizeof(struct address_key) == 24, "address_key has padding");

enum owner_kind {
	OWNER_PORT = 1,     /* an address of the ENI at this port */
	OWNER_GATEWAY = 2,  /* the router's own address in a vSwitch */
	OWNER_SERVICES = 3, /* answered behind the services port */
	OWNER_BALANCER = 4, /* a load balancer's; behind the services port where it is proxied */
	OWNER_PROBER = 5,   /* as a service's, and it may speak first: to ENIs of its VPC */
};

struct owner {
	enum owner_kind kind;
	__u32 port; /* its number; 0 for the gateway */
};

/* Ranges, longest prefix first. */
struct route_key {
	__u32 prefixlen; /* bits that count after this field: 64 and those of the range */
	__u32 vpc;
	__u32 family;
	struct address destination;
};
_Static_assert(sizeof(struct route_key) == 28, "route_key has padding");

struct route {
	__u32 port; /* next hop of a custom route; 0 in a vSwitch: exact addresses only */
};

#define MAX_RULES 1024 /* the cloud allows 1000 rules on an ENI, both directions together */

/* Written so that a match is one arithmetic expression: see groups.h. */
struct rule {
	struct address network;
	struct address mask;
	__u16 selector; /* family << 8 | protocol */
	__u16 selector_mask;
	__u16 first_port; /* host byte order */
	__u16 port_span;  /* last - first */
	__u16 group;      /* bit that the peer must have; GROUP_ANYBODY for a range */
	__u16 accept;
};
_Static_assert(sizeof(struct rule) == 44, "rule has padding");

/* Immutable; the key is a digest of the content, so that a port changes lists in one step. */
struct rule_list {
	__u32 count;
	__u32 default_accept;
	struct rule rules[MAX_RULES];
};

/* A flow as one port sees it: the state of a security group belongs to the ENI. */
struct flow_key {
	__u32 port;
	__u16 family;
	__u16 protocol;
	struct address local;
	struct address remote;
	__be16 local_port; /* ICMP echo: the identifier on the side that asks, else 0 */
	__be16 remote_port;
};
_Static_assert(sizeof(struct flow_key) == 44, "flow_key has padding");

#define FLOW_OPENED_LOCALLY 0x1
#define FLOW_REPLIED        0x2
#define FLOW_FIN_LOCAL      0x4
#define FLOW_FIN_REMOTE     0x8
#define FLOW_RESET          0x10

struct flow {
	__u64 last_seen; /* bpf_ktime_get_ns, written once a second at most */
	__u32 peer;      /* the port at the other end when the flow was made */
	__u32 epoch;     /* of the port, when the rules last accepted the flow */
	__u32 flags;
	__u32 zero;
};
_Static_assert(sizeof(struct flow) == 24, "flow has padding");

/* The ports of a fragmented packet, for the fragments that do not have them. */
struct fragment_key {
	__u32 port;
	__u32 family;
	struct address source;
	struct address destination;
	__be32 id;
	__u32 protocol;
};
_Static_assert(sizeof(struct fragment_key) == 48, "fragment_key has padding");

struct fragment {
	__be16 source_port;
	__be16 destination_port;
};

#define LISTENER_BACKENDS 64  /* those that drain, too */
#define LISTENER_SLOTS    256 /* by which weights and hashes choose */

/* In listener.flags. */
#define LISTENER_BY_TURNS  0x1  /* new connections go to one slot after the other */
#define LISTENER_BY_SOURCE 0x2  /* or to that of the client's address; else of all four values */
#define LISTENER_CUTS      0x4  /* connections to a backend that is not listed end */
#define LISTENER_ALLOWS    0x8  /* only sources of the access list are let in */
#define LISTENER_REFUSES   0x10 /* all but those are */
#define LISTENER_PROXIED   0x20 /* behind the services port, who listen at the address */

/* In backend.flags. */
#define BACKEND_HEALTHY 0x1
#define BACKEND_OPEN    0x2 /* to new connections: healthy, and of some weight */

/* A port at which a load balancer listens. */
struct listener_key {
	__u32 vpc;
	__u16 family;
	__u16 protocol;
	struct address address;
	__be16 port;
	__u16 zero;
};
_Static_assert(sizeof(struct listener_key) == 28, "listener_key has padding");

struct listed_backend {
	struct address address;
	__be16 port;
	__u16 flags;
};
_Static_assert(sizeof(struct listed_backend) == 20, "listed_backend has padding");

struct listener {
	__u32 count;
	__u32 slots_used; /* 0: nobody takes new connections */
	__u32 flags;
	__u32 persistence_s;        /* how long a client's address stays with its backend */
	__u32 access;               /* in access_key.list */
	__u8 slots[LISTENER_SLOTS]; /* into `backends` */
	struct listed_backend backends[LISTENER_BACKENDS];
};
_Static_assert(sizeof(struct listener) == 20 + LISTENER_SLOTS + 20 * LISTENER_BACKENDS,
	       "listener has padding");

/* A range of sources of a list; a list is named by a digest of what is in it. */
struct access_key {
	__u32 prefixlen; /* bits that count after this field */
	__u32 list;
	struct address source;
};
_Static_assert(sizeof(struct access_key) == 24, "access_key has padding");

/* In connection_key.family: where the client's address goes, whatever its port. */
#define PERSISTENT_OF 0x200

/* A packet of a balanced connection as it comes: from the client, or from the backend. */
struct connection_key {
	__u32 vpc;
	__u16 family;
	__u16 protocol;
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
};
_Static_assert(sizeof(struct connection_key) == 44, "connection_key has padding");

/* What is put in its place: the client's destination, or the backend's source. */
struct connection {
	__u64 last_seen; /* bpf_ktime_get_ns, written once a second at most */
	struct address address;
	__be16 port;
	__u16 is_answer; /* of the backend */
	__u32 zero;
};
_Static_assert(sizeof(struct connection) == 32, "connection has padding");

/* Per port and CPU; ingress is to the ENI. A drop by ingress rules counts at the receiver. */
struct counters {
	__u64 egress_packets;
	__u64 egress_bytes;
	__u64 ingress_packets;
	__u64 ingress_bytes;
	__u64 answered; /* ARP, ND, echo and "too big" answered by the router */
	__u64 drops[DROP_REASONS];
};

#endif
