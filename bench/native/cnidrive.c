/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cnidrive - how long does a CNI plugin take, as a container runtime sees it?
 *
 *   cnidrive VERB WIDTH PLUGIN < jobs
 *
 * Executes PLUGIN once for each job, WIDTH of them at a time, and times each from just before
 * the process is made to just after it was reaped. A job is a line of five fields with tabs
 * between: container id, network namespace, file for stdin, file for stdout, CNI_ARGS. Prints
 * "wall nanoseconds", then a line "exit-status nanoseconds" for each job, in order.
 *
 * In C, because the cheapest Python way to start a process costs more than the plugin itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_JOBS 4096
#define FIELDS   5

enum field { ID, NETNS, STDIN, STDOUT, ARGS };

struct job {
	char *field[FIELDS];
	pid_t pid;
	int status;
	uint64_t began_ns;
	uint64_t took_ns;
};

static struct job jobs[MAX_JOBS];

static void die(const char *what, int error)
{
	fprintf(stderr, "cnidrive: %s: %s\n", what, strerror(error));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static char *pair(const char *name, const char *value)
{
	char *text;

	if (asprintf(&text, "%s=%s", name, value) < 0)
		die("asprintf", ENOMEM);
	return text;
}

static int read_jobs(void)
{
	char *line = NULL;
	size_t room = 0;
	int count = 0;

	while (getline(&line, &room, stdin) > 0) {
		char *rest = line;

		if (count == MAX_JOBS)
			die("jobs", E2BIG);
		line[strcspn(line, "\n")] = 0;
		for (int i = 0; i < FIELDS; i++)
			jobs[count].field[i] = strsep(&rest, "\t");
		if (!jobs[count].field[ARGS])
			die("a job has five fields", EINVAL);
		count++;
		line = NULL; /* the job keeps it */
	}
	return count;
}

static void start(struct job *job, const char *verb, char *plugin)
{
	char *argv[] = {plugin, NULL};
	char *env[] = {
		pair("CNI_COMMAND", verb),
		pair("CNI_CONTAINERID", job->field[ID]),
		pair("CNI_NETNS", job->field[NETNS]),
		pair("CNI_ARGS", job->field[ARGS]),
		pair("CNI_PATH", getenv("CNI_PATH") ? getenv("CNI_PATH") : ""),
		pair("PATH", getenv("PATH") ? getenv("PATH") : ""),
		(char *)"CNI_IFNAME=eth0",
		NULL,
	};
	posix_spawn_file_actions_t files;
	int error;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, job->field[STDIN], O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, job->field[STDOUT],
					 O_WRONLY | O_CREAT | O_TRUNC, 0600);
	job->began_ns = now_ns();
	error = posix_spawn(&job->pid, plugin, &files, NULL, argv, env);
	if (error)
		die(plugin, error);
	posix_spawn_file_actions_destroy(&files);
	for (int i = 0; i < 6; i++)
		free(env[i]);
}

static void reap_one(int started)
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);
	uint64_t ended_ns = now_ns();

	if (pid < 0)
		die("waitpid", errno);
	for (int i = 0; i < started; i++) {
		if (jobs[i].pid != pid)
			continue;
		jobs[i].took_ns = ended_ns - jobs[i].began_ns;
		jobs[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		jobs[i].pid = 0;
	}
}

int main(int argc, char **argv)
{
	int count, width, started = 0, running = 0;
	uint64_t began_ns;

	if (argc != 4 || (width = atoi(argv[2])) < 1) {
		fprintf(stderr, "usage: cnidrive VERB WIDTH PLUGIN < jobs\n");
		return 2;
	}
	count = read_jobs();
	began_ns = now_ns();
	while (started < count || running) {
		if (started < count && running < width) {
			start(&jobs[started++], argv[1], argv[3]);
			running++;
			continue;
		}
		reap_one(started);
		running--;
	}
	printf("wall %llu\n", (unsigned long long)(now_ns() - began_ns));
	for (int i = 0; i < count; i++)
		printf("%d %llu\n", jobs[i].status, (unsigned long long)jobs[i].took_ns);
	return 0;
}
