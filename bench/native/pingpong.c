/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pingpong - how long a byte over TCP takes there and back, and how long a new connection does
 *
 *   pingpong serve ADDRESS PORT          answers each byte with a byte; prints "ready" first
 *   pingpong ask ADDRESS PORT COUNT      prints the nanoseconds of each of COUNT round trips
 *   pingpong connect ADDRESS PORT COUNT  prints those of each of COUNT connections, made one after
 *                                        the other: connect, one byte there and back, close
 *
 * A new connection is closed with a reset: no port stays in TIME_WAIT, so any number can be made.
 * ADDRESS is IPv4 or IPv6. Where it runs, and on which core, is the caller's business.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 128

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "pingpong: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct addrinfo *resolve(const char *address, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	struct addrinfo *found;
	int error = getaddrinfo(address, port, &hints, &found);

	if (error) {
		fprintf(stderr, "pingpong: %s: %s\n", address, gai_strerror(error));
		exit(1);
	}
	return found;
}

static _Noreturn void serve(const struct addrinfo *at)
{
	int on = 1, fd = socket(at->ai_family, SOCK_STREAM, 0);
	char byte;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, BACKLOG))
		die("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			die("accept");
		setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		while (read(peer, &byte, 1) == 1)
			if (write(peer, &byte, 1) != 1)
				break;
		close(peer);
	}
}

static int connected(const struct addrinfo *at)
{
	int on = 1, fd = socket(at->ai_family, SOCK_STREAM, 0);

	if (connect(fd, at->ai_addr, at->ai_addrlen))
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void round_trip(int fd)
{
	char byte = 0;

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("round trip");
}

static void reset(int fd)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

static int measure(const struct addrinfo *at, long count, int connects)
{
	uint64_t *took_ns = calloc((size_t)count, sizeof(*took_ns));
	int fd = connects ? -1 : connected(at);

	if (!took_ns)
		die("calloc");
	for (long i = 0; i < count; i++) {
		uint64_t began_ns = now_ns();

		if (connects)
			fd = connected(at);
		round_trip(fd);
		if (connects)
			reset(fd);
		took_ns[i] = now_ns() - began_ns;
	}
	for (long i = 0; i < count; i++)
		printf("%llu\n", (unsigned long long)took_ns[i]);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	int connects = !strcmp(verb, "connect");

	if (argc == 4 && !strcmp(verb, "serve"))
		serve(resolve(argv[2], argv[3]));
	if (argc == 5 && (connects || !strcmp(verb, "ask")) && atol(argv[4]) > 0)
		return measure(resolve(argv[2], argv[3]), atol(argv[4]), connects);
	fprintf(stderr, "usage: pingpong serve ADDRESS PORT | ask|connect ADDRESS PORT COUNT\n");
	return 2;
}
