/*
 * What the relay needs of a C library, for programs that are linked without one: build/relay.sh.
 *
 * A static program with glibc starts in 0.4 ms, most of which are CPUID instructions that a hypervisor has to answer. This
 * one starts in 0.1 ms, and the relay runs for each pod. Functions have the names and the meaning of the C library's. They
 * do only what build/relay.c uses: `snprintf` knows %s and %d, `strerror` knows what a host runs out of and what a
 * path can have.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv, char **envp);

char **environ;
static int error;

int *__errno_location(void) { return &error; }

static long call6(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
#ifdef __x86_64__
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
#else /* aarch64 */
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	result = x0;
#endif
	if (result < 0 && result > -4096) {
		error = (int)-result;
		return -1;
	}
	return result;
}
#define CALL(name, a, b, c, d) call6(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

#ifdef __x86_64__
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n"
	/* The child uses the parent's stack: the return address must not be on it. */
	".globl vfork\nvfork:\n\tpop %rdx\n\tmov $58, %eax\n\tsyscall\n\tpush %rdx\n\ttest %eax, %eax\n\tjs 1f\n\tret\n"
	"1:\tneg %eax\n\tmov %eax, error(%rip)\n\tmov $-1, %eax\n\tret\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x0, sp\n\tand sp, x0, #-16\n\tbl start\n"
	".globl vfork\nvfork:\n\tmov x0, #0x4111\n\tmov x1, xzr\n\tmov x8, #220\n\tsvc 0\n\ttbnz w0, #31, 1f\n\tret\n"
	"1:\tneg w0, w0\n\tadrp x1, error\n\tstr w0, [x1, #:lo12:error]\n\tmov w0, #-1\n\tret\n");
#endif

__attribute__((used)) _Noreturn static void start(long *stack)
{
	int argc = (int)*stack;
	char **argv = (char **)(stack + 1);
	environ = argv + argc + 1;
	_exit(main(argc, argv, environ));
}

/* Memory and strings. */

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	char *t = to;
	for (const char *f = from; size > 0; size--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	for (char *t = to; size > 0; size--)
		*t++ = (char)byte;
	return to;
}

int memcmp(const void *one, const void *other, size_t size)
{
	for (const unsigned char *a = one, *b = other; size > 0; size--, a++, b++)
		if (*a != *b)
			return *a - *b;
	return 0;
}

void *memrchr(const void *bytes, int byte, size_t size)
{
	for (const char *b = bytes; size > 0; size--)
		if (b[size - 1] == (char)byte)
			return (void *)(b + size - 1);
	return NULL;
}

size_t strlen(const char *text)
{
	size_t size = 0;
	while (text[size] != '\0')
		size++;
	return size;
}

int strncmp(const char *one, const char *other, size_t size)
{
	for (; size > 0; size--, one++, other++)
		if (*one != *other || *one == '\0')
			return (unsigned char)*one - (unsigned char)*other;
	return 0;
}

int strcmp(const char *one, const char *other) { return strncmp(one, other, SIZE_MAX); }

char *strrchr(const char *text, int byte) { return memrchr(text, byte, strlen(text) + 1); }

char *stpcpy(char *restrict to, const char *restrict from)
{
	size_t size = strlen(from);
	memcpy(to, from, size + 1);
	return to + size;
}

char *strcat(char *restrict to, const char *restrict from)
{
	stpcpy(to + strlen(to), from);
	return to;
}

long strtol(const char *restrict text, char **restrict end, int base)
{
	const char *c = text + (*text == '-' || *text == '+');
	long value = 0;
	for (; *c >= '0' && *c <= '9' && value < 1000000000; c++)
		value = value * base + *c - '0';
	if (end != NULL)
		*end = (char *)c;
	return *text == '-' ? -value : value;
}

char *getenv(const char *name)
{
	size_t size = strlen(name);
	for (char **entry = environ; *entry != NULL; entry++)
		if (strncmp(*entry, name, size) == 0 && (*entry)[size] == '=')
			return *entry + size + 1;
	return NULL;
}

char *strerror(int number)
{
	static const struct { int number; char text[40]; } known[] = {
		{ EPERM, "Operation not permitted" }, { ENOENT, "No such file or directory" }, { EIO, "Input/output error" },
		{ EACCES, "Permission denied" }, { ENOEXEC, "Exec format error" }, { EBADF, "Bad file descriptor" },
		{ EAGAIN, "Resource temporarily unavailable" }, { ENOMEM, "Cannot allocate memory" },
		{ ENOTDIR, "Not a directory" }, { EISDIR, "Is a directory" }, { ENFILE, "Too many open files in system" },
		{ EMFILE, "Too many open files" }, { ENOSPC, "No space left on device" }, { E2BIG, "Argument list too long" },
		{ ENOBUFS, "No buffer space available" }, { ELOOP, "Too many levels of symbolic links" },
		{ ETXTBSY, "Text file busy" }, { EINVAL, "Invalid argument" }, { ENOSYS, "Function not implemented" },
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].number == number)
			return (char *)known[i].text;
	return "an error of the system";
}

int snprintf(char *restrict text, size_t room, const char *restrict format, ...)
{
	va_list values;
	size_t size = 0;
	va_start(values, format);
	for (; *format != '\0'; format++) {
		char digits[12], *part = digits + sizeof digits - 1;
		if (*format != '%') {
			part[-1] = *format, part[0] = '\0', part--;
		} else if (*++format == 's') {
			part = va_arg(values, char *);
		} else { /* %d */
			int value = va_arg(values, int);
			unsigned left = value < 0 ? -(unsigned)value : (unsigned)value;
			*part = '\0';
			do
				*--part = (char)('0' + left % 10);
			while ((left /= 10) > 0);
			if (value < 0)
				*--part = '-';
		}
		for (; *part != '\0'; part++, size++)
			if (size + 1 < room)
				text[size] = *part;
	}
	va_end(values);
	if (room > 0)
		text[size < room ? size : room - 1] = '\0';
	return (int)size;
}

/* System calls. */

void _exit(int code)
{
	for (;;)
		CALL(exit_group, code, 0, 0, 0);
}

int open(const char *path, int flags, ...)
{
	va_list values;
	va_start(values, flags);
	int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(values, int) : 0;
	va_end(values);
	return (int)CALL(openat, AT_FDCWD, path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
	va_list values;
	va_start(values, command);
	long value = va_arg(values, long);
	va_end(values);
	return (int)CALL(fcntl, fd, command, value, 0);
}

int prctl(int option, ...)
{
	va_list values;
	va_start(values, option);
	unsigned long value = va_arg(values, unsigned long);
	va_end(values);
	return (int)CALL(prctl, option, value, 0, 0);
}

sighandler_t signal(int number, sighandler_t handler) /* SIG_DFL or SIG_IGN */
{
	unsigned long action[4] = { (unsigned long)handler, 0, 0, 0 };
	return CALL(rt_sigaction, number, action, NULL, 8) < 0 ? SIG_ERR : SIG_DFL;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
	return (int)CALL(ppoll, fds, count, timeout_ms < 0 ? NULL : &limit, NULL);
}

int stat(const char *restrict path, struct stat *restrict found) { return (int)CALL(newfstatat, AT_FDCWD, path, found, 0); }
ssize_t readlink(const char *restrict path, char *restrict text, size_t size) { return CALL(readlinkat, AT_FDCWD, path, text, size); }
ssize_t read(int fd, void *bytes, size_t size) { return CALL(read, fd, bytes, size, 0); }
ssize_t write(int fd, const void *bytes, size_t size) { return CALL(write, fd, bytes, size, 0); }
ssize_t pread(int fd, void *bytes, size_t size, off_t offset) { return CALL(pread64, fd, bytes, size, offset); }
off_t lseek(int fd, off_t offset, int whence) { return CALL(lseek, fd, offset, whence, 0); }
int close(int fd) { return (int)CALL(close, fd, 0, 0, 0); }
int dup(int fd) { return (int)CALL(dup, fd, 0, 0, 0); }
int dup2(int from, int to) { return from == to ? fcntl(from, F_GETFD) < 0 ? -1 : to : (int)CALL(dup3, from, to, 0, 0); }
int memfd_create(const char *name, unsigned flags) { return (int)CALL(memfd_create, name, flags, 0, 0); }
ssize_t getrandom(void *bytes, size_t size, unsigned flags) { return CALL(getrandom, bytes, size, flags, 0); }
int clock_gettime(clockid_t clock, struct timespec *now) { return (int)CALL(clock_gettime, clock, now, 0, 0); }
pid_t getpid(void) { return (pid_t)CALL(getpid, 0, 0, 0, 0); }
pid_t getppid(void) { return (pid_t)CALL(getppid, 0, 0, 0, 0); }
pid_t waitpid(pid_t pid, int *status, int options) { return (pid_t)CALL(wait4, pid, status, options, NULL); }
int execve(const char *path, char *const argv[], char *const envp[]) { return (int)CALL(execve, path, argv, envp, 0); }
int socket(int family, int type, int protocol) { return (int)CALL(socket, family, type, protocol, 0); }
int connect(int fd, const struct sockaddr *address, socklen_t size) { return (int)CALL(connect, fd, address, size, 0); }
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) { return CALL(sendmsg, fd, message, flags, 0); }
ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
	return call6(SYS_recvfrom, fd, (long)bytes, (long)size, flags, 0, 0);
}
int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	return (int)call6(SYS_setsockopt, fd, level, option, (long)value, size, 0);
}
