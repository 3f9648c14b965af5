/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_address.h - the peer that a call names: read from its context, and written back
 */
#ifndef TERWAY_SOCK_ADDRESS_H
#define TERWAY_SOCK_ADDRESS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "contract.h"

static __always_inline void read4(struct bpf_sock_addr *ctx, struct frontend_key *peer)
{
	peer->address.word[0] = ctx->user_ip4;
	peer->port = ctx->user_port;
	peer->protocol = ctx->protocol;
	peer->family = FAMILY_V4;
}

static __always_inline void write4(struct bpf_sock_addr *ctx, const struct frontend_key *peer)
{
	ctx->user_ip4 = peer->address.word[0];
	ctx->user_port = peer->port;
}

/* A socket of IPv6 names hosts of IPv4 as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2). */
static __always_inline void read6(struct bpf_sock_addr *ctx, struct frontend_key *peer)
{
	__be32 first = ctx->user_ip6[0], second = ctx->user_ip6[1];
	__be32 third = ctx->user_ip6[2], last = ctx->user_ip6[3];
	bool is_mapped = !(first | second) && third == bpf_htonl(0xffff);

	peer->port = ctx->user_port;
	peer->protocol = ctx->protocol;
	peer->family = is_mapped ? FAMILY_V4 : FAMILY_V6;
	peer->address.word[0] = is_mapped ? last : first;
	peer->address.word[1] = is_mapped ? 0 : second;
	peer->address.word[2] = is_mapped ? 0 : third;
	peer->address.word[3] = is_mapped ? 0 : last;
}

static __always_inline void write6(struct bpf_sock_addr *ctx, const struct frontend_key *peer)
{
	bool is_mapped = peer->family == FAMILY_V4;

	ctx->user_ip6[0] = is_mapped ? 0 : peer->address.word[0];
	ctx->user_ip6[1] = is_mapped ? 0 : peer->address.word[1];
	ctx->user_ip6[2] = is_mapped ? bpf_htonl(0xffff) : peer->address.word[2];
	ctx->user_ip6[3] = is_mapped ? peer->address.word[0] : peer->address.word[3];
	ctx->user_port = peer->port;
}

#endif
