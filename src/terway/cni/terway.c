// SPDX-License-Identifier: Apache-2.0
/*
 * terway.c - the CNI plugin: carries one request to terwayd and prints its answer
 *
 * The container runtime executes this on the host, once per verb. It decides nothing: environment
 * and stdin go to terwayd byte for byte, the answer comes back the same way (cni/protocol.py has
 * the frame). Only when terwayd cannot be reached does it speak for itself:
 *
 *   DEL, GC    leaves a note in the spool folder, for terwayd to work off, and succeeds
 *   VERSION    answers
 *   STATUS     fails with 50, not available
 *   the rest   fails with 11, try again later
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_PATH "/var/run/eni/cni.socket"
#define SPOOL_PATH  "/var/lib/cni/terway/spool"
#define OVERALL_MS  (120 * 1000) /* longer than terwayd gives itself for any verb */
#define PATIENCE_MS 1000         /* a terwayd that restarts is back by then */
#define RETRY_MS    20
#define FRAME_MAX   (16 << 20) /* a GC list of 100 000 attachments; terwayd refuses more too */
#define CHUNK       (32 << 10)
#define VERSIONS    "\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

extern char **environ;

struct buffer {
	char *data;
	size_t len, cap;
};

static const char *failed_step; /* of the last exchange, for the error's details */
static int failed_errno;

static int fail(const char *step)
{
	failed_step = step;
	failed_errno = errno;
	return -1;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

/* Makes room for `len` more bytes and returns where they go. */
static char *reserve(struct buffer *buf, size_t len)
{
	if (buf->len + len > buf->cap) {
		buf->cap = 2 * (buf->len + len);
		buf->data = realloc(buf->data, buf->cap);
		if (!buf->data)
			_exit(2);
	}
	return buf->data + buf->len;
}

static void append(struct buffer *buf, const void *data, size_t len)
{
	memcpy(reserve(buf, len), data, len);
	buf->len += len;
}

/* Waits until the descriptor is ready; a file always is. */
static int await(int fd, short events, int64_t deadline)
{
	struct pollfd pfd = {.fd = fd, .events = events};
	int64_t left;

	while ((left = deadline - now_ms()) > 0) {
		int n = poll(&pfd, 1, (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -1;
	}
	errno = ETIMEDOUT;
	return -1;
}

static int write_all(int fd, const char *data, size_t len, int64_t deadline)
{
	while (len > 0) {
		ssize_t n = await(fd, POLLOUT, deadline) ? -1 : write(fd, data, len);
		if (n >= 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno != EINTR && errno != EAGAIN) {
			return -1;
		}
	}
	return 0;
}

/* Reads until the end of the stream; a stream longer than a frame may be is an error. */
static int read_all(int fd, struct buffer *buf, int64_t deadline)
{
	while (buf->len <= FRAME_MAX) {
		char *room = reserve(buf, CHUNK);
		ssize_t n = await(fd, POLLIN, deadline) ? -1 : read(fd, room, CHUNK);
		if (n == 0)
			return 0;
		if (n > 0)
			buf->len += (size_t)n;
		else if (errno != EINTR && errno != EAGAIN)
			return -1;
	}
	errno = EMSGSIZE;
	return -1;
}

static int open_socket(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = setting("TERWAY_CNI_SOCKET", SOCKET_PATH);
	int fd;

	if (strlen(path) >= sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		return fail("connect");
	}
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail("socket");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	fail("connect");
	close(fd);
	return -1;
}

/* One request, one reply: a reply cut short is none. */
static int transfer(int fd, const struct buffer *request, struct buffer *reply, int64_t deadline)
{
	uint32_t size;

	reply->len = 0;
	if (write_all(fd, request->data, request->len, deadline))
		return fail("send");
	if (read_all(fd, reply, deadline))
		return fail("receive");
	if (reply->len >= sizeof(size) + 1) {
		memcpy(&size, reply->data, sizeof(size));
		if (ntohl(size) == reply->len - sizeof(size))
			return 0;
	}
	errno = ECONNRESET;
	return fail("receive");
}

/*
 * terwayd may be restarting, so whatever fails is tried again for a moment. The same request twice
 * does no harm: terwayd gives a repeated ADD what the first one got. A full backlog (EAGAIN) is a
 * terwayd that is alive and busy.
 */
static int exchange(const struct buffer *request, struct buffer *reply, int64_t start,
		    int64_t patience_ms)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};

	for (;;) {
		int fd = open_socket();
		if (fd >= 0) {
			int rc = transfer(fd, request, reply, start + OVERALL_MS);
			close(fd);
			if (rc == 0)
				return 0;
		}
		if (now_ms() - start > (failed_errno == EAGAIN ? OVERALL_MS : patience_ms))
			return -1;
		nanosleep(&pause, NULL);
	}
}

static int make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return -1;
		*slash = '/';
	}
	return 0;
}

static int write_synced(const char *path, const char *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return -1;
	rc = write_all(fd, data, len, now_ms() + OVERALL_MS) || fsync(fd);
	return close(fd) || rc ? -1 : 0;
}

/* A random name that the kernel gives to each start of the machine; NULL without /proc. */
static const char *boot_id(void)
{
	static char id[37];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = read(fd, id, sizeof(id) - 1);
	close(fd);
	return n == sizeof(id) - 1 ? id : NULL;
}

/*
 * The note is the request without its length; its name is the time at which it was asked, by the
 * one clock that nobody can set.
 */
static int leave_note(const struct buffer *request)
{
	const char *folder = setting("TERWAY_CNI_SPOOL", SPOOL_PATH);
	const size_t head = sizeof(uint32_t);
	const char *boot = boot_id();
	char name[96], note[512], draft[512];
	struct timespec now;
	int fd, rc;

	if (!boot)
		return fail("spool");
	clock_gettime(CLOCK_BOOTTIME, &now);
	snprintf(name, sizeof(name), "%010lld.%09ld-%s-%d", (long long)now.tv_sec, now.tv_nsec,
		 boot, getpid());
	snprintf(note, sizeof(note), "%s/%s", folder, name);
	snprintf(draft, sizeof(draft), "%s/.%s", folder, name);
	if (make_folders(draft) || write_synced(draft, request->data + head, request->len - head) ||
	    rename(draft, note))
		return fail("spool");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 || fsync(fd);
	return close(fd) || rc ? fail("spool") : 0;
}

/*
 * The version that the answer must repeat, as it stands in the configuration. No JSON parser: the
 * first "cniVersion" is that of the configuration or of its prevResult, which are the same, and
 * nothing but version characters is copied.
 */
static const char *cni_version(const char *conf, size_t len)
{
	static const char key[] = "\"cniVersion\"", blank[] = " \t\r\n:";
	static char version[32] = "1.1.0";
	const char *found = memmem(conf, len, key, sizeof(key) - 1), *end = conf + len;
	size_t n = 0;

	if (!found)
		return version;
	for (found += sizeof(key) - 1; found < end && *found && strchr(blank, *found);)
		found++;
	if (found == end || *found++ != '"')
		return version;
	while (found + n < end && n < sizeof(version) && found[n] &&
	       strchr("0123456789.abcdefghijklmnopqrstuvwxyz-+", found[n]))
		n++;
	if (n > 0 && n < sizeof(version) && found + n < end && found[n] == '"')
		snprintf(version, sizeof(version), "%.*s", (int)n, found);
	return version;
}

static int print_error(const char *version, int code, const char *msg, const char *remedy)
{
	printf("{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%s: %s; %s\"}\n",
	       version, code, msg, failed_step, strerror(failed_errno), remedy);
	return fflush(stdout) ? 2 : 1;
}

static int is_set(const char *name)
{
	return *setting(name, "") != '\0';
}

/* terwayd does not answer. A DEL that names no attachment is no use as a note: it fails. */
static int answer_alone(const char *verb, const char *version, const struct buffer *request)
{
	const char *remedy = "see whether the terway pod of this node runs";
	int may_be_noted = !strcmp(verb, "GC") || (!strcmp(verb, "DEL") && is_set("CNI_IFNAME") &&
						   is_set("CNI_CONTAINERID"));

	if (may_be_noted && leave_note(request) == 0)
		return 0;
	if (!strcmp(verb, "VERSION")) {
		printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[" VERSIONS "]}\n", version);
		return fflush(stdout) ? 2 : 0;
	}
	return print_error(version, !strcmp(verb, "STATUS") ? 50 : 11, "terwayd cannot be reached",
			   remedy);
}

int main(void)
{
	int64_t start = now_ms();
	struct buffer request = {0}, reply = {0};
	const char *verb = setting("CNI_COMMAND", ""), *version;
	uint32_t size = 0;
	size_t conf;

	signal(SIGPIPE, SIG_IGN);
	if (!*verb) {
		fputs("terway: gives a pod addresses of the VPC; part of terwayd\n"
		      "CNI protocol versions supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n",
		      stderr);
		return 0;
	}
	append(&request, &size, sizeof(size));
	for (char **var = environ; *var; var++)
		if (!strncmp(*var, "CNI_", 4))
			append(&request, *var, strlen(*var) + 1);
	append(&request, "", 1);
	conf = request.len;
	if (read_all(STDIN_FILENO, &request, start + OVERALL_MS)) {
		fail("stdin");
		return print_error("1.1.0", 5, "cannot read the network configuration",
				   "it comes on stdin, 16 MiB at most");
	}
	size = htonl((uint32_t)(request.len - sizeof(size)));
	memcpy(request.data, &size, sizeof(size));
	if (exchange(&request, &reply, start, strcmp(verb, "VERSION") ? PATIENCE_MS : 0) == 0) {
		if (write_all(STDOUT_FILENO, reply.data + 5, reply.len - 5, start + OVERALL_MS))
			return 2;
		return (unsigned char)reply.data[4];
	}
	version = cni_version(request.data + conf, request.len - conf);
	return answer_alone(verb, version, &request);
}
