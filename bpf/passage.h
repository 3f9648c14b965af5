/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * passage.h - one packet on its way through a program: what it is, whose, and what became of it
 *
 * It is in a map of its own for each CPU, because the stack has 512 bytes. Programs at tc hooks run
 * with softirqs off, so no other packet is under way on the CPU meanwhile.
 */
#ifndef TERWAY_PASSAGE_H
#define TERWAY_PASSAGE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"
#include "packet.h"
#include "tables.h"

/* Static, because a kernel without BTF of itself believes no global function its arguments. */
#define SUBPROGRAM static __attribute__((noinline))

/* What is known of the packet's connection. */
enum standing {
	STANDING_NEW = 0, /* no flow: the packet may open one */
	STANDING_FORTH,   /* from the side that opened */
	STANDING_BACK,    /* from the other side: an answer */
	STANDING_ERROR,   /* an ICMP error about a flow (`opened`), whichever side it goes to */
};

/* Where who asks for a service is. */
enum scope {
	SCOPE_INSIDE,  /* a pod of this node */
	SCOPE_OUTSIDE, /* came in by the uplink */
	SCOPE_NODE,    /* a process of this node */
};

struct passage {
	struct packet p;          /* as the packet is now, translations included */
	struct packet quoted;     /* by the ICMP error `p` */
	struct flow_tuple sent;   /* the same, as a tuple; of an ICMP error: of what it quotes */
	struct flow_tuple opened; /* its connection, as the opener sends it */
	struct flow_state flow;   /* of it: a copy, or what a new one will begin with */
	__u64 now_ns;
	__u32 standing;
	__u32 endpoint;   /* whose link it is at; 0: no pod's */
	__u32 is_changed; /* `flow` is to be written back */
	__u32 generation; /* of the policies; 0: not asked for yet */
	__u32 scope;      /* where who asks is: enum scope */
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct passage);
	__uint(max_entries, 1);
} passages SEC(".maps");

/* Set by the loader where the kernel has bpf_ktime_get_coarse_ns (5.11): a third of the cost. */
volatile const __u32 has_coarse_clock = 0;

static __always_inline __u64 clock_ns(void)
{
	return has_coarse_clock ? bpf_ktime_get_coarse_ns() : bpf_ktime_get_ns();
}

/* Return the CPU's passage, empty. */
static __always_inline struct passage *new_passage(void)
{
	const __u32 only = 0;
	struct passage *at = bpf_map_lookup_elem(&passages, &only);

	if (!at)
		return NULL;
	__builtin_memset(at, 0, sizeof(*at));
	at->now_ns = clock_ns();
	return at;
}

static __always_inline bool is_same(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool is_none(const struct address *a)
{
	return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

/* What never leaves a link: 169.254.0.0/16, fe80::/10. */
static __always_inline bool is_link_local(const struct address *a, __u32 family)
{
	__u32 first = bpf_ntohl(a->word[0]);

	return family == FAMILY_V4 ? first >> 16 == 0xa9fe : first >> 22 == 0xfe800000 >> 22;
}

static __always_inline void describe(struct flow_tuple *tuple, const struct packet *p)
{
	tuple->source = p->source;
	tuple->destination = p->destination;
	tuple->source_port = p->source_port;
	tuple->destination_port = p->destination_port;
	tuple->protocol = p->protocol;
	tuple->family = p->family;
	tuple->zero = 0;
}

static __always_inline void turn_round(struct flow_tuple *turned, const struct flow_tuple *tuple)
{
	turned->source = tuple->destination;
	turned->destination = tuple->source;
	turned->source_port = tuple->destination_port;
	turned->destination_port = tuple->source_port;
	turned->protocol = tuple->protocol;
	turned->family = tuple->family;
	turned->zero = 0;
}

/*
 * A later fragment has no ports: they are those of the first, which came before it at the same
 * hook. What a pod forges is known at its own only.
 */
SUBPROGRAM enum loss join_pieces(struct passage *at)
{
	struct packet *p = &at->p;
	struct piece_key key = {
		.source = p->source,
		.destination = p->destination,
		.id = p->fragment_id,
		.protocol = p->protocol,
		.family = p->family,
		.hook = at->endpoint,
	};

	if (p->is_later) {
		const struct piece *known = bpf_map_lookup_elem(&pieces, &key);

		if (!known)
			return LOSS_FRAGMENT;
		p->source_port = known->source_port;
		p->destination_port = known->destination_port;
	} else {
		struct piece first = {p->source_port, p->destination_port};

		if (bpf_map_update_elem(&pieces, &key, &first, BPF_ANY))
			return LOSS_TABLE_FULL;
	}
	return LOSS_NONE;
}

/* SCTP has its ports where TCP and UDP have them (RFC 9260, section 3.1). */
static __always_inline bool read_sctp_ports(struct __sk_buff *skb, struct packet *p)
{
	if (p->protocol != IPPROTO_SCTP || p->is_later)
		return true;
	return has_bytes(p, p->l4, p->is_quoted ? 8 : 12) &&
	       !bpf_skb_load_bytes(skb, p->l4, &p->source_port, 4);
}

/*
 * The connection of an ICMP error is that of the packet it quotes, as that one was sent.
 *
 * The error is for who sent it, and nobody else: errors about connections pass policies, and who
 * may speak to one could speak to everybody in what they quote.
 */
SUBPROGRAM enum loss read_quoted(struct __sk_buff *skb, struct passage *at)
{
	at->quoted.limit = at->p.end;
	at->quoted.is_quoted = true;
	if (parse_packet(skb, at->p.l4 + sizeof(struct icmp_start), at->p.family, &at->quoted) ||
	    !read_sctp_ports(skb, &at->quoted) || !is_same(&at->p.destination, &at->quoted.source))
		return LOSS_MALFORMED;
	describe(&at->sent, &at->quoted);
	return LOSS_NONE;
}

/* Read the packet's headers into `at`. Its frame is Ethernet with IPv4 or IPv6 inside. */
SUBPROGRAM enum loss read_packet(struct __sk_buff *skb, struct passage *at, __u32 family)
{
	enum loss lost;

	at->p.limit = skb->len;
	if (parse_packet(skb, ETH_HLEN, family, &at->p) || !read_sctp_ports(skb, &at->p))
		return LOSS_MALFORMED;
	if (is_icmp_error(&at->p))
		return read_quoted(skb, at);
	if (at->p.is_fragment) {
		lost = join_pieces(at);
		if (lost)
			return lost;
	}
	describe(&at->sent, &at->p);
	return LOSS_NONE;
}

#endif
