package nfsops_test

import (
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// TestUnlinked: who has a file open that another client removes goes on reading and writing it. Nobody opens it any more
// by its filehandle, which a client does that still has the name in its cache: it would take the old file for the one of that name
// and what it writes would be lost. When it is closed the filehandle is stale.
func TestUnlinked(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, a *client.Client) {
		b := h.client(a.Config.Minor, 0)
		dir := walk(t, a, "a")
		f, err := b.CreateFile(dir, "f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(0, nfs4.Unstable, []byte("data")); err != nil {
			t.Fatal(err)
		}
		must(t, a, client.PutFH(dir), client.Remove("f"))
		if a.Config.Minor > 0 {
			for name, c := range map[string]*client.Client{"who removed it": a, "who has it open": b} {
				for _, access := range []uint32{nfs4.ShareAccessRead, nfs4.ShareAccessBoth} {
					_, err := c.Open(client.NewOwner(), f.FH, client.OpenArgs{Access: access, Claim: nfs4.ClaimFH})
					if s, _ := client.Status(err); s != nfs4.ErrStale {
						t.Errorf("OPEN by filehandle of %s: %v, want NFS4ERR_STALE", name, err)
					}
				}
			}
		}
		if _, err := f.Write(4, nfs4.FileSync, []byte(" and more")); err != nil {
			t.Error(err)
		}
		if got, err := f.Read(0, 100); err != nil || string(got.Data) != "data and more" {
			t.Errorf("READ: %v, %v", got, err)
		}
		if s := status(t, b, client.PutFH(f.FH), client.GetAttr(nfs4.AttrSize)); s != nfs4.OK {
			t.Errorf("GETATTR while it is open: %v", s)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if s := status(t, b, client.PutFH(f.FH), client.GetAttr(nfs4.AttrSize)); s != nfs4.ErrStale {
			t.Errorf("GETATTR after CLOSE: %v, want NFS4ERR_STALE", s)
		}
	})
}
