package nfsops_test

import (
	"errors"
	"fmt"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A deed is what another client does to what a request made, before that is sent again.
type deed struct {
	name string
	do   func(s *stage, name string) (*client.Reply, error)

	// after checks, if the deed succeeded on what the request had made, that the request sent again
	// left it so, and is answered with the object that was made. ino is its number.
	after func(s *stage, name string, made client.FH, ino uint64) error
}

var deeds = []deed{
	{"removed", func(s *stage, name string) (*client.Reply, error) {
		return s.other.Compound(client.PutFH(s.root), client.Remove(name))
	}, func(s *stage, name string, made client.FH, ino uint64) error {
		return errors.Join(absent(s, name), s.was(made, ino))
	}},
	{"renamed", func(s *stage, name string) (*client.Reply, error) {
		return s.other.Compound(client.PutFH(s.root), client.SaveFH(), client.Rename(name, "elsewhere"))
	}, func(s *stage, name string, made client.FH, ino uint64) error {
		if s.inode("elsewhere") != ino {
			return errors.New("what was renamed is another object")
		}
		return errors.Join(absent(s, name), s.is(made, ino))
	}},
	{"replaced", func(s *stage, name string) (*client.Reply, error) {
		p, err := s.other.Compound(client.PutFH(s.root), client.SaveFH(), client.Rename(name, "elsewhere"), client.Symlink(name, "target"))
		return p, err
	}, func(s *stage, name string, made client.FH, ino uint64) error {
		if s.inode(name) == ino || s.inode(name) == 0 {
			return errors.New("the name is not that of the other client's object")
		}
		return s.is(made, ino)
	}},
}

// was checks that a filehandle names nothing any more, or the object of a number, which somebody has open.
func (s *stage) was(fh client.FH, ino uint64) error {
	p, err := s.Compound(client.PutFH(fh), client.GetAttr(nfs4.AttrFileID))
	for err == nil && p.Status == nfs4.ErrDelay { // its inode is being made another's
		p, err = s.Compound(client.PutFH(fh), client.GetAttr(nfs4.AttrFileID))
	}
	if err == nil && p.Status == nfs4.ErrStale {
		return nil
	}
	return sameObject(p, err, ino)
}

// is checks that a filehandle names the object of a number.
func (s *stage) is(fh client.FH, ino uint64) error {
	p, err := s.Compound(client.PutFH(fh), client.GetAttr(nfs4.AttrFileID))
	return sameObject(p, err, ino)
}

func sameObject(p *client.Reply, err error, ino uint64) error {
	if p, err = client.Check(p, err); err != nil {
		return err
	}
	if got := client.Get[client.GetAttrRes](p).Attrs.Num(nfs4.AttrFileID); got != ino {
		return fmt.Errorf("the reply's object is %d, made was %d", got, ino)
	}
	return nil
}

// A making is a scene that makes an object, or a file's new content, under a name.
type making struct {
	name string // of the object
	took func(s *stage) bool
}

var makings = map[string]making{
	"mkdir":                          {"d", func(s *stage) bool { return s.inode("d") != 0 }},
	"symlink":                        {"l", func(s *stage) bool { return s.inode("l") != 0 }},
	"open guarded":                   {"f", func(s *stage) bool { return s.inode("f") != 0 }},
	"open exclusive":                 {"f", func(s *stage) bool { return s.inode("f") != 0 }},
	"open exclusive with attributes": {"f", func(s *stage) bool { return s.inode("f") != 0 }},
	"open unchecked":                 {"f", func(s *stage) bool { return s.inode("f") != 0 }},
	"open truncating":                {"f", func(s *stage) bool { return content("f", "")(s, nil) == nil }},
}

// losses are the ways in which a gateway is lost at an effect; what they return ends it for good.
var losses = map[string]func(p *pair, at int, s *stage) (end func()){
	"dead": func(p *pair, at int, s *stage) func() {
		s.dieAt(at)
		p.a.kill()
		p.expire()
		return func() {}
	},
	"started again": func(p *pair, at int, s *stage) func() {
		s.dieAt(at)
		p.a.kill()
		p.a.revive()
		return func() {}
	},
	"woken up too late": func(p *pair, at int, s *stage) func() {
		p.a.noGap = true
		s.hangAt(at)
		p.expire()
		return p.a.goOn
	},
}

// TestTakenAway holds guarantee G3 where others do not wait: a gateway dies at each effect of a request that makes
// something, another client takes that away through another gateway, and then the request is sent again there. The reply
// is that of the first run: it made the object, which was taken away later. Nothing is made twice.
func TestTakenAway(t *testing.T) {
	for how, lose := range losses {
		for _, d := range deeds {
			for _, sc := range scenes {
				m, ok := makings[sc.name]
				if !ok {
					continue
				}
				for _, minor := range sc.minors {
					if minor == 1 {
						continue // slots are the same in 4.1 and 4.2
					}
					t.Run(fmt.Sprintf("%s/%s/%s/4.%d", how, d.name, sc.name, minor), func(t *testing.T) {
						t.Parallel()
						taken := 0
						total := playTaken(t, &sc, &m, &d, minor, 0, lose, &taken)
						for at := 1; at <= total; at++ {
							playTaken(t, &sc, &m, &d, minor, at, lose, &taken)
						}
						if taken == 0 {
							t.Error("at no effect the object was there")
						}
					})
				}
			}
		}
	}
}

// playTaken plays one of TestTakenAway, or counts the effects of its request if at is 0.
func playTaken(t *testing.T, sc *scene, m *making, d *deed, minor uint32, at int, lose func(*pair, int, *stage) func(), taken *int) int {
	t.Helper()
	p := newPair(t)
	s := &stage{world: p.a, Client: p.a.client(minor), name: sc.name}
	var err error
	s.root, err = s.Root()
	s.must(err)
	s.other = establish(t, minor, p.b.dial)
	ops := sc.prepare(s)
	if minor > 0 {
		s.slot = s.Session.Acquire()
		s.request = s.slot.Request(true, ops...)
	} else {
		s.request = client.NewCompound(s.Conn().Cred(), 0, "", ops...)
	}
	s.request.SetXID(s.Conn().NextXID())
	if at == 0 {
		p.a.arm(never)
		_, err := s.send()
		s.must(err)
		return p.a.seen()
	}
	end := lose(p, at, s)
	took, ino := m.took(s), s.inode(m.name)
	did, err := d.do(s, m.name)
	s.must(err)
	s.moveTo(p.b.dial)
	reply, err := s.send()
	s.must(err)
	end()
	if s.slot != nil {
		s.Session.Release(s.slot)
	}
	where := fmt.Sprintf("crash at effect %d, made: %v, the other client's reply %v, the reply %v", at, took, did, reply)
	fh := client.Get[client.GetFHRes](reply)
	switch {
	case !took && did.Status == nfs4.OK: // of an open file: that came first
		return 0
	case fh == nil:
		t.Fatal(where)
	case took && did.Status != nfs4.OK:
		t.Fatalf("%s: the other client found nothing", where)
	case took:
		err = d.after(s, m.name, fh.FH, ino)
	default:
		err = exists(s, m.name)
	}
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if took {
		*taken++
	}
	return 0
}
