package nfsops_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A scene is one operation that must not happen twice.
type scene struct {
	name   string
	minors []uint32

	// prepare sets the stage and returns the operations of the request.
	prepare func(s *stage) []client.Op

	// once checks, after the request succeeded, that it had its effect exactly
	// once. Every effect that could show twice must be looked at.
	once func(s *stage, p *client.Reply) error
}

// A stage is where a scene is played.
type stage struct {
	*world
	*client.Client
	root  client.FH
	other *client.Client // a second client, for conflicts; at the other gateway if there is one
	owner *client.StateOwner
	file  *client.OpenFile
	locks *client.Locks
	ino   uint64

	name    string // of the scene
	request *client.Request
	slot    *client.Slot // nil in 4.0
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) inode(name string) uint64 {
	var st syscall.Stat_t
	if syscall.Lstat(s.path(name), &st) != nil {
		return 0
	}
	return st.Ino
}

func (s *stage) touch(name, content string) {
	s.t.Helper()
	s.must(os.WriteFile(s.path(name), []byte(content), 0o644))
	s.ino = s.inode(name)
}

func (s *stage) fh(name string) client.FH {
	s.t.Helper()
	fh, err := s.LookupFH(s.root, name)
	s.must(err)
	return fh
}

// open opens a file for reading and writing before the request.
func (s *stage) open(name string) {
	s.t.Helper()
	var err error
	s.file, err = s.CreateFile(s.root, name)
	s.must(err)
	s.owner = s.file.Owner
}

func (s *stage) lock(offset, length uint64) {
	s.t.Helper()
	if s.locks == nil {
		s.locks = s.file.Locks(client.NewOwner())
	}
	s.must(s.locks.Lock(nfs4.WriteLT, offset, length))
}

// denied says whether a second client may not lock a range.
func (s *stage) denied(name string, offset, length uint64) error {
	f, err := s.other.CreateFile(s.root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := f.Locks(client.NewOwner()).Test(nfs4.WriteLT, offset, length)
	if err != nil {
		return err
	}
	if d == nil {
		return errors.New("the lock is not held")
	}
	return nil
}

func (s *stage) free(name string, offset, length uint64) error {
	if s.denied(name, offset, length) == nil {
		return errors.New("the range is still locked")
	}
	return nil
}

func exists(s *stage, name string) error {
	_, err := os.Lstat(s.path(name))
	return err
}

func absent(s *stage, name string) error {
	if exists(s, name) == nil {
		return fmt.Errorf("%s is still there", name)
	}
	return nil
}

func nlink(s *stage, name string, want uint64) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(s.path(name), &st); err != nil {
		return err
	}
	if uint64(st.Nlink) != want {
		return fmt.Errorf("%s has %d links, want %d", name, st.Nlink, want)
	}
	return nil
}

// TestCrashAtEveryStep holds guarantee G3: for each operation that changes
// something, the gateway dies at each of its effects in turn; the client sends
// the same request again, to the gateway when it has started again or to
// another one. It succeeds, and its effect is there once. RFC 8881 §2.10.6.1:
// "the replier … executes a request exactly once".
func TestCrashAtEveryStep(t *testing.T) {
	for _, v := range venues {
		t.Run(v.name, func(t *testing.T) {
			for _, sc := range scenes {
				for _, minor := range sc.minors {
					if minor == 1 && v.seeds == 1 && slices.Contains(sc.minors, 2) {
						continue // slots are the same in 4.1 and 4.2, and there is much to play
					}
					t.Run(fmt.Sprintf("%s/4.%d", sc.name, minor), func(t *testing.T) {
						t.Parallel()
						total := playScene(t, v, &sc, minor, 0, 0)
						for at := 1; at <= total; at++ {
							for seed := range v.seeds {
								playScene(t, v, &sc, minor, at, seed)
							}
						}
						playScene(t, v, &sc, minor, -1, 0) // after the reply was sent
					})
				}
			}
		})
	}
}

// never is an effect that is not reached: effects are only counted.
const never = 1 << 30

// playScene plays a scene with a crash at an effect, none at 0, after the reply at -1, and
// returns how many effects the request had.
func playScene(t *testing.T, v venue, sc *scene, minor uint32, at int, seed uint64) int {
	t.Helper()
	first, dialOther, lose := v.open(t)
	s := &stage{world: first, Client: first.client(minor), name: sc.name}
	var err error
	s.root, err = s.Root()
	s.must(err)
	s.other = establish(t, minor, dialOther)
	ops := sc.prepare(s)

	if minor > 0 {
		s.slot = s.Session.Acquire()
		s.request = s.slot.Request(true, ops...)
	} else {
		s.request = client.NewCompound(s.Conn().Cred(), 0, "", ops...)
	}
	s.request.SetXID(s.Conn().NextXID())
	where := fmt.Sprintf("crash at effect %d, seed %d", at, seed)
	effects := 0
	var p *client.Reply
	if at > 0 {
		p, err = lose(at, seed, s)
	} else {
		first.arm(never)
		p, err = s.send()
		effects = first.seen()
	}
	if at < 0 {
		before := p
		if s.slot != nil {
			s.slot.Seq-- // it is the same request that is sent again
		}
		p, err = lose(at, seed, s)
		if err == nil && !rerun[sc.name] && !bytes.Equal(before.Raw, p.Raw) {
			t.Fatalf("%s: the first reply was\n%v\nand sent again it got\n%v", where, before, p)
		}
	}
	first.arm(0)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if p.Status != nfs4.OK {
		t.Fatalf("%s: sent again, the request got %v", where, p)
	}
	if s.slot != nil {
		s.Session.Release(s.slot)
	}
	if err := sc.once(s, p); err != nil {
		t.Fatalf("%s: %v; reply %v", where, err, p)
	}
	return effects
}

// send sends the request, and waits for the answer.
func (s *stage) send() (*client.Reply, error) {
	if s.slot != nil {
		return s.slot.Send(s.Conn(), s.request)
	}
	return s.Conn().Do(s.request)
}
