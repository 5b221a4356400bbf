/*
 * The relay: the program that a runtime executes as /opt/cni/bin/cni-cnm, or by the name of another plugin that this
 * program stands in for (cni_cnm/cni/names/). The name goes to the service, or to the full program, with the arguments.
 *
 * It sends one CNI call to the resident service (`cni-cnm serve`) and copies the answer. Without an answer it starts the
 * full program with the same environment, arguments and stdin, and copies its answer. The result is the same in both
 * cases. A program that ends without an answer (out of memory, files that cannot be read, killed) is answered for.
 *
 *   VERSION                                        answered here; stdin is not read
 *   setup, teardown without CNI_COMMAND            a call of netavark's plugin API, sent like one of CNI. Errors are
 *                                                  {"error": ...}
 *   no CNI_COMMAND                                 the full program (its command line). `serve`, `run` and `exec` are
 *                                                  executed in this process
 *   no service, connection refused or closed,      the full program, with the same stdin. Its CNI_CNM_REQUEST is the id
 *   another version, answer cut off or invalid     that the service was given: a request that the service has finished
 *                                                  is recognised and not run twice
 *   no answer within CNI_CNM_TIMEOUT               error 11 (try again later)
 *   no answer to STATUS within 1 s                 the full program: STATUS changes nothing, so it may be asked twice,
 *                                                  and a service that hangs makes no node NotReady
 *   no answer of the full program                  error 11 with its end and its last line on stderr
 *
 * Protocol: one request and one reply for each connection, numbers in host order. The other end is
 * cni_cnm/service/protocol.py: change both, and PROTOCOL with them.
 *
 *   request  struct request, then `environ` and `argv` (each string ends in NUL), then stdin verbatim. Descriptors
 *            (SCM_RIGHTS) come with its first byte: the relay's network namespace and, if `descriptors` is 2, the
 *            file that CNI_NETNS names, or netavark's argument
 *   reply    struct reply, then stdout and stderr verbatim. A connection that is closed earlier declines the request
 *
 * Environment: CNI_CNM_SOCKET (the service's socket; empty: none), CNI_CNM_PROGRAM (the full program),
 * CNI_CNM_TIMEOUT (whole seconds; 60). Compiled by build/relay.sh, which defines VERSION, VERSION_REPLY and VERSION_REPLIES.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROTOCOL "CNICNM1" /* eight bytes with its NUL */
#define SOCKET "/run/cni-cnm/service.sock"
#define PROGRAM "/cni-cnm" /* in the relay's folder; symbolic links are followed */
#define TEXT_MAX (2u << 20) /* environment and arguments: the kernel's default limit for a process */
#define STDIN_MAX (4u << 20)
#define REPLY_MAX (4u << 20)
#define ENVIRON_MAX 65536

struct request { char magic[8], version[32]; uint32_t environ, argv, input, descriptors; };
struct reply { char magic[8]; uint32_t code, out, err, reserved; };

/* The kernel allocates only the pages that are used. */
static union { struct request head; char bytes[sizeof(struct request) + TEXT_MAX + STDIN_MAX + 1]; } request;
static union { struct reply head; char bytes[sizeof(struct reply) + REPLY_MAX]; } reply;
static char *environment[ENVIRON_MAX + 2];
static char program[PATH_MAX + sizeof PROGRAM];
static char **arguments;
static struct timespec deadline;
static int is_status, of_netavark;
static const char *input; /* the stdin that was read; NULL before that */
static size_t input_size;

/* Write all of it; -1 if that fails three times. */
static int put(int fd, const char *bytes, size_t size)
{
	for (int failures = 0; size > 0 && failures < 3;) {
		ssize_t n = write(fd, bytes, size);
		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		else if (n < 0 && errno != EINTR)
			failures++;
		else if (n > 0)
			bytes += n, size -= (size_t)n;
	}
	return size > 0 ? -1 : 0;
}

_Noreturn static void fail(const char *code, const char *message, const char *cause)
{
	const char *parts[] = { "{\"cniVersion\":\"1.0.0\",\"code\":", code, ",\"msg\":\"", message, cause, "\"}\n" };
	char answer[1024] = "";
	const char *command = getenv("CNI_COMMAND");
	if (of_netavark) {
		snprintf(answer, sizeof answer, "{\"error\":\"%s%s\"}\n", message, cause);
		put(STDOUT_FILENO, answer, strlen(answer));
		_exit(1);
	}
	if (command == NULL || *command == '\0') {
		snprintf(answer, sizeof answer, "cni-cnm: %s%s\n", message, cause);
		put(STDERR_FILENO, answer, strlen(answer));
		_exit(strcmp(code, "11") == 0 ? 11 : 1);
	}
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		strcat(answer, parts[i]);
	put(STDOUT_FILENO, answer, strlen(answer));
	_exit(1);
}

/* Code 11 (try again) if the host has run out of something, else 5. */
_Noreturn static void fail_with(int number, const char *message)
{
	int scarce = number == ENOMEM || number == EMFILE || number == ENFILE || number == EAGAIN || number == ENOBUFS;
	fail(scarce ? "11" : "5", message, strerror(number));
}

/* A new file in memory with these bytes, as a program's stdin. */
static int file_of(const char *bytes, size_t size)
{
	int fd = memfd_create("stdin", MFD_CLOEXEC);
	if (fd < 0 || put(fd, bytes, size) < 0 || lseek(fd, 0, SEEK_SET) != 0)
		fail_with(errno, "stdin cannot be passed on to the full program: ");
	return fd;
}

/* Copy a file in memory, from its start. -1 if it cannot be read or written; else its size. */
static ssize_t copy(int from, int to)
{
	ssize_t size = 0, n;
	int failures = 0;
	while ((n = pread(from, reply.bytes, sizeof reply.bytes, size)) != 0) {
		if (n < 0 && (errno == EINTR || ++failures < 3))
			continue;
		if (n < 0 || put(to, reply.bytes, (size_t)n) < 0)
			return -1;
		size += n;
	}
	return size;
}

/* The last line of a file in memory, at most 200 bytes of it, with what JSON would have to escape as blanks. */
static const char *last_line(int fd)
{
	static char line[201];
	off_t size = lseek(fd, 0, SEEK_END);
	ssize_t n = pread(fd, line, sizeof line - 1, size > (off_t)sizeof line - 1 ? size - (off_t)sizeof line + 1 : 0);
	while (n > 0 && line[n - 1] == '\n')
		n--;
	line[n > 0 ? n : 0] = '\0';
	char *newline = strrchr(line, '\n'), *start = newline ? newline + 1 : line;
	for (char *c = start; *c != '\0'; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = ' ';
	return start;
}

/* Start the full program with these descriptors, and wait: its status. It gets `ends_with` if this process ends. */
static int run_program(const char *named, char **envp, int out, int err, int ends_with)
{
	static volatile int failed; /* the child of vfork has this process's memory */
	int status;
	signal(SIGCHLD, SIG_DFL); /* a caller may ignore it: then the kernel keeps no status of the program */
	pid_t relay = getpid(), child = vfork();
	if (child == 0) {
		signal(SIGINT, SIG_DFL), signal(SIGQUIT, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, ends_with);
		if (getppid() == relay && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
			execve(named, arguments, envp);
		failed = errno;
		_exit(127);
	}
	if (child < 0)
		fail_with(errno, "the full program cannot be started: ");
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			fail_with(errno, "the full program cannot be waited for: ");
	if (failed == ENOENT)
		fail("5", "the full program is missing beside the relay", "");
	if (failed)
		fail_with(failed, "the full program cannot be executed: ");
	return status;
}

/* The program ended without an answer. `err`: what it wrote to stderr. */
_Noreturn static void fail_for(int status, int err)
{
	char message[128];
	int killed = WIFSIGNALED(status);
	snprintf(message, sizeof message, "the program ended without an answer, %s %d: ",
		 killed ? "by signal" : "with exit code", killed ? WTERMSIG(status) : WEXITSTATUS(status));
	fail("11", message, last_line(err));
}

/* Let the full program answer a CNI call, and copy its answer. */
_Noreturn static void answer_by(const char *named, char **envp)
{
	int out = memfd_create("stdout", MFD_CLOEXEC), err = memfd_create("stderr", MFD_CLOEXEC);
	if (out < 0 || err < 0)
		fail_with(errno, "the full program cannot be started: ");
	prctl(PR_SET_NAME, "cni-cnm"); /* cni_cnm/kernel/process.py looks for the runtime above it */
	int status = run_program(named, envp, out, err, SIGKILL), code = WEXITSTATUS(status);
	if (!WIFEXITED(status) || (code != 0 && lseek(out, 0, SEEK_END) <= 0))
		fail_for(status, err);
	copy(err, STDERR_FILENO);
	_exit(copy(out, STDOUT_FILENO) < 0 ? 1 : code);
}

/* Let the full program run as a command line. Its stderr is a file in memory until it is loaded (cni_cnm/__main__.py):
 * so one sentence says that it could not be, where an interpreter prints a traceback. */
_Noreturn static void run_command(const char *named, char **envp)
{
	char restored[32];
	size_t count = 0;
	int real = dup(STDERR_FILENO), err = memfd_create("stderr", MFD_CLOEXEC);
	if (err < 0)
		fail_with(errno, "the full program cannot be started: ");
	while (envp[count] != NULL)
		count++;
	if (count > ENVIRON_MAX)
		fail_with(E2BIG, "the full program cannot be started: ");
	memcpy(environment, envp, count * sizeof *envp);
	snprintf(restored, sizeof restored, "CNI_CNM_STDERR=%d", real);
	environment[count] = restored, environment[count + 1] = NULL;
	signal(SIGINT, SIG_IGN), signal(SIGQUIT, SIG_IGN); /* the terminal sends them to the program as well */
	int status = run_program(named, environment, STDOUT_FILENO, err, SIGTERM);
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
		_exit(128 + WTERMSIG(status));
	if (!WIFEXITED(status) || lseek(err, 0, SEEK_END) > 0)
		fail_for(status, err);
	int code = WEXITSTATUS(status); /* libnftables ends its process with others, after a sentence of its own */
	_exit(code <= 3 || code == 11 ? code : 11);
}

/* Whether the program takes the place of the relay: a service, and what ends with the exit code of another command. */
static int is_replaced(const char *noun)
{
	return strcmp(noun, "serve") == 0 || strcmp(noun, "run") == 0 || strcmp(noun, "exec") == 0;
}

/* Execute the full program. It reads `input` again as its stdin. */
_Noreturn static void execute_program(char **envp)
{
	const char *named = getenv("CNI_CNM_PROGRAM"), *command = getenv("CNI_COMMAND");
	if (named == NULL || *named == '\0') {
		ssize_t n = readlink("/proc/self/exe", program, PATH_MAX);
		if (n < 0)
			fail_with(errno, "the full program cannot be found: ");
		char *slash = memrchr(program, '/', (size_t)n);
		memcpy(slash ? slash : program, PROGRAM, sizeof PROGRAM);
		named = program;
	}
	struct stat self, other; /* a copy of the relay under the program's name would execute itself for ever */
	if (stat("/proc/self/exe", &self) == 0 && stat(named, &other) == 0 && self.st_ino == other.st_ino &&
	    self.st_dev == other.st_dev)
		fail("5", "the full program is missing: this is the relay alone; install it with the program beside it", "");
	if (input != NULL) {
		int fd = file_of(input, input_size);
		if (dup2(fd, STDIN_FILENO) < 0)
			fail_with(errno, "stdin cannot be passed on to the full program: ");
	}
	if (of_netavark || (command != NULL && *command != '\0'))
		answer_by(named, envp);
	if (arguments[0] != NULL && arguments[1] != NULL && !is_replaced(arguments[1]))
		run_command(named, envp);
	execve(named, arguments, envp);
	fail_with(errno, "the full program cannot be executed: ");
}

/* Set the socket's time limit to the time that is left. Without any, the call ends here. */
static void limit(int sock)
{
	static int64_t set; /* the time that was left when it was set last; the kernel counts from there on */
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int64_t left = (deadline.tv_sec - now.tv_sec) * 1000000LL + (deadline.tv_nsec - now.tv_nsec) / 1000;
	if (left <= 0 && is_status)
		execute_program(environment);
	if (left <= 0)
		fail("11", "the service did not answer in time; see CNI_CNM_TIMEOUT and the log of cni-cnm serve", "");
	if (set - left >= 0 && set - left < 10000)
		return;
	set = left;
	struct timeval value = { left / 1000000, left % 1000000 };
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value);
}

static void start_clock(void)
{
	const char *text = getenv("CNI_CNM_TIMEOUT");
	long seconds = text ? strtol(text, NULL, 10) : 0;
	if (seconds < 1 || seconds > 86400)
		seconds = 60;
	if (is_status)
		seconds = 1;
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += seconds;
}

/* Copy strings with their NUL into the request from `at` on. Gives the end; 0 if they do not fit. */
static size_t pack(size_t at, char **strings, const char *skip, char **copies, size_t room)
{
	size_t end = at;
	for (; *strings != NULL; strings++) {
		size_t size = strlen(*strings) + 1;
		if (skip != NULL && strncmp(*strings, skip, strlen(skip)) == 0)
			continue;
		if (end + size > sizeof request.head + TEXT_MAX || room-- == 0)
			return 0;
		if (copies != NULL)
			*copies++ = request.bytes + end;
		memcpy(request.bytes + end, *strings, size);
		end += size;
	}
	return end;
}

/* Send the whole request; -1 if the service closed the connection. */
static int send_request(int sock, size_t size, const int *fds, unsigned count)
{
	char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec io = { request.bytes, size };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	*rights = (struct cmsghdr){ CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
	while (io.iov_len > 0) {
		limit(sock);
		ssize_t n = sendmsg(sock, &message, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
		if (n > 0) {
			io.iov_base = (char *)io.iov_base + n, io.iov_len -= (size_t)n;
			message.msg_control = NULL, message.msg_controllen = 0;
		}
	}
	return 0;
}

/* Receive the whole reply; -1 if it is cut off or invalid. Nothing is printed before it is complete. */
static int receive_reply(int sock)
{
	size_t have = 0, want = sizeof reply.head;
	while (have < want) {
		limit(sock);
		ssize_t n = recv(sock, reply.bytes + have, sizeof reply.bytes - have, 0);
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return -1;
		have += n > 0 ? (size_t)n : 0;
		if (have < sizeof reply.head)
			continue;
		if (memcmp(reply.head.magic, PROTOCOL, sizeof reply.head.magic) != 0 || reply.head.code > 255 ||
		    reply.head.out > REPLY_MAX || reply.head.err > REPLY_MAX - reply.head.out)
			return -1;
		want = sizeof reply.head + reply.head.out + reply.head.err;
	}
	return 0;
}

/* Answer VERSION: the plugins in VERSION_REPLIES support fewer versions than the others. */
static int answer_version(void)
{
	static const struct { const char *name, *reply; } others[] = { VERSION_REPLIES };
	const char *slash = strrchr(arguments[0], '/'), *name = slash ? slash + 1 : arguments[0];
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (strcmp(name, others[i].name) == 0)
			return put(STDOUT_FILENO, others[i].reply, strlen(others[i].reply)) < 0;
	return put(STDOUT_FILENO, VERSION_REPLY, sizeof VERSION_REPLY - 1) < 0;
}

int main(int argc, char **argv, char **envp)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	const char *command = getenv("CNI_COMMAND"), *path = getenv("CNI_CNM_SOCKET"), *netns = getenv("CNI_NETNS");
	unsigned char random[16];
	char id[] = "CNI_CNM_REQUEST=0123456789abcdef0123456789abcdef", *ids[] = { id, NULL };
	int fds[2], sock;

	arguments = argc > 0 ? argv : (char *[]){ "cni-cnm", NULL };
	if (command == NULL || *command == '\0') {
		of_netavark = argc > 1 && (strcmp(argv[1], "setup") == 0 || strcmp(argv[1], "teardown") == 0);
		if (!of_netavark)
			execute_program(envp);
		command = "", netns = argc > 2 ? argv[2] : NULL;
	}
	if (strcmp(command, "VERSION") == 0)
		return answer_version();
	do /* if the runtime has closed 0, 1 or 2, no socket of ours may take that number */
		sock = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (sock >= 0 && sock <= STDERR_FILENO && fcntl(sock, F_SETFD, 0) == 0);
	close(sock);

	if (getrandom(random, sizeof random, 0) != sizeof random)
		execute_program(envp);
	for (size_t i = 0; i < sizeof random; i++) {
		id[16 + 2 * i] = "0123456789abcdef"[random[i] >> 4];
		id[17 + 2 * i] = "0123456789abcdef"[random[i] & 15];
	}
	size_t environ_end = pack(sizeof request.head, ids, NULL, environment, 1);
	environ_end = pack(environ_end, envp, "CNI_CNM_REQUEST=", environment + 1, ENVIRON_MAX);
	size_t argv_end = environ_end ? pack(environ_end, arguments, NULL, NULL, ENVIRON_MAX) : 0;
	if (argv_end == 0 || (path != NULL && (*path == '\0' || strlen(path) >= sizeof address.sun_path)))
		execute_program(envp);
	if (path != NULL)
		memcpy(address.sun_path, path, strlen(path) + 1);

	fds[0] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || fds[0] < 0)
		execute_program(environment);
	is_status = strcmp(command, "STATUS") == 0;

	/* Everything is ready before the connection is made: the service then gets the whole request with it. */
	char *bytes = request.bytes + argv_end;
	size_t size = 0;
	for (ssize_t n = 1; n != 0; size += n > 0 ? (size_t)n : 0) {
		n = read(STDIN_FILENO, bytes + size, STDIN_MAX + 1 - size);
		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN }, 1, -1);
		else if (n < 0 && errno != EINTR)
			fail_with(errno, "the network configuration cannot be read from stdin: ");
		if (size + (n > 0 ? (size_t)n : 0) > STDIN_MAX)
			fail("6", "the network configuration is larger than 4 MiB", "");
	}

	/* O_NONBLOCK: if the path is a FIFO, the call must not block. */
	fds[1] = netns != NULL && *netns != '\0' ? open(netns, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	request.head = (struct request){ PROTOCOL, VERSION, (uint32_t)(environ_end - sizeof request.head),
					 (uint32_t)(argv_end - environ_end), (uint32_t)size, fds[1] < 0 ? 1 : 2 };
	input = bytes, input_size = size;
	start_clock(); /* the time in which the runtime writes stdin does not count */
	for (;;) {
		limit(sock);
		if (connect(sock, (struct sockaddr *)&address, sizeof address) == 0)
			break;
		if (errno != EINTR && errno != EAGAIN) /* EAGAIN: the service's queue is full; limit() ends the loop */
			execute_program(environment);
	}
	if (send_request(sock, argv_end + size, fds, request.head.descriptors) < 0 || receive_reply(sock) < 0)
		execute_program(environment);
	put(STDERR_FILENO, reply.bytes + sizeof reply.head + reply.head.out, reply.head.err);
	return put(STDOUT_FILENO, reply.bytes + sizeof reply.head, reply.head.out) < 0 ? 1 : (int)reply.head.code;
}
