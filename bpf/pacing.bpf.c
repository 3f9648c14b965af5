// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * pacing.bpf.c - says when each packet of a pod may leave, so that all together keep a rate
 *
 * Hook:   tc egress (clsact, direct action) of the pod's own end, with fq at the link's root: that
 *         keeps a packet until its time. One loaded copy for each pod, for all of its links.
 * Reads:  rates.  Writes: clocks.
 * Oracle: tests/bpf/test_pacing.py.
 *
 *   clock: when all that was let through will have left ──► this packet's departure
 *
 * A pod that was silent may send a burst at once: the clock is never further behind than that.
 * Source: "Replacing HTB with EDT and BPF" (netdev 0x14); Cilium's bandwidth manager.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define NS_PER_S          1000000000ULL
#define BURSTS_PER_S      1000 /* a millisecond's worth, as the queues that hold a rate have it */
#define LEAST_BURST_BYTES 10500ULL
#define MARK_AFTER_NS     25000000ULL   /* as long as a packet waits in such a queue at most */
#define DROP_AFTER_NS     2000000000ULL /* the sender has given it up by then */

struct clock {
	struct bpf_spin_lock lock;
	__u64 next_ns; /* CLOCK_MONOTONIC */
};

/* Bytes per second of whole frames; 0 is none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct clock);
	__uint(max_entries, 1);
} clocks SEC(".maps");

static __always_inline __u64 later(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

/* How long after `wanted` may the packet leave? The clock goes on unless that is too late. */
static __always_inline __u64 take_turn(struct clock *clock, __u64 wanted, __u64 burst_ns, __u64 ns)
{
	__u64 silent_since = wanted > burst_ns ? wanted - burst_ns : 0;
	__u64 start;

	bpf_spin_lock(&clock->lock);
	start = later(clock->next_ns, silent_since);
	if (start < wanted + DROP_AFTER_NS)
		clock->next_ns = start + ns;
	bpf_spin_unlock(&clock->lock);
	return start > wanted ? start - wanted : 0;
}

SEC("tc")
int terway_pacing(struct __sk_buff *skb)
{
	__u32 only = 0;
	const __u64 *held = bpf_map_lookup_elem(&rates, &only);
	struct clock *clock = bpf_map_lookup_elem(&clocks, &only);
	__u64 rate = held ? *held : 0;
	__u64 wanted, burst_ns, wait_ns;

	if (!rate || !clock)
		return TC_ACT_UNSPEC;
	/* TCP may have set a time of its own. */
	wanted = later(skb->tstamp, bpf_ktime_get_ns());
	burst_ns = later(rate / BURSTS_PER_S, LEAST_BURST_BYTES) * NS_PER_S / rate;
	wait_ns = take_turn(clock, wanted, burst_ns, skb->wire_len * NS_PER_S / rate);
	if (wait_ns >= DROP_AFTER_NS)
		return TC_ACT_SHOT;
	if (wait_ns > MARK_AFTER_NS)
		bpf_skb_ecn_set_ce(skb);
	skb->tstamp = wanted + wait_ns;
	return TC_ACT_UNSPEC;
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
