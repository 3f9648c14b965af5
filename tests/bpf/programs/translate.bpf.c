// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * translate.bpf.c - a packet through translate.h alone, for tests/bpf/test_translate_*.py
 *
 * Verdict: the enum loss.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "translate.h"

static __always_inline __u32 family_of(const struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP) ? FAMILY_V4 : FAMILY_V6;
}

static __always_inline int run(struct __sk_buff *skb, __u32 scope)
{
	struct passage *at = new_passage();
	enum loss lost;

	if (!at)
		return LOSS_KERNEL;
	lost = read_packet(skb, at, family_of(skb));
	if (!lost)
		lost = serve(skb, at, scope);
	if (!lost)
		lost = remember(skb, at);
	return lost;
}

SEC("tc")
int serve_inside(struct __sk_buff *skb)
{
	return run(skb, SCOPE_INSIDE);
}

SEC("tc")
int serve_outside(struct __sk_buff *skb)
{
	return run(skb, SCOPE_OUTSIDE);
}

SEC("tc")
int answer_client(struct __sk_buff *skb)
{
	struct passage *at = new_passage();
	enum loss lost;

	if (!at)
		return LOSS_KERNEL;
	lost = read_packet(skb, at, family_of(skb));
	if (lost)
		return lost;
	find_connection(at);
	lost = answer(skb, at);
	if (!lost)
		lost = remember(skb, at);
	return lost;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
