/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crr - what a new TCP connection takes: connect, one byte there and back, close
 *
 *   crr serve ADDRESS PORT          answers the one byte of each connection; prints "ready" first
 *   crr ask ADDRESS PORT COUNT      prints the nanoseconds of each of COUNT connections
 *
 * The client closes with a reset: no port stays in TIME_WAIT, so any number can be made in a row.
 * ADDRESS is IPv4 or IPv6. Where it runs, and on which core, is the caller's business.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
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
	fprintf(stderr, "crr: %s: %s\n", what, strerror(errno));
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
		fprintf(stderr, "crr: %s: %s\n", address, gai_strerror(error));
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
		while (read(peer, &byte, 1) == 1)
			if (write(peer, &byte, 1) != 1)
				break;
		close(peer);
	}
}

static void once(const struct addrinfo *at)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};
	int fd = socket(at->ai_family, SOCK_STREAM, 0);
	char byte = 0;

	if (connect(fd, at->ai_addr, at->ai_addrlen))
		die("connect");
	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("round trip");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

static int ask(const struct addrinfo *at, long count)
{
	uint64_t *took_ns = calloc((size_t)count, sizeof(*took_ns));

	if (!took_ns)
		die("calloc");
	for (long i = 0; i < count; i++) {
		uint64_t began_ns = now_ns();

		once(at);
		took_ns[i] = now_ns() - began_ns;
	}
	for (long i = 0; i < count; i++)
		printf("%llu\n", (unsigned long long)took_ns[i]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(resolve(argv[2], argv[3]));
	if (argc == 5 && !strcmp(argv[1], "ask") && atol(argv[4]) > 0)
		return ask(resolve(argv[2], argv[3]), atol(argv[4]));
	fprintf(stderr, "usage: crr serve ADDRESS PORT | ask ADDRESS PORT COUNT\n");
	return 2;
}
