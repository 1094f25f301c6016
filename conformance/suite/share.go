package suite

import (
	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func shareTests() []Test {
	return []Test{
		{Code: "SHARE1", minors: all, RFC: "RFC 8881 §9.7", Says: "every pair of access and deny conflicts as it must, between two owners", run: shareTable},
		{Code: "SHARE2", minors: all, RFC: "RFC 8881 §9.7", Says: "a deny holds against another client too", run: shareOtherClient},
		{Code: "SHARE3", minors: all, RFC: "RFC 8881 §9.9", Says: "CLOSE gives a deny back", run: shareClose},
		{Code: "SHARE4", minors: all, RFC: "RFC 8881 §18.18", Says: "OPEN_DOWNGRADE gives a deny back", run: shareDowngrade},
		{Code: "SHARE5", minors: all, RFC: "RFC 8881 §9.7", Says: "the deny of an owner's own open holds against its next open, too", run: shareOwn},
		{Code: "SHARE6", minors: all, RFC: "RFC 8881 §18.32.3", Says: "a WRITE without open against a deny is NFS4ERR_LOCKED", run: shareAnonymousWrite},
		{Code: "SHARE7", minors: all, RFC: "RFC 8881 §18.22.3", Says: "a READ without open against a deny is NFS4ERR_LOCKED; the bypass stateid may read", run: shareAnonymousRead},
		{Code: "SHARE8", minors: all, RFC: "RFC 8881 §18.16.3", Says: "creating over a file that is denied fails and does not cut it", run: shareTruncate},
		{Code: "SHARE9", minors: all, RFC: "RFC 8881 §9.7", Says: "an OPEN refused with NFS4ERR_SHARE_DENIED denies nobody anything", run: shareRefusedLeavesNothing},
		{Code: "SHARE10", minors: all, RFC: "RFC 8881 §18.30.3", Says: "setting the size without open against a deny is NFS4ERR_LOCKED", run: shareSetSize},
		{Code: "SHARE11", minors: all, RFC: "RFC 8881 §9.7", Says: "an upgrade that conflicts is refused and leaves the open as it was", run: shareUpgrade},
	}
}

func shareTable(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	for access1 := uint32(1); access1 <= 3; access1++ {
		for deny1 := uint32(0); deny1 <= 3; deny1++ {
			f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: access1, Deny: deny1, Name: "f"})
			e.Must(err)
			for access2 := uint32(1); access2 <= 3; access2++ {
				for deny2 := uint32(0); deny2 <= 3; deny2++ {
					want := nfs4.OK
					if access1&deny2 != 0 || access2&deny1 != 0 {
						want = nfs4.ErrShareDenied
					}
					g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: access2, Deny: deny2, Name: "f"})
					if s, _ := client.Status(err); s != want {
						e.Fatalf("access %d deny %d, then access %d deny %d: %v, want %v", access1, deny1, access2, deny2, err, want)
					}
					if g != nil {
						e.Must(g.Close())
					}
				}
			}
			e.Must(f.Close())
		}
	}
}

func shareOtherClient(e *Env) {
	dir := e.Dir()
	e.Closed(e.Client(), dir, "f", "")
	f, err := e.Client().Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: nfs4.ShareDenyWrite, Name: "f"})
	e.Must(err)
	other := e.NewClient(nil)
	_, err = other.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	g, err := other.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	e.Must(g.Close())
	e.Must(f.Close())
}

func shareClose(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	for range 5 {
		f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 3, Name: "f"})
		e.Must(err)
		e.Must(f.Close())
	}
}

func shareDowngrade(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	// Downgrading needs a sequence of opens of which the result is a union.
	o := client.NewOwner()
	_, err := c.Open(o, dir, client.OpenArgs{Access: 1, Deny: 0, Name: "f"})
	e.Must(err)
	f, err := c.Open(o, dir, client.OpenArgs{Access: 3, Deny: 2, Name: "f"})
	e.Must(err)
	_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 2, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	e.Must(f.Downgrade(1, 0))
	g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 2, Name: "f"})
	e.Must(err)
	e.Must(g.Close())
	e.Must(f.Close())
}

func shareOwn(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	o := client.NewOwner()
	f, err := c.Open(o, dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Must(err)
	_, err = c.Open(o, dir, client.OpenArgs{Access: 2, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	_, err = c.Open(o, dir, client.OpenArgs{Access: 1, Deny: 1, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	e.Must(f.Close())
}

func shareAnonymousWrite(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "data")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: nfs4.ShareDenyWrite, Name: "f"})
	e.Must(err)
	e.Want(c, is(nfs4.ErrLocked), client.PutFH(f.FH), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
	e.Want(c, is(nfs4.ErrLocked), client.PutFH(f.FH), client.Write(nfs4.BypassStateid, 0, nfs4.FileSync, []byte("x")))
	e.Must(f.Close())
	e.OK(c, client.PutFH(f.FH), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
}

func shareAnonymousRead(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "data")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: nfs4.ShareDenyRead, Name: "f"})
	e.Must(err)
	e.Want(c, is(nfs4.ErrLocked), client.PutFH(f.FH), client.Read(nfs4.AnonymousStateid, 0, 4))
	e.Want(c, is(nfs4.OK, nfs4.ErrLocked), client.PutFH(f.FH), client.Read(nfs4.BypassStateid, 0, 4))
	e.Must(f.Close())
}

func shareTruncate(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "contents")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: nfs4.ShareDenyWrite, Name: "f"})
	e.Must(err)
	_, err = e.create(c, dir, client.OpenArgs{Access: 2, Name: "f", Attrs: new(client.Attrs).SetSize(0)})
	e.Err(err, nfs4.ErrShareDenied)
	if got := e.Attrs(c, fh, nfs4.AttrSize).Size(); got != 8 {
		e.Fatalf("the refused OPEN cut the file to %d bytes", got)
	}
	// Opening for reading with size 0 cuts the file as well: also denied.
	_, err = e.create(c, dir, client.OpenArgs{Access: 1, Name: "f", Attrs: new(client.Attrs).SetSize(0)})
	e.Err(err, nfs4.ErrShareDenied, nfs4.ErrLocked, nfs4.ErrInval, nfs4.ErrAccess)
	if got := e.Attrs(c, fh, nfs4.AttrSize).Size(); got != 8 {
		e.Errorf("size %d", got)
	}
	e.Must(f.Close())
}

func shareRefusedLeavesNothing(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Must(err)
	_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 2, Deny: 1, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	// The refused open would have denied reading.
	g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	e.Must(g.Close())
	e.Must(f.Close())
	h, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 3, Name: "f"})
	e.Must(err)
	e.Must(h.Close())
}

func shareSetSize(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "contents")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: nfs4.ShareDenyWrite, Name: "f"})
	e.Must(err)
	e.Want(c, is(nfs4.ErrLocked), client.PutFH(f.FH), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetSize(0)))
	e.Must(f.Close())
}

func shareUpgrade(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	o := client.NewOwner()
	f, err := c.Open(o, dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Must(err)
	_, err = c.Open(o, dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	_, err = f.Read(0, 1)
	e.Must(err)
	_, err = f.Write(0, nfs4.FileSync, []byte("x"))
	e.Err(err, nfs4.ErrOpenMode)
	e.Must(g.Close())
	e.Must(f.Close())
}
