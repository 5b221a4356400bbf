/*
 * The relay as a function, for libFuzzer and for a replay of its corpus: one input is one call.
 *
 *   input   struct lengths, then the environment and the arguments (each string ends in NUL), stdin, the service's reply,
 *           the full program's stdout and stderr. What is missing at the end is empty.
 *
 * Files, sockets and processes are replaced below: nothing outside is touched. Every byte that the relay writes or sends
 * is read, so that a sanitizer sees one that is not its own.
 *
 * tests/system/test_relay_fuzzer.py compiles it: with clang as a fuzzer, with -DREPLAY as a program that runs files.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static jmp_buf ended;
static ssize_t take_stdin(void *, size_t);
static ssize_t take_reply(void *, size_t);
static ssize_t put_bytes(int, const void *, size_t);
static ssize_t put_message(const struct msghdr *);
static int end_program(int *);
static int new_file(void);
static int become(const char *, char **, char **);
static int touched(int, const void *, size_t);
static int nothing(int fd) { return (void)fd, 0; }

#define main relay_main
#define _exit(code) longjmp(ended, 1 + ((code) & 1))
#define execve(path, argv, envp) become(path, argv, envp)
#define vfork() 1
#define waitpid(pid, status, options) end_program(status)
#define socket(family, kind, protocol) 100
#define open(...) 101
#define close(fd) nothing(fd)
#define dup2(from, to) ((void)(from), 0)
#define fcntl(...) nothing(0)
#define prctl(option, value) nothing((int)(intptr_t)(value))
#define connect(...) nothing(0)
#define setsockopt(fd, level, name, value, size) touched(fd, value, size)
#define poll(...) nothing(0)
#define memfd_create(name, flags) new_file()
#define read(fd, to, size) take_stdin(to, size)
#define recv(fd, to, size, flags) take_reply(to, size)
#define write(fd, from, size) put_bytes(fd, from, size)
#define sendmsg(fd, message, flags) put_message(message)
#undef _GNU_SOURCE
#include "../../../build/relay.c"
#undef main
#undef memfd_create
#undef write
#undef close

extern char **environ;

struct lengths { uint16_t environ, argv, input, reply, out; uint8_t chunk, status; };

static const uint8_t *rest;
static size_t left;
static const uint8_t *stdin_bytes, *reply_bytes, *out_bytes, *err_bytes;
static size_t stdin_left, reply_left, out_left, err_left, chunk;
static int status;
static int files[8];
static size_t file_count;
static volatile uint8_t sink;

static size_t part(const uint8_t **from, size_t wanted)
{
	size_t size = wanted < left ? wanted : left;
	*from = rest;
	rest += size, left -= size;
	return size;
}

static ssize_t give(const uint8_t **from, size_t *have, void *to, size_t room)
{
	size_t size = *have < room ? *have : room;
	if (size > chunk)
		size = chunk;
	memcpy(to, *from, size);
	*from += size, *have -= size;
	return (ssize_t)size;
}

static ssize_t take_stdin(void *to, size_t room) { return give(&stdin_bytes, &stdin_left, to, room); }
static ssize_t take_reply(void *to, size_t room) { return give(&reply_bytes, &reply_left, to, room); }

static void touch(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sink ^= bytes[i];
}

static int touched(int fd, const void *bytes, size_t size)
{
	touch(bytes, size);
	return nothing(fd);
}

/* Another program: every string that it gets is read. */
static int become(const char *path, char **argv, char **envp)
{
	touch((const uint8_t *)path, strlen(path));
	for (char **string = argv; *string != NULL; string++)
		touch((const uint8_t *)*string, strlen(*string));
	for (char **string = envp; *string != NULL; string++)
		touch((const uint8_t *)*string, strlen(*string));
	longjmp(ended, 3);
}

static ssize_t put_bytes(int fd, const void *bytes, size_t size)
{
	touch(bytes, size);
	return fd > STDERR_FILENO ? write(fd, bytes, size) : (ssize_t)size;
}

static ssize_t put_message(const struct msghdr *message)
{
	size_t size = message->msg_iov->iov_len < chunk * 16 ? message->msg_iov->iov_len : chunk * 16;
	touch(message->msg_iov->iov_base, size);
	touch(message->msg_control, message->msg_controllen);
	return (ssize_t)size;
}

static int new_file(void)
{
	int fd = memfd_create("fuzz", 0);
	if (fd >= 0 && file_count < sizeof files / sizeof *files)
		files[file_count++] = fd;
	return fd;
}

/* The full program: it has written what the input says to its files, the last ones made. A command line has only stderr. */
static int end_program(int *found)
{
	if (file_count > 1 && write(files[file_count - 2], out_bytes, out_left) < 0)
		abort();
	if (write(files[file_count - 1], err_bytes, err_left) < 0)
		abort();
	*found = status;
	return 1;
}

/* Strings that end in NUL, as a list that ends in NULL. The last one may lack its NUL. */
static char **list(const uint8_t *bytes, size_t size, char **strings, size_t room, char *copy)
{
	size_t count = 0;
	memcpy(copy, bytes, size);
	copy[size] = '\0';
	for (size_t at = 0; at < size && count + 1 < room; at += strlen(copy + at) + 1)
		strings[count++] = copy + at;
	strings[count] = NULL;
	return strings;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *names[512], *words[512], texts[2][UINT16_MAX + 1];
	struct lengths lengths = { 0 };
	const uint8_t *bytes;
	rest = data, left = size;
	size_t had = part(&bytes, sizeof lengths);
	memcpy(&lengths, bytes, had);
	size_t length = part(&bytes, lengths.environ);
	environ = list(bytes, length, names, 512, texts[0]);
	length = part(&bytes, lengths.argv);
	list(bytes, length, words, 512, texts[1]);
	stdin_left = part(&stdin_bytes, lengths.input);
	reply_left = part(&reply_bytes, lengths.reply);
	out_left = part(&out_bytes, lengths.out);
	err_left = part(&err_bytes, left);
	chunk = lengths.chunk + 1u;
	status = lengths.status & 1 ? lengths.status >> 1 : (lengths.status >> 1) << 8;
	input = NULL, input_size = 0, is_status = 0, file_count = 0;
	int count = 0;
	while (words[count] != NULL)
		count++;
	if (setjmp(ended) == 0)
		relay_main(count, words, environ);
	for (size_t i = 0; i < file_count; i++)
		close(files[i]);
	return 0;
}

#ifdef REPLAY
#undef open
#undef read
int main(int argc, char **argv)
{
	static uint8_t data[1 << 20];
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY);
		ssize_t size = fd < 0 ? -1 : read(fd, data, sizeof data);
		if (size < 0)
			return 2;
		close(fd);
		uint8_t *exact = malloc((size_t)size + 1); /* so that a read beyond the input is seen */
		memcpy(exact, data, (size_t)size);
		LLVMFuzzerTestOneInput(exact, (size_t)size);
		free(exact);
	}
	return 0;
}
#endif
