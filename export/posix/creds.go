//go:build linux

package posix

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// maxGroups bounds the supplementary groups of a caller: NGROUPS_MAX.
const maxGroups = 65536

// errIdentity says that a thread could not be given an identity. Nothing was
// done under another one.
var errIdentity = errors.New("posix: the thread could not take the caller's identity")

// identity is what the process itself runs as, read once. Threads have this
// identity whenever no operation runs on them.
type identity struct {
	uid, gid uint32
	groups   []uint32
	enforced bool // threads can take the identity of callers
}

func ownIdentity() (identity, error) {
	groups, err := unix.Getgroups()
	if err != nil {
		return identity{}, fmt.Errorf("posix: getgroups: %w", err)
	}
	own := identity{uid: uint32(unix.Geteuid()), gid: uint32(unix.Getegid())}
	for _, g := range groups {
		own.groups = append(own.groups, uint32(g))
	}
	if own.uid == 0 {
		// Root that cannot become somebody else would serve all with root's rights.
		if err := own.tryEnforce(); err != nil {
			return identity{}, fmt.Errorf("posix: running as root, but callers' identities cannot be enforced (CAP_SETUID, CAP_SETGID and usual secure bits are needed): %w", err)
		}
		own.enforced = true
	}
	return own, nil
}

// tryEnforce takes another identity and goes back, and looks whether the rights
// of root are gone in between: secure bits, a missing capability or a user
// namespace may be in the way.
func (own *identity) tryEnforce() error {
	const nobody = 65534
	who, err := own.become(&export.Creds{UID: nobody, GID: nobody})
	if err != nil {
		return err
	}
	eff, capErr := effectiveCaps()
	if err := who.end(); err != nil {
		return err
	}
	if capErr != nil {
		return capErr
	}
	const overrides = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_CHOWN | 1<<unix.CAP_FSETID
	if eff&overrides != 0 {
		return errIdentity
	}
	return nil
}

func effectiveCaps() (uint64, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, err
	}
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32, nil
}

// A guise is the identity that a thread has taken until end is called.
type guise struct {
	own              *identity
	uid, gid, groups bool // which differ from the process's own
	locked           bool
}

// become makes the calling thread act as cred towards the file system, by the
// raw system calls that change one thread only, and keeps the goroutine on it.
// With a uid other than 0 the kernel takes the file system capabilities away
// as well. Between become and end no other code of the program may run.
//
// What the thread has already is not set again: root's operations cost nothing.
func (own *identity) become(cred *export.Creds) (guise, error) {
	if cred == nil {
		return guise{}, errIdentity
	}
	if own.uid != 0 {
		return guise{}, nil // all callers are squashed to the process's own identity
	}
	if len(cred.Groups) > maxGroups || cred.UID == ^uint32(0) || cred.GID == ^uint32(0) {
		return guise{}, errIdentity
	}
	who := guise{
		own: own,
		uid: cred.UID != own.uid,
		gid: cred.GID != own.gid,
		// Root's rights do not depend on its groups.
		groups: cred.UID != 0 && !slices.Equal(cred.Groups, own.groups),
	}
	if !who.uid && !who.gid && !who.groups {
		return guise{}, nil
	}
	runtime.LockOSThread()
	who.locked = true
	// Groups first and uid last: the uid takes the rights away.
	if who.groups && setGroups(cred.Groups) != noErrno ||
		who.gid && !setID(unix.SYS_SETFSGID, cred.GID) ||
		who.uid && !setID(unix.SYS_SETFSUID, cred.UID) {
		return guise{}, errors.Join(errIdentity, who.end())
	}
	return who, nil
}

// end gives the thread its own identity back. If that fails the goroutine stays
// locked to the thread for ever, so that no other goroutine can run under
// the wrong identity, and the thread ends with the goroutine.
func (who *guise) end() error {
	if !who.locked {
		return nil
	}
	ok := true
	if who.uid {
		ok = setID(unix.SYS_SETFSUID, who.own.uid)
	}
	if who.gid {
		ok = setID(unix.SYS_SETFSGID, who.own.gid) && ok
	}
	if who.groups {
		ok = setGroups(who.own.groups) == noErrno && ok
	}
	if !ok {
		return fmt.Errorf("%w: and not its own again", errIdentity)
	}
	who.locked = false
	runtime.UnlockOSThread()
	return nil
}

// setID sets the fsuid or fsgid of this thread and looks whether it is set: the
// call itself tells only what was before, also when it failed.
func setID(call uintptr, id uint32) bool {
	for range 3 {
		syscall.RawSyscall(call, uintptr(id), 0, 0)
		now, _, _ := syscall.RawSyscall(call, ^uintptr(0), 0, 0)
		if uint32(now) == id {
			return true
		}
	}
	return false
}

func setGroups(groups []uint32) syscall.Errno {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	_, _, e := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0)
	return e
}

// becomeUID is become for the uid alone: for what checks no permission.
func (own *identity) becomeUID(uid uint32) (guise, error) {
	if !own.enforced || uid == own.uid {
		return guise{}, nil
	}
	runtime.LockOSThread()
	who := guise{own: own, uid: true, locked: true}
	if !setID(unix.SYS_SETFSUID, uid) {
		return guise{}, errors.Join(errIdentity, who.end())
	}
	return who, nil
}
