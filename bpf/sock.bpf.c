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
#include "tables.h"

#define SUBPROGRAM static __attribute__((noinline)) /* as in passage.h */

#define SOCKETS_MAX 65536 /* two entries for each UDP socket, and each TCP socket's; 6 MB */

#define SPLITMIX_STEP 0x9e3779b97f4a7c15ULL /* Steele, Lea, Flood 2014: SplitMix64 */
#define SPLITMIX_MIX  0xbf58476d1ce4e5b9ULL

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

/* Who connects to no address at all gets the loopback's. */
static __always_inline bool is_loopback(const struct address *a, __u32 family)
{
	__u32 first = bpf_ntohl(a->word[0]) >> 24;

	if (family == FAMILY_V4)
		return first == 127 || !a->word[0];
	return !(a->word[0] | a->word[1] | a->word[2]) && bpf_ntohl(a->word[3]) <= 1;
}

static __always_inline bool is_of_this_node(const struct frontend_key *peer)
{
	return is_loopback(&peer->address, peer->family) ||
	       local_of(&peer->address, peer->family) == LOCAL_NODE;
}

/* ---- what it leads to -------------------------------------------------------------------- */

static __always_inline const struct frontend *find_frontend(const struct frontend_key *peer)
{
	struct frontend_key any = {
		.port = peer->port,
		.protocol = peer->protocol,
		.family = peer->family,
	};
	const struct frontend *found = bpf_map_lookup_elem(&frontends, peer);

	if (!found && is_of_this_node(peer))
		found = bpf_map_lookup_elem(&frontends, &any);
	return found;
}

/* What a packet of the node would have as its source. */
static __always_inline struct address own_address(const struct settings *node, __u32 family)
{
	struct address own = {{node->node4}};

	return family == FAMILY_V4 ? own : node->node6;
}

static __always_inline bool may_ask(const struct frontend *asked, const struct address *client,
				    __u32 family)
{
	struct source_range range = {
		.prefixlen = 64 + 128,
		.service = asked->service,
		.family = family,
		.address = *client,
	};

	return !(asked->flags & FRONTEND_SOURCE_RANGES) ||
	       bpf_map_lookup_elem(&source_ranges, &range);
}

/* ---- who answers ------------------------------------------------------------------------- */

static __always_inline __u64 mix(__u64 seed)
{
	seed += SPLITMIX_STEP;
	seed = (seed ^ (seed >> 30)) * SPLITMIX_MIX;
	return seed ^ (seed >> 31);
}

/* A connection is tried again with another; a socket's messages stay with one. */
static __always_inline __u32 draw(__u64 cookie, bool is_message)
{
	return is_message ? mix(cookie) : bpf_get_prandom_u32();
}

static __always_inline __u32 one_of(__u32 number, __u32 drawn)
{
	const struct backend_set *set = bpf_map_lookup_elem(&sets, &number);
	const __u32 *slot;
	__u32 place;

	if (!set || !set->count)
		return 0;
	if (set->count <= SET_INLINE) {
		place = drawn % set->count;
		/* The compiler knows what follows, and leaves it out; the verifier does not. */
		asm volatile("" : "+r"(place));
		return place < SET_INLINE ? set->backend[place] : 0;
	}
	if (!set->size)
		return 0;
	place = set->table + drawn % set->size;
	slot = bpf_map_lookup_elem(&slots, &place);
	return slot ? *slot : 0;
}

/* The backend that the client had last, if it may have it again. */
static __always_inline __u32 last_of(const struct frontend *asked, const struct affinity_key *who)
{
	const struct affinity *last = bpf_map_lookup_elem(&affinities, who);
	const struct backend *backend;

	if (!last || bpf_ktime_get_ns() - last->seen_ns > asked->affinity_s * 1000000000ULL)
		return 0;
	backend = bpf_map_lookup_elem(&backends, &last->backend);
	return backend && !(backend->flags & BACKEND_TERMINATING) ? last->backend : 0;
}

static __always_inline __u32 choose_for_client(const struct frontend *asked,
					       const struct address *client, __u32 family,
					       __u32 drawn)
{
	struct affinity_key who = {.client = *client, .family = family, .service = asked->service};
	struct affinity now = {};

	if (!(asked->flags & FRONTEND_AFFINITY))
		return one_of(asked->inside, drawn);
	now.backend = last_of(asked, &who);
	if (!now.backend)
		now.backend = one_of(asked->inside, drawn);
	now.seen_ns = bpf_ktime_get_ns();
	if (now.backend)
		bpf_map_update_elem(&affinities, &who, &now, BPF_ANY);
	return now.backend;
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

/* ---- addresses in and out of the context ------------------------------------------------- */

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
