//go:build linux

package posix

import (
	"errors"
	"math"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

func TestCookies(t *testing.T) {
	for _, off := range []int64{0, 1, 2, 3, 1000, 1 << 40, math.MaxInt64 - 4, math.MaxInt64} {
		c := cookieOf(off)
		if c < 3 || c > math.MaxInt64 {
			t.Errorf("offset %d has cookie %d", off, c)
		}
		if back, err := offsetOf(c); err != nil || back != off && off != math.MaxInt64-4 {
			t.Errorf("offset %d comes back as %d, %v", off, back, err)
		}
	}
	if off, err := offsetOf(0); off != 0 || err != nil {
		t.Error(off, err)
	}
	for _, c := range []uint64{1, 2, math.MaxInt64 + 1, math.MaxUint64} {
		if _, err := offsetOf(c); !errors.Is(err, export.ErrBadCookie) {
			t.Errorf("cookie %d: %v", c, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.EDQUOT: export.ErrQuota, syscall.ENOSPC: export.ErrNoSpace, syscall.EROFS: export.ErrReadOnly,
		syscall.ESTALE: export.ErrStale, syscall.ENOENT: export.ErrNotExist, syscall.EIO: export.ErrIO,
		syscall.EUCLEAN: export.ErrIO, syscall.EMLINK: export.ErrTooManyLink, syscall.ETXTBSY: export.ErrBusy,
	} {
		err := fail("op", errno)
		if !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
	if err := fail("op", 0); err != nil {
		t.Error(err)
	}
	if err := accessErr(errIdentity); !errors.Is(err, export.ErrAccess) || !errors.Is(err, errIdentity) {
		t.Error(err)
	}
}

// Where mode bits could be overruled only the kernel may judge.
func TestJudgeLeavesToTheKernel(t *testing.T) {
	st := &unix.Statx_t{Mode: unix.S_IFREG | 0o777, Uid: 1, Gid: 1}
	owner, other := &export.Creds{UID: 1, GID: 9}, &export.Creds{UID: 2, GID: 2}
	plain := &FS{kind: fsKind{plain: true}, own: identity{enforced: true}}
	for name, c := range map[string]struct {
		fs   *FS
		cred *export.Creds
		want verdict
	}{
		"owner":                   {plain, owner, allowed},
		"other, list not visible": {plain, other, askKernel},
		"root":                    {plain, &export.Creds{}, askKernel},
		"unknown file system":     {&FS{own: identity{enforced: true}}, owner, askKernel},
		"strict":                  {&FS{kind: fsKind{plain: true}, own: identity{enforced: true}, opt: Options{StrictKernel: true}}, owner, askKernel},
		"no identities":           {&FS{kind: fsKind{plain: true}}, owner, askKernel},
		"uid that is none":        {plain, &export.Creds{UID: math.MaxUint32}, askKernel},
	} {
		if got := c.fs.judge(c.cred, st, -1, unix.R_OK); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	st.Mode = unix.S_IFREG | 0o007
	if got := plain.judge(owner, st, -1, unix.R_OK); got != denied {
		t.Errorf("the owner has the others' rights: %d", got)
	}
}

func TestACLForm(t *testing.T) {
	list := []export.ACLEntry{
		{Tag: export.ACLOther, Perm: 1}, {Tag: export.ACLUser, ID: 9, Perm: 7}, {Tag: export.ACLGroup, ID: 3, Perm: 5},
		{Tag: export.ACLUser, ID: 4, Perm: 6}, {Tag: export.ACLMask, Perm: 7}, {Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLGroupObj, Perm: 4},
	}
	b, err := encodeACL(list)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeACL(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []export.ACLEntry{
		{Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLUser, ID: 4, Perm: 6}, {Tag: export.ACLUser, ID: 9, Perm: 7},
		{Tag: export.ACLGroupObj, Perm: 4}, {Tag: export.ACLGroup, ID: 3, Perm: 5}, {Tag: export.ACLMask, Perm: 7}, {Tag: export.ACLOther, Perm: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	for _, bad := range [][]byte{nil, {2, 0, 0}, {1, 0, 0, 0}, append(b, 1), {2, 0, 0, 0, 9, 9, 0, 0, 0, 0, 0, 0}} {
		if _, err := decodeACL(bad); err == nil {
			t.Errorf("%x is read", bad)
		}
	}
	if _, err := encodeACL([]export.ACLEntry{{Tag: 77}}); !errors.Is(err, export.ErrInval) {
		t.Error(err)
	}
}

// Any bytes as a handle give an error or an object, and nothing else.
func FuzzHandle(f *testing.F) {
	fs, err := New(f.TempDir(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { fs.Close() })
	f.Add(fs.Root())
	f.Add([]byte{0x11, 1, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, h []byte) {
		if slices.Equal(h, fs.Root()) {
			return
		}
		var a export.Attr
		if err := fs.Getattr(h, &a); err != nil && !errors.Is(err, export.ErrBadHandle) && !errors.Is(err, export.ErrStale) {
			t.Errorf("%x: %v", h, err)
		}
		if typeOf(append(slices.Clone(h), 0)) != export.Directory {
			if _, err := fs.Lookup(root, h, "x", nil); err == nil {
				t.Errorf("%x: something found", h)
			}
		}
	})
}

// The added changes of coarse timestamps: told at once, above what was told
// before, and after a while moved to the file system.
func TestCoarseChanges(t *testing.T) {
	fs := newFS(t, Options{})
	if fs.change.coarse {
		t.Skip("they are coarse here: the conformance checks see to it")
	}
	fs.change.coarse, fs.change.step = true, 4e6
	fs.change.fs = fs
	fs.change.begin()
	h, _ := makeFile(t, fs, root, "f")
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	change := func() uint64 {
		t.Helper()
		var a export.Attr
		if err := fs.Getattr(h, &a); err != nil {
			t.Fatal(err)
		}
		return a.Change
	}
	var st unix.Statx_t
	if e := statxFD(fd, &st); e != 0 {
		t.Fatal(e)
	}
	last := change()
	for range 5 {
		fs.changed(h, fd, &st) // a change that did not move the ctime
		now := change()
		if now != last+1 {
			t.Fatalf("change went from %d to %d", last, now)
		}
		last = now
	}
	fs.change.settleOld(0)
	if now := change(); now <= last {
		t.Errorf("settled, change went from %d to %d", last, now)
	}
	if len(fs.change.added) != 0 {
		t.Error("something is left")
	}
}
