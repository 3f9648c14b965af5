/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * relay.h - which source does a packet from outside get that goes on to a backend elsewhere
 *
 * The node's address, so that the answer comes back to where it can be turned round. A backend that
 * is here sees who asks: its answers leave by the same programs.
 */
#ifndef TERWAY_RELAY_H
#define TERWAY_RELAY_H

#include "passage.h"

/*
 * Below the node ports (30000), and below what the node's own sockets are given (from 32768 on,
 * net.ipv4.ip_local_port_range; where that is wider, the agent reserves these).
 */
#define RELAY_PORTS      16384
#define RELAY_PORT_FIRST 13616 /* to 29999 */

/* Return the port that stands for one of a client; that one is the client's on this node. */
static __always_inline __be16 relay_port(__be16 port)
{
	__u32 number = bpf_ntohs(port);

	if (number - RELAY_PORT_FIRST < RELAY_PORTS)
		return port;
	return bpf_htons(RELAY_PORT_FIRST + number % RELAY_PORTS);
}

/* Give a connection the node as its source. False: the node has no address of that family. */
static __always_inline bool relay(struct flow_tuple *opened)
{
	const struct settings *node = node_settings();
	struct address own = {};

	if (!node)
		return false;
	if (opened->family == FAMILY_V4)
		own.word[0] = node->node4;
	else
		own = node->node6;
	opened->source = own;
	opened->source_port = relay_port(opened->source_port);
	return !is_none(&own);
}

#endif
