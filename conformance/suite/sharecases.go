package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A shareMode is what an OPEN asks for itself and denies others.
type shareMode struct{ access, deny uint32 }

func (m shareMode) String() string {
	names := []string{"none", "read", "write", "both"}
	return "access " + names[m.access] + ", deny " + names[m.deny]
}

func (m shareMode) conflicts(o shareMode) bool { return m.access&o.deny != 0 || m.deny&o.access != 0 }

// upgrades are the other modes in which the same owner may open the file too.
func (m shareMode) upgrades() (modes []shareMode) {
	for _, n := range shareModes() {
		if n != m && !m.conflicts(n) {
			modes = append(modes, n)
		}
	}
	return modes
}

// parts are the modes from which an open can be upgraded to m.
func (m shareMode) parts() (modes []shareMode) {
	for _, n := range m.upgrades() {
		if n.access&^m.access == 0 && n.deny&^m.deny == 0 {
			modes = append(modes, n)
		}
	}
	return modes
}

func shareModes() []shareMode {
	var modes []shareMode
	for access := uint32(1); access <= 3; access++ {
		for deny := uint32(0); deny <= 3; deny++ {
			modes = append(modes, shareMode{access, deny})
		}
	}
	return modes
}

// shareCaseTests have one test for each mode of an open, numbered by ten times
// its access and its deny.
func shareCaseTests() []Test {
	const share = "RFC 7530 §9.9, §16.16, RFC 8881 §9.7, §18.16"
	var tests []Test
	add := func(m shareMode, family, rfc, says string, run func(e *Env, m shareMode)) {
		tests = append(tests, Test{
			Code: fmt.Sprintf("%s%d", family, 10*m.access+m.deny), minors: all, RFC: rfc, Says: fmt.Sprintf("a file is open with %v: %s", m, says), run: func(e *Env) { run(e, m) },
		})
	}
	for _, m := range shareModes() {
		add(m, "SHM", share, "another client's OPEN is NFS4ERR_SHARE_DENIED exactly if one denies what the other accesses", shareAgainst)
	}
	for _, m := range shareModes() {
		add(m, "SHIO", "RFC 7530 §9.1.4.3, RFC 8881 §8.2.3", "I/O with the anonymous stateid is NFS4ERR_LOCKED exactly if it is denied", shareAnonymousIO)
	}
	for _, m := range shareModes() {
		if len(m.upgrades()) == 0 {
			continue // the owner's own deny forbids every other open
		}
		add(m, "SHUP", "RFC 7530 §9.10, RFC 8881 §9.10", "opening it again by the same owner unites access and deny", shareUnited)
	}
	for _, m := range shareModes() {
		if len(m.parts()) > 0 {
			add(m, "SHDN", "RFC 7530 §16.19, RFC 8881 §18.18", "OPEN_DOWNGRADE to a mode that was opened leaves that mode", shareDowngraded)
		}
	}
	return tests
}

func shareAgainst(e *Env, m shareMode) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	_, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: m.access, Deny: m.deny, Name: "f"})
	e.Must(err)
	other := e.NewClient(nil)
	owner := client.NewOwner()
	for _, n := range shareModes() {
		g, err := other.Open(owner, dir, client.OpenArgs{Access: n.access, Deny: n.deny, Name: "f"})
		want := nfs4.OK
		if m.conflicts(n) {
			want = nfs4.ErrShareDenied
		}
		if s, _ := client.Status(err); s != want {
			e.Errorf("OPEN with %v: %v, want %v", n, err, want)
		}
		if g != nil {
			e.Must(g.Close())
		}
	}
}

func shareAnonymousIO(e *Env, m shareMode) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "contents")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: m.access, Deny: m.deny, Name: "f"})
	e.Must(err)
	denied := func(bit uint32) []nfs4.Status {
		if m.deny&bit != 0 {
			return is(nfs4.ErrLocked)
		}
		return is(nfs4.OK)
	}
	e.Want(c, denied(nfs4.ShareDenyRead), client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 4))
	e.Want(c, denied(nfs4.ShareDenyWrite), client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
	e.Want(c, denied(nfs4.ShareDenyWrite), client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetSize(4)))
	e.Must(f.Close())
	e.OK(c, client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")), client.Read(nfs4.AnonymousStateid, 0, 4))
}

// shareUnited asks another owner what conflicts with the union.
func shareUnited(e *Env, m shareMode) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	for _, n := range m.upgrades() {
		owner := client.NewOwner()
		_, err := c.Open(owner, dir, client.OpenArgs{Access: m.access, Deny: m.deny, Name: "f"})
		e.Must(err)
		f, err := c.Open(owner, dir, client.OpenArgs{Access: n.access, Deny: n.deny, Name: "f"})
		e.Must(err)
		e.isOpenWith(c, dir, shareMode{m.access | n.access, m.deny | n.deny})
		e.Must(f.Close())
	}
}

// isOpenWith requires that what is open of f in dir conflicts just as one open
// of the given mode would.
func (e *Env) isOpenWith(c *client.Client, dir client.FH, m shareMode) {
	for _, n := range []shareMode{{1, 0}, {2, 0}, {1, 1}, {1, 2}} {
		g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: n.access, Deny: n.deny, Name: "f"})
		want := nfs4.OK
		if m.conflicts(n) {
			want = nfs4.ErrShareDenied
		}
		if s, _ := client.Status(err); s != want {
			e.Errorf("where %v should be open, another owner's %v gives %v, want %v", m, n, err, want)
		}
		if g != nil {
			e.Must(g.Close())
		}
	}
}

// shareDowngraded opens with a part of the mode first, since a client may go
// back only to what it has opened with.
func shareDowngraded(e *Env, m shareMode) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	for _, n := range m.parts() {
		owner := client.NewOwner()
		_, err := c.Open(owner, dir, client.OpenArgs{Access: n.access, Deny: n.deny, Name: "f"})
		e.Must(err)
		f, err := c.Open(owner, dir, client.OpenArgs{Access: m.access, Deny: m.deny, Name: "f"})
		e.Must(err)
		e.Must(f.Downgrade(n.access, n.deny))
		e.isOpenWith(c, dir, n)
		e.Must(f.Close())
	}
}
