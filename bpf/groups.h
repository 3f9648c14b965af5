/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * groups.h - do the security groups of an ENI accept this packet
 *
 * An ENI's groups are merged, by the lab, into one ordered list a direction: lower priority first,
 * drop before accept at equal priority. The first rule that matches decides, as in the cloud.
 * Oracle: src/terway/lab/vpc/oracle/ reads the groups themselves, not the lists.
 */
#ifndef TERWAY_GROUPS_H
#define TERWAY_GROUPS_H

#include "fabric.h"
#include "maps.h"

/* What a rule is asked. Without a destination port (ICMP, others) the port is 0. */
struct question {
	struct address peer;
	__u64 peer_groups[GROUP_WORDS];
	__u16 selector; /* family << 8 | protocol */
	__u16 port;
};

/* 0 when the rule matches. Without a branch, so that the verifier walks the loop only once. */
static __always_inline __u64 mismatch(const struct rule *rule, const struct question *q)
{
	__u64 group = q->peer_groups[(rule->group >> 6) & (GROUP_WORDS - 1)] >> (rule->group & 63);
	__u64 port = (__u64)q->port - rule->first_port; /* wraps below the first port */
	__u64 beyond = ((__u64)rule->port_span - port) >> 63;
	__u64 below = port >> 63;
	__u64 no_group = ~group & 1;
	__u64 selector = (q->selector ^ rule->selector) & rule->selector_mask;
	__u64 range = 0;

#pragma unroll
	for (int i = 0; i < 4; i++)
		range |= (q->peer.word[i] ^ rule->network.word[i]) & rule->mask.word[i];
	return range | selector | no_group | beyond | below;
}

int is_accepted(__u64 list_id, const struct question *q)
{
	struct rule_list *list = bpf_map_lookup_elem(&rule_lists, &list_id);

	if (!list || !q)
		return 0;
	for (__u32 i = 0; i < MAX_RULES && i < list->count; i++) {
		if (!mismatch(&list->rules[i], q))
			return list->rules[i].accept;
	}
	return list->default_accept;
}

#endif
