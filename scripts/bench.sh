#!/bin/sh
# Measures holdfast beside NFS-Ganesha on this machine, in turn in one run:
# `make bench`, or scripts/bench.sh [flags of holdfast bench].
#
# Both serve a directory of the same file system on loopback, Ganesha as
# Debian packages it (nfs-ganesha, nfs-ganesha-vfs) with its defaults.
set -eu
cd "$(dirname "$0")/.."
command -v ganesha.nfsd >/dev/null || { echo "bench: NFS-Ganesha is missing: make deps" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "bench: NFS-Ganesha's VFS backend needs root" >&2; exit 1; }
go build -o bin/holdfast ./cmd/holdfast

dir=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-bench.XXXXXX")
ours= theirs=
cleanup() {
	[ -z "$ours" ] || kill "$ours" 2>/dev/null || :
	[ -z "$theirs" ] || kill "$theirs" 2>/dev/null || :
	wait 2>/dev/null || :
	rm -rf "$dir"
}
trap cleanup EXIT INT TERM
mkdir "$dir/ours" "$dir/theirs" "$dir/state"

# Two free ports, found by asking the kernel.
port() { bin/holdfast bench --free-port; }
p1=$(port) p2=$(port)

cat >"$dir/ganesha.conf" <<EOF
NFS_CORE_PARAM { NFS_Port = $p2; NFS_Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; Bind_addr = 127.0.0.1; }
NFSV4 { Graceless = true; }
EXPORT {
	Export_Id = 1; Path = $dir/theirs; Pseudo = /export; Access_Type = RW;
	Squash = No_Root_Squash; SecType = sys; Protocols = 4; Transports = TCP;
	FSAL { Name = VFS; }
}
EOF
mkdir -p /var/run/ganesha
ganesha.nfsd -F -f "$dir/ganesha.conf" -L "$dir/ganesha.log" -p "$dir/ganesha.pid" >/dev/null 2>&1 &
theirs=$!
bin/holdfast serve "$dir/ours" --listen "127.0.0.1:$p1" --state "$dir/state" --no-root-squash >"$dir/holdfast.log" 2>&1 &
ours=$!

bin/holdfast bench --server "127.0.0.1:$p1" --pid "$ours" --name holdfast \
	--against "127.0.0.1:$p2" --against-path /export --against-pid "$theirs" --against-name ganesha --wait 30s "$@"
