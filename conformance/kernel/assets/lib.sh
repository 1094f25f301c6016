# Put before every job: what a job can say to the test that runs it.
set -euo pipefail
shopt -s inherit_errexit

# say TEXT...: one line to the test, which takes it with Job.Expect.
say() { printf 'say %s %s\n' "$JOB" "$*" > /dev/ttyS0; }

# await NAME: sleep until the test has called Guest.Post(NAME); one wake per post.
await() {
	mkfifo "/run/wake.$1" 2>/dev/null || :
	read -r _ < "/run/wake.$1" || :
}

# posted NAME: true once the test has called Guest.Post(NAME).
posted() { [ -e "/run/posted/$1" ]; }

die() { echo "FAIL: $*"; exit 1; }

# same WANT GOT WHAT: stops the job unless both are equal.
same() { [ "$1" = "$2" ] || die "$3: want '$1', got '$2'"; }

# refused WANT CMD...: CMD must fail and its complaint must hold WANT.
refused() {
	local want=$1 out
	shift
	if out=$("$@" 2>&1); then die "'$*' was allowed"; fi
	case $out in *"$want"*) ;; *) die "'$*' failed with '$out', want '$want'" ;; esac
}

# as UID CMD...: run CMD as that user and group, without further groups.
as() {
	local id=$1
	shift
	setpriv --reuid="$id" --regid="$id" --clear-groups -- "$@"
}
trap 'echo "FAIL: $(date -u +%T.%N): line $LINENO of the job: $BASH_COMMAND (status $?)"' ERR
