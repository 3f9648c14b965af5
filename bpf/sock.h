/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock.h - what the programs for sockets and the agent both read
 *
 * The agent's half is src/terway/linux/ebpf/sock_contract.py; tests/bpf/test_sock_contract.py
 * compares the two, field by field, against the BTF of the built object. Change them together.
 */
#ifndef TERWAY_SOCK_H
#define TERWAY_SOCK_H

#include "contract.h"

/* Constants of the loaded programs. */
struct sock_constants {
	__u64 node_netns; /* cookie of its network namespace; 0: the machine's first one */
	__u32 can_refuse; /* the kernel has bpf_set_retval (5.18); else it says EPERM */
	__u32 zero;
};
_Static_assert(sizeof(struct sock_constants) == 16, "sock_constants has padding");

#define SOCKET_ASKED   0 /* from what a socket names to where its messages go */
#define SOCKET_REACHED 1 /* and back */

/* Key of `sockets`. A peer is written as a frontend is. */
struct socket_key {
	__u64 cookie;
	struct frontend_key peer;
	__u32 direction;
};
_Static_assert(sizeof(struct socket_key) == 32, "socket_key has padding");

struct socket_peer {
	struct frontend_key other;
	__u32 backend; /* number */
};
_Static_assert(sizeof(struct socket_peer) == 24, "socket_peer has padding");

#endif
