package kernel

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// nfsdScript starts the kernel's NFS server on the guest's disk. What the tools want to write is on the guest's own memory.
// With nothing to reclaim the kernel skips its grace period.
const nfsdScript = `
mount -t tmpfs tmpfs /var/lib/nfs
mkdir -p /var/lib/nfs/v4recovery /var/lib/nfs/nfsdcld /var/lib/nfs/rpc_pipefs
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
mkdir -p /mnt/export
mount -t ext4 /dev/ubda /mnt/export
modprobe -d /run/kmod nfsd
mount -t nfsd nfsd /proc/fs/nfsd
mount -t rpc_pipefs rpc_pipefs /var/lib/nfs/rpc_pipefs
nfsdcld -p /var/lib/nfs/rpc_pipefs -s /var/lib/nfs/nfsdcld
exportfs -i -o rw,sync,no_root_squash,no_subtree_check,insecure,fsid=0 '*:/mnt/export'
# The groups of a credential count, not those of the guest's users.
printf '[mountd]\nmanage-gids=n\n' > /run/nfs.conf
mount --bind /run/nfs.conf /etc/nfs.conf
rpc.mountd --no-nfs-version 2 --no-nfs-version 3
echo 15 > /proc/fs/nfsd/nfsv4gracetime
echo 15 > /proc/fs/nfsd/nfsv4leasetime
rpc.nfsd --no-nfs-version 3 --tcp --no-udp 8
`

// LinuxServer boots a guest that serves an empty ext4 file system with Linux' own NFS server, a peer to compare with, and
// returns it with the address where it serves. Its root is the export; root is not squashed.
func (l *Lab) LinuxServer(tb testing.TB, name string) (*Guest, netip.AddrPort) {
	tb.Helper()
	Need(tb, "mkfs.ext4", "exportfs", "rpc.nfsd", "rpc.mountd", "nfsdcld")
	// The host needs an address in the guests' network.
	if _, err := l.newServerAddr(false); err != nil {
		tb.Fatal(err)
	}
	disk := filepath.Join(l.Dir, "disk."+name)
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	// Sparse, and large enough for files beyond 4 GiB with holes.
	if err := os.Truncate(disk, 8<<30); err != nil {
		tb.Fatal(err)
	}
	if err := run("mkfs.ext4", "-q", "-F", disk); err != nil {
		tb.Fatal(err)
	}
	// What it grants to sessions is a share of its memory.
	g, err := l.boot(name, disk, "2G")
	if err != nil {
		tb.Fatalf("boot guest %s: %v", name, err)
	}
	tb.Cleanup(g.Halt)
	l.await(tb, []*Guest{g})
	g.Run(tb, nfsdScript)
	return g, netip.AddrPortFrom(g.Addr, 2049)
}
