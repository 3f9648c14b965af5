// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock.bpf.c - services for the node's own processes, where they name whom they want
 *
 * Hooks:  cgroup connect, sendmsg, recvmsg and getpeername, both families, of the cgroup that the
 *         node's processes are in.
 * Reads:  frontends, sets, slots, backends, source_ranges, locals, settings.
 * Writes: sockets, affinities.
 * Oracle: tests/contract/linux/test_sockets.py, with real sockets.
 *
 *   connect(service)  ─► frontend ─► backend      once; packets then go to the backend as they are
 *   sendto(service)   ─► the backend that the socket has there, or a new one
 *   recvfrom, getpeername ◄─ the service, for who named it
 *
 * Pods have processes in the same cgroup, and their packets are translated at their hooks: so only
 * sockets of the node's own network namespace are looked at.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "service.h"
#include "sock.h"
#include "sock_address.h"
#include "sock_choose.h"
#include "tables.h"

#define SUBPROGRAM static __attribute__((noinline)) /* as in passage.h */

#define SOCKETS_MAX 65536 /* two entries for each UDP socket, and each TCP socket's; 6 MB */

enum verdict {
	VERDICT_REFUSE = 0,
	VERDICT_GO_ON = 1,
};

const volatile struct sock_constants constants = {};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct socket_key);
	__type(value, struct socket_peer);
	__uint(max_entries, SOCKETS_MAX);
} sockets SEC(".maps");

/* ---- whose it is ------------------------------------------------------------------------- */

static __always_inline bool is_of_node(struct bpf_sock_addr *ctx)
{
	__u64 node = constants.node_netns ? constants.node_netns : bpf_get_netns_cookie(NULL);

	return bpf_get_netns_cookie(ctx) == node;
}

/* ---- what a socket has ------------------------------------------------------------------- */

static __always_inline bool is_still(const struct backend *backend, const struct frontend_key *peer)
{
	const __be32 *a = backend->address.word, *b = peer->address.word;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] &&
	       backend->port == peer->port && backend->family == peer->family;
}

/* Where the socket's messages to `peer` went before, unless that has gone, or is about to. */
static __always_inline bool find_previous(const struct socket_key *key, struct frontend_key *to)
{
	const struct socket_peer *known = bpf_map_lookup_elem(&sockets, key);
	const struct backend *backend;

	if (!known)
		return false;
	backend = bpf_map_lookup_elem(&backends, &known->backend);
	if (!backend || backend->flags & BACKEND_TERMINATING || !is_still(backend, &known->other))
		return false;
	*to = known->other;
	return true;
}

static __always_inline void remember(const struct socket_key *asked, const struct frontend_key *to,
				     __u32 backend, bool is_message)
{
	struct socket_key reached = {
		.cookie = asked->cookie,
		.peer = *to,
		.direction = SOCKET_REACHED,
	};
	struct socket_peer forth = {.other = *to, .backend = backend};
	struct socket_peer back = {.other = asked->peer, .backend = backend};

	bpf_map_update_elem(&sockets, &reached, &back, BPF_ANY);
	if (is_message)
		bpf_map_update_elem(&sockets, asked, &forth, BPF_ANY);
}

static __always_inline int refuse(void)
{
	if (constants.can_refuse)
		bpf_set_retval(-ECONNREFUSED);
	return VERDICT_REFUSE;
}

/* ---- the two ways ------------------------------------------------------------------------ */

/* Put the backend's address in place of the service's into `peer`. */
SUBPROGRAM int go_to_backend(struct bpf_sock_addr *ctx, struct frontend_key *peer, bool is_message)
{
	struct socket_key key = {.direction = SOCKET_ASKED};
	const struct settings *node = node_settings();
	const struct frontend *asked;
	const struct backend *backend;
	struct address client;
	__u32 number;

	asked = node && node->flags & SETTING_NODE_IN && peer ? find_frontend(peer) : NULL;
	if (!asked)
		return VERDICT_GO_ON;
	key.cookie = bpf_get_socket_cookie(ctx);
	key.peer = *peer;
	client = own_address(node, peer->family);
	if (!may_ask(asked, &client, peer->family))
		return refuse();
	if (is_message && find_previous(&key, peer))
		return VERDICT_GO_ON;
	number = choose_for_client(asked, &client, peer->family, draw(key.cookie, is_message));
	backend = bpf_map_lookup_elem(&backends, &number);
	if (!backend || backend->family != peer->family)
		return refuse();
	peer->address = backend->address;
	peer->port = backend->port;
	remember(&key, peer, number, is_message);
	return VERDICT_GO_ON;
}

/* Put the service's address in place of the backend's, if the socket reached it so. */
SUBPROGRAM int come_from_service(struct bpf_sock_addr *ctx, struct frontend_key *peer)
{
	struct socket_key key = {.direction = SOCKET_REACHED};
	const struct socket_peer *known;

	if (!peer)
		return VERDICT_GO_ON;
	key.cookie = bpf_get_socket_cookie(ctx);
	key.peer = *peer;
	known = bpf_map_lookup_elem(&sockets, &key);
	if (known)
		*peer = known->other;
	return VERDICT_GO_ON;
}

static __always_inline int forth4(struct bpf_sock_addr *ctx, bool is_message)
{
	struct frontend_key peer = {};
	int verdict;

	if (!is_of_node(ctx))
		return VERDICT_GO_ON;
	read4(ctx, &peer);
	verdict = go_to_backend(ctx, &peer, is_message);
	write4(ctx, &peer);
	return verdict;
}

static __always_inline int forth6(struct bpf_sock_addr *ctx, bool is_message)
{
	struct frontend_key peer = {};
	int verdict;

	if (!is_of_node(ctx))
		return VERDICT_GO_ON;
	read6(ctx, &peer);
	verdict = go_to_backend(ctx, &peer, is_message);
	write6(ctx, &peer);
	return verdict;
}

static __always_inline int back4(struct bpf_sock_addr *ctx)
{
	struct frontend_key peer = {};

	if (!is_of_node(ctx))
		return VERDICT_GO_ON;
	read4(ctx, &peer);
	come_from_service(ctx, &peer);
	write4(ctx, &peer);
	return VERDICT_GO_ON;
}

static __always_inline int back6(struct bpf_sock_addr *ctx)
{
	struct frontend_key peer = {};

	if (!is_of_node(ctx))
		return VERDICT_GO_ON;
	read6(ctx, &peer);
	come_from_service(ctx, &peer);
	write6(ctx, &peer);
	return VERDICT_GO_ON;
}

/* ---- hooks ------------------------------------------------------------------------------- */

SEC("cgroup/connect4")
int terway_connect4(struct bpf_sock_addr *ctx)
{
	return forth4(ctx, false);
}

SEC("cgroup/connect6")
int terway_connect6(struct bpf_sock_addr *ctx)
{
	return forth6(ctx, false);
}

SEC("cgroup/sendmsg4")
int terway_sendmsg4(struct bpf_sock_addr *ctx)
{
	return forth4(ctx, true);
}

SEC("cgroup/sendmsg6")
int terway_sendmsg6(struct bpf_sock_addr *ctx)
{
	return forth6(ctx, true);
}

SEC("cgroup/recvmsg4")
int terway_recvmsg4(struct bpf_sock_addr *ctx)
{
	return back4(ctx);
}

SEC("cgroup/recvmsg6")
int terway_recvmsg6(struct bpf_sock_addr *ctx)
{
	return back6(ctx);
}

SEC("cgroup/getpeername4")
int terway_getpeername4(struct bpf_sock_addr *ctx)
{
	return back4(ctx);
}

SEC("cgroup/getpeername6")
int terway_getpeername6(struct bpf_sock_addr *ctx)
{
	return back6(ctx);
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
