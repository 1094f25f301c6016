/* Starts user-mode Linux as the first process of a process namespace of its own
 * and ends with it. Killing this process ends the guest with all its threads: the
 * guest's first process gets the parent-death signal, and the kernel ends a
 * process namespace together with its first process.
 *
 * It also hides PTRACE_GETREGSET from user-mode Linux, which then falls back to
 * the 512-byte floating-point area: on processors whose XSAVE area is larger than
 * Debian's UML 6.1 expects (AMX and the like) it would stop with "ptrace set fp
 * regs failed, errno = 14". Elsewhere this changes nothing. The upper halves of the
 * vector registers are lost at page faults, so programs inside must not use AVX:
 * init.sh turns it off for glibc and Go. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int hide_getregset(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ptrace, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x4204 /* PTRACE_GETREGSET */, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENODEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof filter / sizeof *filter, filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

int main(int argc, char **argv)
{
	pid_t child, pid;
	int status;

	if (argc < 2) {
		fprintf(stderr, "usage: fpwrap PROGRAM ARG...\n");
		return 2;
	}
	if (unshare(CLONE_NEWPID)) {
		perror("unshare");
		return 1;
	}
	child = fork();
	if (child < 0) {
		perror("fork");
		return 1;
	}
	if (child == 0) {
		const struct sched_param none = { 0 };

		sched_setscheduler(0, SCHED_OTHER, &none); /* who starts us may be real-time: lab.go */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || hide_getregset()) {
			perror("prctl");
			_exit(1);
		}
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	while ((pid = wait(&status)) != child)
		if (pid < 0 && errno != EINTR)
			return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
