// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* tell.bpf.c - tells what the test asks for; see tests/support/tell_program.py */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tell.h"

struct asked {
	struct flow_tuple flow;
	struct address frontend;
	__be16 frontend_port;
	__u8 happening;
	__u8 reason;
	__u32 endpoint;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct asked);
	__uint(max_entries, 1);
} asks SEC(".maps");

SEC("tc")
int tell(struct __sk_buff *skb)
{
	__u32 only = 0;
	const struct asked *asked = bpf_map_lookup_elem(&asks, &only);
	const struct flow_tuple *flow;
	const struct address *frontend;

	if (!asked)
		return 0;
	flow = asked->flow.family ? &asked->flow : NULL;
	frontend = asked->frontend_port ? &asked->frontend : NULL;
	if (asked->reason)
		tell_loss(skb, asked->endpoint, flow, frontend, asked->frontend_port,
			  asked->reason);
	else if (flow)
		tell_flow(skb, asked->endpoint, flow, frontend, asked->frontend_port,
			  asked->happening);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
