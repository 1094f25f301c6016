/* What jobs need and a shell cannot do. Statically linked, so that it depends on nothing in the guest.
 * Every command ends with 0 when all was as it should be, 1 with a complaint otherwise. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("FAIL: nfstool: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

#define OK(call) do { if ((call) < 0) die("line %d: %s: %s", __LINE__, #call, strerror(errno)); } while (0)

static int posted(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "/run/posted/%s", name);
	return access(path, F_OK) == 0;
}

static void say(const char *fmt, ...)
{
	char line[256];
	const char *job = getenv("JOB");
	va_list ap;
	int n, fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		die("/dev/ttyS0: %s", strerror(errno));
	n = snprintf(line, sizeof line, "say %s ", job ? job : "?");
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	OK(write(fd, line, n));
	close(fd);
}

/* One byte-range lock request. */
static struct flock range(const char *type, const char *start, const char *len)
{
	struct flock l = { .l_whence = SEEK_SET, .l_start = atoll(start), .l_len = atoll(len) };

	l.l_type = *type == 'r' ? F_RDLCK : *type == 'u' ? F_UNLCK : F_WRLCK;
	return l;
}

static int open_lockfile(const char *path, const char *type)
{
	int fd = open(path, *type == 'r' ? O_RDONLY : O_RDWR | O_CREAT, 0666);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

/* hold FILE r|w START LEN CMD...: waits for the lock, then becomes CMD, which holds it until it ends. */
static int cmd_hold(int argc, char **argv)
{
	struct flock l = range(argv[2], argv[3], argv[4]);

	OK(fcntl(open_lockfile(argv[1], argv[2]), F_SETLKW, &l));
	execvp(argv[5], argv + 5);
	die("%s: %s", argv[5], strerror(errno));
	return 1;
}

/* trylock FILE r|w START LEN: prints "taken" or "busy". The lock ends with the command. */
static int cmd_trylock(int argc, char **argv)
{
	struct flock l = range(argv[2], argv[3], argv[4]);

	if (fcntl(open_lockfile(argv[1], argv[2]), F_SETLK, &l) == 0)
		puts("taken");
	else if (errno == EAGAIN || errno == EACCES)
		puts("busy");
	else
		die("F_SETLK: %s", strerror(errno));
	return 0;
}

/* getlk FILE r|w START LEN: prints "free", or type, start and length of a lock in the way. */
static int cmd_getlk(int argc, char **argv)
{
	struct flock l = range(argv[2], argv[3], argv[4]);

	OK(fcntl(open_lockfile(argv[1], argv[2]), F_GETLK, &l));
	if (l.l_type == F_UNLCK)
		puts("free");
	else
		printf("%c %lld %lld\n", l.l_type == F_RDLCK ? 'r' : 'w', (long long)l.l_start, (long long)l.l_len);
	return 0;
}

/* watchlock FILE START LEN NAME: until NAME is posted, tries over and over to take a lock that somebody else holds, and
 * asks who holds it. Fails when it is ever granted or reported free. Says "watching" after the first attempt, prints how
 * many there were. */
static int cmd_watchlock(int argc, char **argv)
{
	int fd = open_lockfile(argv[1], "w");
	long tries = 0;
	struct timespec pace = { .tv_nsec = 5 * 1000 * 1000 }; /* leaves the processor to the load */

	do {
		struct flock l = range("w", argv[2], argv[3]);

		if (fcntl(fd, F_SETLK, &l) == 0)
			die("took the lock at attempt %ld while another client holds it", tries);
		if (errno != EAGAIN && errno != EACCES)
			die("F_SETLK at attempt %ld: %s", tries, strerror(errno));
		l = range("w", argv[2], argv[3]);
		OK(fcntl(fd, F_GETLK, &l));
		if (l.l_type == F_UNLCK)
			die("the lock was reported free at attempt %ld while another client holds it", tries);
		if (tries++ == 0)
			say("watching");
		nanosleep(&pace, NULL);
	} while (!posted(argv[4]));
	printf("%ld attempts, all refused\n", tries);
	return 0;
}

/* counter FILE N: N times: lock the file's first bytes, read the number in it, add one, write it, unlock. Several clients
 * that do so at once lose no increment if locks exclude each other and data is revalidated under a lock. */
static int cmd_counter(int argc, char **argv)
{
	int fd = open_lockfile(argv[1], "w");

	for (long i = atol(argv[2]); i > 0; i--) {
		struct flock l = range("w", "0", "16");
		char text[32] = "";

		OK(fcntl(fd, F_SETLKW, &l));
		OK(pread(fd, text, 16, 0));
		snprintf(text, sizeof text, "%-16ld", atol(text) + 1);
		OK(pwrite(fd, text, 16, 0));
		l.l_type = F_UNLCK;
		OK(fcntl(fd, F_SETLK, &l));
	}
	return 0;
}

/* mmap FILE: a shared mapping and read/write see the same bytes; what was mapped and synced is in the file. */
static int cmd_mmap(int argc, char **argv)
{
	const size_t size = 1 << 20;
	char *map, got[64];
	int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);

	OK(fd);
	OK(ftruncate(fd, size));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	for (size_t i = 0; i < size; i++)
		map[i] = i % 251;
	OK(msync(map, size, MS_SYNC));
	OK(pread(fd, got, sizeof got, 70000));
	for (size_t i = 0; i < sizeof got; i++)
		if (got[i] != (char)((70000 + i) % 251))
			die("byte %zu read as %d", 70000 + i, got[i]);
	OK(pwrite(fd, "through write", 13, 5000));
	if (memcmp(map + 5000, "through write", 13))
		die("the mapping does not show what write(2) wrote");
	OK(munmap(map, size));
	return 0;
}

/* direct FILE: O_DIRECT writes and reads, also past the end, without the page cache between. */
static int cmd_direct(int argc, char **argv)
{
	const size_t block = 64 << 10;
	char *out, *in;
	int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644);
	ssize_t n;

	OK(fd);
	if (posix_memalign((void **)&out, 4096, block) || posix_memalign((void **)&in, 4096, block))
		die("no memory");
	for (int i = 7; i >= 0; i--) {
		memset(out, 'a' + i, block);
		if ((n = pwrite(fd, out, block, i * block)) != (ssize_t)block)
			die("write of block %d: %zd: %s", i, n, strerror(errno));
	}
	for (int i = 0; i < 8; i++) {
		memset(out, 'a' + i, block);
		if ((n = pread(fd, in, block, i * block)) != (ssize_t)block)
			die("read of block %d: %zd: %s", i, n, strerror(errno));
		if (memcmp(in, out, block))
			die("block %d differs", i);
	}
	OK(n = pread(fd, in, block, 8 * block));
	if (n != 0)
		die("read %zd bytes past the end", n);
	return 0;
}

/* excl DIR PREFIX N: creates PREFIX1 … PREFIXN with O_EXCL, prints the names it won. */
static int cmd_excl(int argc, char **argv)
{
	char path[512];

	for (int i = 1; i <= atoi(argv[3]); i++) {
		int fd;

		snprintf(path, sizeof path, "%s/%s%d", argv[1], argv[2], i);
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
		if (fd >= 0) {
			printf("%s%d\n", argv[2], i);
			OK(close(fd));
		} else if (errno != EEXIST) {
			die("%s: %s", path, strerror(errno));
		}
	}
	return 0;
}

/* socket PATH: leaves a Unix socket at PATH. */
static int cmd_socket(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	OK(fd);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", argv[1]);
	OK(bind(fd, (struct sockaddr *)&a, sizeof a));
	return 0;
}

/* holes FILE: prints the file's data ranges as "START-END" by SEEK_DATA and SEEK_HOLE, one per line. */
static int cmd_holes(int argc, char **argv)
{
	int fd = open(argv[1], O_RDONLY);
	off_t data, hole = 0;

	OK(fd);
	while ((data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		OK(hole = lseek(fd, data, SEEK_HOLE));
		printf("%lld-%lld\n", (long long)data, (long long)hole);
	}
	if (errno != ENXIO)
		die("SEEK_DATA: %s", strerror(errno));
	return 0;
}

/* churn DIR PREFIX NAME: until NAME is posted, creates, renames and removes names that start with PREFIX; says "churning"
 * after the first round and prints how many. Every step must succeed exactly once. */
static int cmd_churn(int argc, char **argv)
{
	char a[512], b[512];
	long rounds = 0;

	do {
		int fd, k = rounds % 50;

		snprintf(a, sizeof a, "%s/%s%d", argv[1], argv[2], k);
		snprintf(b, sizeof b, "%s/%sr%d", argv[1], argv[2], k);
		OK(fd = open(a, O_CREAT | O_EXCL | O_WRONLY, 0600));
		OK(close(fd));
		OK(rename(a, b));
		if (rounds >= 25) {
			snprintf(b, sizeof b, "%s/%sr%ld", argv[1], argv[2], (rounds - 25) % 50);
			OK(unlink(b));
		}
		if (rounds++ == 0)
			say("churning");
	} while (!posted(argv[3]));
	printf("%ld rounds\n", rounds);
	return 0;
}

/* copyrange FROM TO: copy_file_range of the whole file. */
static int cmd_copyrange(int argc, char **argv)
{
	struct stat st;
	int in = open(argv[1], O_RDONLY), out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
	off_t left;

	OK(in);
	OK(out);
	OK(fstat(in, &st));
	for (left = st.st_size; left > 0;) {
		ssize_t n = copy_file_range(in, NULL, out, NULL, left, 0);

		OK(n);
		if (n == 0)
			die("copy_file_range ended %lld bytes early", (long long)left);
		left -= n;
	}
	OK(close(out));
	return 0;
}

/* meta DIR: one round of everything that changes a directory. Each step has to succeed exactly once: a request that was
 * run twice shows as EEXIST or ENOENT. */
static int cmd_meta(int argc, char **argv)
{
	char value[32];
	struct stat st;
	int fd;

	OK(chdir(argv[1]));
	for (int i = 0; i < atoi(argv[2]); i++) {
		snprintf(value, sizeof value, "value %d", i);
		OK(mkdir("dir", 0755));
		OK(fd = open("dir/new", O_CREAT | O_EXCL | O_RDWR, 0600));
		OK(write(fd, value, sizeof value));
		OK(close(fd));
		OK(link("dir/new", "dir/link"));
		OK(rename("dir/new", "dir/renamed"));
		OK(symlink("renamed", "dir/sym"));
		OK(mkfifo("dir/fifo", 0600));
		OK(chmod("dir/renamed", 0640));
		OK(stat("dir/sym", &st));
		if (st.st_nlink != 2 || (st.st_mode & 07777) != 0640 || st.st_size != sizeof value)
			die("round %d: nlink %ju mode %o size %jd", i, (uintmax_t)st.st_nlink, st.st_mode, (intmax_t)st.st_size);
		OK(truncate("dir/renamed", 5));
		OK(rename("dir/link", "moved"));
		OK(unlink("dir/renamed"));
		OK(unlink("dir/sym"));
		OK(unlink("dir/fifo"));
		OK(rmdir("dir"));
		OK(fd = open("moved", O_RDONLY));
		if (read(fd, value, sizeof value) != 5 || memcmp(value, "value", 5))
			die("round %d: the file's data is wrong", i);
		OK(fstat(fd, &st));
		if (st.st_nlink != 1)
			die("round %d: %ju links after one of two was removed", i, (uintmax_t)st.st_nlink);
		OK(close(fd));
		OK(unlink("moved"));
	}
	return 0;
}

/* appendlog FILE FROM N: appends the numbers FROM … FROM+N-1, one line each and one O_APPEND|O_SYNC write per line. */
static int cmd_appendlog(int argc, char **argv)
{
	int fd = open(argv[1], O_CREAT | O_WRONLY | O_APPEND | O_SYNC, 0644);
	char line[32];

	OK(fd);
	for (long i = atol(argv[2]), end = i + atol(argv[3]); i < end; i++) {
		int n = snprintf(line, sizeof line, "%ld\n", i);

		if (write(fd, line, n) != n)
			die("line %ld: %s", i, strerror(errno));
	}
	OK(close(fd));
	return 0;
}

static double now_ms(void)
{
	struct timespec t;

	OK(clock_gettime(CLOCK_MONOTONIC, &t));
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* pulse DIR NAME: until NAME is posted, rounds of small work in DIR that each have to succeed exactly once. About five times
 * a second, and after every call that took long, says "pulse ROUNDS MS OPERATION": the rounds so far, and the call that took
 * longest since the last such line. */
static int cmd_pulse(int argc, char **argv)
{
	double said = now_ms(), longest = 0, from, took;
	const char *which = "none";
	char text[32], got[32];
	long rounds = 0;
	int fd, stop = 0;

#define TIMED(what, call) do { \
		from = now_ms(); \
		OK(call); \
		took = now_ms() - from; \
		if (took > longest) { \
			longest = took; \
			which = what; \
		} \
	} while (0)
	OK(chdir(argv[1]));
	TIMED("open", fd = open("file", O_CREAT | O_EXCL | O_RDWR, 0644));
	while (!stop) {
		stop = posted(argv[2]);
		memset(text, 0, sizeof text);
		snprintf(text, sizeof text, "round %ld", ++rounds);
		TIMED("mkdir", mkdir("dir", 0755));
		TIMED("rename", rename("dir", "moved"));
		TIMED("rmdir", rmdir("moved"));
		TIMED("write", pwrite(fd, text, sizeof text, rounds % 100 * sizeof text));
		TIMED("fsync", fsync(fd));
		TIMED("read", pread(fd, got, sizeof got, rounds % 100 * sizeof text));
		if (memcmp(text, got, sizeof text))
			die("round %ld: read back '%.32s'", rounds, got);
		TIMED("lock", fcntl(fd, F_SETLKW, &(struct flock){ .l_type = F_WRLCK, .l_len = 10 }));
		TIMED("unlock", fcntl(fd, F_SETLK, &(struct flock){ .l_type = F_UNLCK, .l_len = 10 }));
		if (longest > 100 || now_ms() - said > 200 || stop) {
			say("pulse %ld %.0f %s", rounds, longest, which);
			said = now_ms();
			longest = 0;
			which = "none";
		}
	}
	OK(close(fd));
	return 0;
}

/* latewrite FILE TEXT LATE NAME: writes TEXT under a lock, says "locked", and waits until NAME is posted. Then what it writes must
 * not be taken any more: prints the error that it is told. */
static int cmd_latewrite(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR | O_CREAT | O_SYNC, 0666);
	struct flock l = range("w", "0", "100");
	struct timespec pace = { .tv_nsec = 20 * 1000 * 1000 };

	OK(fd);
	OK(fcntl(fd, F_SETLKW, &l));
	OK(pwrite(fd, argv[2], strlen(argv[2]), 0));
	say("locked");
	while (!posted(argv[4]))
		nanosleep(&pace, NULL);
	if (pwrite(fd, argv[3], strlen(argv[3]), 0) >= 0)
		die("what was written without the lock was taken");
	printf("%s\n", strerror(errno));
	return 0;
}

static const struct {
	const char *name;
	int args; /* at least */
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "hold", 5, cmd_hold },
	{ "trylock", 4, cmd_trylock },
	{ "getlk", 4, cmd_getlk },
	{ "watchlock", 4, cmd_watchlock },
	{ "counter", 2, cmd_counter },
	{ "mmap", 1, cmd_mmap },
	{ "direct", 1, cmd_direct },
	{ "excl", 3, cmd_excl },
	{ "socket", 1, cmd_socket },
	{ "holes", 1, cmd_holes },
	{ "churn", 3, cmd_churn },
	{ "copyrange", 2, cmd_copyrange },
	{ "meta", 2, cmd_meta },
	{ "appendlog", 3, cmd_appendlog },
	{ "pulse", 2, cmd_pulse },
	{ "latewrite", 4, cmd_latewrite },
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
		if (!strcmp(argv[1], commands[i].name)) {
			if (argc - 2 < commands[i].args)
				die("%s: too few arguments", argv[1]);
			return commands[i].run(argc - 1, argv + 1);
		}
	die("no command %s", argc > 1 ? argv[1] : "given");
	return 1;
}
