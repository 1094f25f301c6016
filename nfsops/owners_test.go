package nfsops

import (
	"os/user"
	"testing"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

func TestNumericOwners(t *testing.T) {
	var o *owners
	for _, test := range []struct {
		in     string
		id     uint32
		status nfs4.Status
	}{
		{"0", 0, nfs4.OK},
		{"1000", 1000, nfs4.OK},
		{"4294967294", 4294967294, nfs4.OK},
		{"4294967295", 0, nfs4.ErrBadOwner}, // chown(2) takes it for "leave it"
		{"4294967296", 0, nfs4.ErrBadOwner},
		{"99999999999999999999", 0, nfs4.ErrBadOwner},
		{"007", 0, nfs4.ErrBadOwner}, // RFC 8881 §5.9: "with no leading zeros"
		{"-1", 0, nfs4.ErrBadOwner},
		{"", 0, nfs4.ErrBadOwner},
		{"root@example.org", 0, nfs4.ErrBadOwner},
		{"\xc0\x80", 0, nfs4.ErrInval},
	} {
		id, status := o.parse([]byte(test.in), false)
		if status != test.status || status == nfs4.OK && id != test.id {
			t.Errorf("%q: %d, %v", test.in, id, status)
		}
	}
	var w xdr.Writer
	o.encode(&w, 4294967294, true)
	if r := xdr.NewReader(w.Bytes()); string(r.Opaque(20)) != "4294967294" {
		t.Errorf("%x", w.Bytes())
	}
}

func TestNamedOwners(t *testing.T) {
	root, err := user.LookupId("0")
	if err != nil {
		t.Skipf("no user database: %v", err)
	}
	o := newOwners("example.org")
	full := root.Username + "@example.org"
	for range 2 { // the second time from what is kept
		if got := o.name(0, false); got != full {
			t.Errorf("uid 0 is %q", got)
		}
		if id, status := o.parse([]byte(root.Username+"@EXAMPLE.org"), false); id != 0 || status != nfs4.OK {
			t.Errorf("%s: %d, %v", full, id, status)
		}
		if got := o.name(4000000000, true); got != "4000000000" {
			t.Errorf("a group without a name is %q", got)
		}
		for _, s := range []string{root.Username, root.Username + "@other.org", "no such user@example.org", "@example.org"} {
			if _, status := o.parse([]byte(s), false); status != nfs4.ErrBadOwner {
				t.Errorf("%q: %v", s, status)
			}
		}
	}
	if id, status := o.parse([]byte("17"), true); id != 17 || status != nfs4.OK {
		t.Errorf("a number: %d, %v", id, status)
	}
}

// What is kept is bounded, however many names clients invent.
func TestOwnersAreBounded(t *testing.T) {
	o := newOwners("")
	for i := range maxOwners + 10 {
		o.ids[ownerKey{name: string(rune(i))}] = ownerNumber{}
		o.names[ownerID{id: uint32(i) + 1<<30}] = ownerName{}
	}
	o.parse([]byte("someone"), false)
	o.name(4000000000, false)
	if len(o.ids) > 1 || len(o.names) > 1 {
		t.Errorf("%d names, %d numbers are kept", len(o.names), len(o.ids))
	}
}
