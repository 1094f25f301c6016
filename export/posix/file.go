//go:build linux

package posix

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// File is an open regular file. It implements export.Sparse, export.Allocator,
// export.Copier and export.Cloner. All methods may be called at the same time;
// Close must be the last.
type File struct {
	fs     *FS
	fd     int
	uid    uint32 // who opened it: data is written under this uid where it matters
	write  bool
	handle []byte
	closed atomic.Bool

	syncMu  sync.Mutex
	syncing bool
	round   *syncRound // those who came while a sync runs
	failed  error      // of a sync, for ever
}

var (
	_ export.File      = (*File)(nil)
	_ export.Sparse    = (*File)(nil)
	_ export.Allocator = (*File)(nil)
	_ export.Copier    = (*File)(nil)
	_ export.Cloner    = (*File)(nil)
)

// Open implements export.FS.
func (fs *FS) Open(cred *export.Creds, h []byte, mode export.OpenMode) (export.File, error) {
	if err := fs.checkRegular(h); err != nil {
		return nil, err
	}
	// A lease that a program on the host has is not waited for: ErrAgain.
	flags := unix.O_NONBLOCK | unix.O_NOCTTY
	want := uint32(0)
	switch mode & (export.OpenRead | export.OpenWrite) {
	case export.OpenRead:
		flags |= unix.O_RDONLY
		want = unix.R_OK
	case export.OpenWrite:
		flags |= unix.O_WRONLY
		want = unix.W_OK
	case export.OpenRead | export.OpenWrite:
		flags |= unix.O_RDWR
		want = unix.R_OK | unix.W_OK
	default:
		return nil, export.ErrInval
	}
	if cred == nil {
		return nil, accessErr(errIdentity)
	}
	fd, err := fs.openAs(cred, h, flags, want, mode&export.OpenGranted != 0)
	if err != nil {
		return nil, err
	}
	return fs.newFile(fd, cred, h, mode&export.OpenWrite != 0), nil
}

func (fs *FS) openAs(cred *export.Creds, h []byte, flags int, want uint32, granted bool) (int, error) {
	if granted || cred.UID == fs.own.uid && (cred.UID == 0 || !fs.own.enforced) {
		return fs.openHandle(h, flags) // root's rights do not depend on its groups
	}
	if cred.UID != 0 && fs.kind.plain && fs.own.enforced && !fs.opt.StrictKernel {
		if fd, err := fs.openHandle(h, flags); err == nil {
			var st unix.Statx_t
			if statxPart(fd, statxOwner, &st) == noErrno && fs.judge(cred, &st, fd, want) == allowed {
				return fd, nil
			}
			closeFD(fd)
		}
	}
	pfd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer closeFD(pfd)
	who, err := fs.own.become(cred)
	if err != nil {
		return -1, accessErr(err)
	}
	fd, e := fs.reopen(pfd, flags)
	if err := who.end(); err != nil {
		if e == noErrno {
			closeFD(fd)
		}
		return -1, err
	}
	if e != noErrno {
		return -1, fail("open", e)
	}
	return fd, nil
}

func (fs *FS) newFile(fd int, cred *export.Creds, h []byte, write bool) *File {
	f := &File{fs: fs, fd: fd, uid: cred.UID, write: write, handle: append([]byte(nil), h...)}
	if fs.table != nil {
		fs.open.add(f)
	}
	return f
}

// Close implements export.File.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	if f.fs.table != nil {
		f.fs.open.remove(f)
	}
	return fail("close", errnoOf(unix.Close(f.fd)))
}

// ReadAt implements export.File.
func (f *File) ReadAt(p []byte, off int64) (int, bool, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return n, false, fail("read", errnoOf(err))
		}
		if m == 0 {
			return n, true, nil
		}
		n += m
	}
	var st unix.Statx_t
	if e := statxPart(f.fd, statxSize, &st); e != noErrno {
		return n, false, fail("statx", e)
	}
	return n, uint64(off)+uint64(n) >= st.Size, nil
}

// WriteAt implements export.File. A set-id bit is cleared as the kernel does
// when somebody else than root writes.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	var before unix.Statx_t
	who, err := f.beginWrite(&before, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n := 0
	var e syscall.Errno
	for n < len(p) {
		m, err := unix.Pwrite(f.fd, p[n:], off+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			e = errnoOf(err)
			break
		}
		if m == 0 {
			e = syscall.EIO
			break
		}
		n += m
	}
	if err := f.endWrite(&who, &before); err != nil {
		return n, err
	}
	return n, fail("write", e)
}

// beginWrite prepares a change of the file's data by n bytes. The process's own
// rights differ from the opener's in two things: root's writing keeps set-id
// bits, and takes space that the file system reserves for root. Only where one
// of them matters the thread takes the opener's uid.
func (f *File) beginWrite(before *unix.Statx_t, n int64) (guise, error) {
	mask := uint(statxOwner)
	if f.fs.change.coarse {
		mask = statxMask
	}
	if e := statxPart(f.fd, mask, before); e != noErrno {
		return guise{}, fail("statx", e)
	}
	if !f.fs.own.enforced {
		return guise{}, nil
	}
	const nobody = 65534
	uid := f.uid
	if before.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		if uid == 0 {
			// The file may be shared with others than root who opened it.
			uid = nobody
		}
	} else if uid == 0 || !f.fs.space.scarce(f.fs, n) {
		return guise{}, nil
	}
	return f.fs.own.becomeUID(uid)
}

func (f *File) endWrite(who *guise, before *unix.Statx_t) error {
	err := who.end()
	f.fs.changed(f.handle, f.fd, before)
	return err
}

// Sync implements export.File by fsync and not fdatasync: were the data on the
// disk and the ctime lost, other data would have the same change attribute
// after a crash. Calls at the same time share a sync.
func (f *File) Sync() error {
	f.syncMu.Lock()
	if f.failed != nil {
		defer f.syncMu.Unlock()
		return f.failed
	}
	if f.syncing {
		if round := f.round; round != nil {
			f.syncMu.Unlock()
			<-round.done
			return round.err
		}
		round := &syncRound{start: make(chan struct{}), done: make(chan struct{})}
		f.round = round
		f.syncMu.Unlock()
		<-round.start
		round.err = f.syncNow()
		close(round.done)
		return round.err
	}
	f.syncing = true
	f.syncMu.Unlock()
	return f.syncNow()
}

func (f *File) syncNow() error {
	err := fsync(f.fd)
	f.syncMu.Lock()
	defer f.syncMu.Unlock()
	if f.failed == nil && err != nil {
		f.failed = fmt.Errorf("data may be lost: %w", err)
	}
	err = f.failed
	if f.round != nil {
		close(f.round.start)
		f.round = nil
	} else {
		f.syncing = false
	}
	return err
}

// Getattr implements export.File.
func (f *File) Getattr(attr *export.Attr) error {
	var st unix.Statx_t
	if e := statxFD(f.fd, &st); e != noErrno {
		return fail("statx", e)
	}
	f.fs.fill(attr, &st, f.handle)
	return nil
}

// SeekData implements export.Sparse.
func (f *File) SeekData(off int64) (int64, error) { return f.seek(off, unix.SEEK_DATA) }

// SeekHole implements export.Sparse.
func (f *File) SeekHole(off int64) (int64, error) { return f.seek(off, unix.SEEK_HOLE) }

func (f *File) seek(off int64, whence int) (int64, error) {
	at, err := unix.Seek(f.fd, off, whence)
	if err == syscall.ENXIO && whence == unix.SEEK_DATA {
		// Either there is no more data, or off is not in the file.
		var st unix.Statx_t
		if e := statxFD(f.fd, &st); e == noErrno && off >= 0 && uint64(off) < st.Size {
			return int64(st.Size), nil
		}
	}
	if err != nil {
		return 0, fail("seek", errnoOf(err))
	}
	return at, nil
}

// Allocate implements export.Allocator.
func (f *File) Allocate(off, n int64) error { return f.fallocate(0, off, n) }

// Deallocate implements export.Allocator.
func (f *File) Deallocate(off, n int64) error {
	return f.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

func (f *File) fallocate(mode uint32, off, n int64) error {
	var before unix.Statx_t
	who, err := f.beginWrite(&before, n)
	if err != nil {
		return err
	}
	err = retry(func() error { return unix.Fallocate(f.fd, mode, off, n) })
	if endErr := f.endWrite(&who, &before); endErr != nil {
		return endErr
	}
	return fail("fallocate", errnoOf(err))
}

// CopyTo implements export.Copier by copy_file_range(2).
func (f *File) CopyTo(dst export.File, srcOff, dstOff, n int64) (int64, error) {
	to, err := f.sameFS(dst)
	if err != nil {
		return 0, err
	}
	var before unix.Statx_t
	who, err := to.beginWrite(&before, n)
	if err != nil {
		return 0, err
	}
	done := int64(0)
	for done < n {
		from, at := srcOff+done, dstOff+done
		var m int
		m, err = unix.CopyFileRange(f.fd, &from, to.fd, &at, int(min(n-done, 1<<30)), 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || m == 0 {
			break
		}
		done += int64(m)
	}
	if endErr := to.endWrite(&who, &before); endErr != nil {
		return done, endErr
	}
	if done > 0 {
		return done, nil // a further call meets the error again
	}
	return 0, fail("copy_file_range", errnoOf(err))
}

// CloneTo implements export.Cloner.
func (f *File) CloneTo(dst export.File, srcOff, dstOff, n int64) error {
	to, err := f.sameFS(dst)
	if err != nil {
		return err
	}
	var before unix.Statx_t
	who, err := to.beginWrite(&before, n)
	if err != nil {
		return err
	}
	err = unix.IoctlFileCloneRange(to.fd, &unix.FileCloneRange{
		Src_fd: int64(f.fd), Src_offset: uint64(srcOff), Src_length: uint64(n), Dest_offset: uint64(dstOff),
	})
	if endErr := to.endWrite(&who, &before); endErr != nil {
		return endErr
	}
	return fail("clone", errnoOf(err))
}

// An unwrapper is a File around another, as the owner of open files may have.
type unwrapper interface{ Unwrap() export.File }

// own returns the File of this FS that file is or has inside.
func (fs *FS) ownFile(file export.File) (*File, bool) {
	for {
		switch f := file.(type) {
		case *File:
			return f, f.fs == fs
		case unwrapper:
			file = f.Unwrap()
		default:
			return nil, false
		}
	}
}

func (f *File) sameFS(dst export.File) (*File, error) {
	to, ok := f.fs.ownFile(dst)
	if !ok {
		return nil, export.ErrXDev
	}
	return to, nil
}

// spaceWatch knows whether the file system comes near the space that it
// reserves for root. It asks again after so many bytes were written that
// could change the answer.
type spaceWatch struct {
	budget atomic.Int64 // bytes until the next look
	low    atomic.Bool
}

const (
	scarceBytes = 256 << 20 // with less available it counts who writes
	lookAgain   = 1 << 20
)

func (w *spaceWatch) init(fs *FS) { w.look(fs) }

// scarce says whether the next n bytes may come from the reserve.
func (w *spaceWatch) scarce(fs *FS, n int64) bool {
	if w.budget.Add(-max(n, 1)) < 0 {
		w.look(fs)
	}
	return w.low.Load()
}

func (w *spaceWatch) look(fs *FS) {
	var sf unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fs.rootFD, &sf) }); err != nil {
		w.low.Store(true)
		w.budget.Store(lookAgain)
		return
	}
	avail := int64(min(sf.Bavail*uint64(sf.Bsize), 1<<40))
	low := sf.Bfree > sf.Bavail && avail < scarceBytes
	w.low.Store(low)
	if low {
		w.budget.Store(lookAgain)
	} else {
		w.budget.Store(max(avail/4, lookAgain))
	}
}
