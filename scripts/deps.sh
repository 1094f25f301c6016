#!/bin/sh
# Installs what the tests need on a Debian machine: `make deps`; and packages
# given as arguments. Quick when nothing is missing. Without root it only says
# what is missing; the tests that need it are then skipped, with the reason.
set -eu

# Servers to store in, to balance with and to compare with; the Linux client
# (user-mode Linux and the tools around it); the programs that work on its mounts.
packages="
	redis-server nats-server haproxy nfs-ganesha nfs-ganesha-vfs nfs-kernel-server
	user-mode-linux nfs-common iproute2 iputils-ping kmod util-linux gcc libc6-dev
	acl attr nfs4-acl-tools fio sqlite3 rsync git perl e2fsprogs btrfs-progs quota tar
"

missing=
for p in $packages "$@"; do
	case $(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || :) in
	installed) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "deps: this is not a Debian machine; the tests would use these of its packages:$missing" >&2
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "deps: not installed:$missing" >&2
	echo "deps: tests that need them are skipped; as root, \`make deps\` installs them" >&2
	exit 0
fi

# Tests start their own servers: the packages must not start theirs.
policy=/usr/sbin/policy-rc.d saved=
restore() {
	rm -f "$policy"
	[ -z "$saved" ] || mv "$saved" "$policy"
}
if [ -e "$policy" ]; then
	saved=$policy.holdfast-saved
	mv "$policy" "$saved"
fi
trap restore EXIT
trap 'exit 1' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod +x "$policy"

echo "deps: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
# shellcheck disable=SC2086 # a list of words
apt-get install -y -q --no-install-recommends $missing >&2
