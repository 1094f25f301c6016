// Package export is the room of the served file systems: what a file system
// must offer to be served, and which clients may use it.
//
// A file system is used by handle. A handle names one object for as long as
// the object lives: across renames, across restarts of the gateway, and alike
// on every gateway that serves the same files. Every gateway derives the same
// handle, byte for byte, for the same object, so that it can key shared state.
//
// FS is what every file system offers; the other interfaces are optional
// capabilities that an FS or a File implements as well where it can. An
// operation whose capability is missing answers NOTSUPP.
//
// Access is decided by the file system under the caller's Creds, never by the
// gateway's own rights. Errors are the sentinels of this package, wrapped
// with context; nfsops maps them to nfsstat4.
package export

import "time"

// MaxHandle is the largest handle of a file system in bytes: NFS4_FHSIZE (128)
// less the sealed envelope around it.
const MaxHandle = 96

// MaxName is the largest name in bytes.
const MaxName = 255

// Creds is the identity under which an operation runs, after squashing. The
// Groups slice is not changed after it was made.
type Creds struct {
	UID, GID uint32
	Groups   []uint32
}

// FileType is the type of an object.
type FileType uint8

// The types of objects.
const (
	Regular FileType = iota + 1
	Directory
	BlockDevice
	CharDevice
	Symlink
	Socket
	FIFO
)

// Attr describes an object. All of it was true at one moment.
type Attr struct {
	Type         FileType
	Mode         uint32 // permission bits and set-id and sticky bits, 07777
	Nlink        uint32
	UID, GID     uint32
	Size         uint64 // bytes
	Used         uint64 // bytes of space taken
	Major, Minor uint32 // of a device
	FSID         uint64 // which of the file systems below one export
	FileID       uint64 // unique within FSID, never 0
	Atime        time.Time
	Mtime        time.Time
	Ctime        time.Time
	Btime        time.Time // zero where the file system keeps none
	Change       uint64    // rises with every change, alike on every gateway
}

// TimeSet says what to do with a timestamp.
type TimeSet uint8

// The choices for a timestamp in SetAttr.
const (
	TimeKeep TimeSet = iota
	TimeNow
	TimeGiven
)

// SetAttr names the attributes to set. Nil pointers are left as they are.
// They are set in the order that POSIX wants: owner and group, mode, size,
// times.
type SetAttr struct {
	Mode     *uint32 // 07777
	UID, GID *uint32
	Size     *uint64
	AtimeHow TimeSet
	Atime    time.Time
	MtimeHow TimeSet
	Mtime    time.Time
}

// DirChange is the change attribute of a directory around an operation on it
// (change_info4, RFC 8881 §3.3.8). Atomic is true only if no other change
// can have come between.
type DirChange struct {
	Before, After uint64
	Atomic        bool
}

// Access bits, to be or-ed; the values are those of ACCESS (RFC 8881 §18.1).
const (
	AccessRead    = 0x01
	AccessLookup  = 0x02
	AccessModify  = 0x04
	AccessExtend  = 0x08
	AccessDelete  = 0x10
	AccessExecute = 0x20
)

// Statfs describes the space of a file system, in bytes and in objects.
type Statfs struct {
	Total, Free, Avail                uint64
	FilesTotal, FilesFree, FilesAvail uint64
	MaxFileSize                       uint64
	MaxName                           uint32
	MaxLink                           uint32
	TimeDelta                         time.Duration // granularity of timestamps
	CaseInsensitive                   bool
}

// DirEntry is one entry of a directory, valid during the call that gets it; Name
// and Handle may be kept. Cookie continues after it. The values 0, 1 and 2 are
// not used as cookies of entries.
type DirEntry struct {
	Name   string
	Cookie uint64
	Handle []byte // nil if the caller may not search the directory
	Attr   Attr
}

// OpenMode says what an opened File is for.
type OpenMode uint8

// The modes of OpenMode.
const (
	OpenRead OpenMode = 1 << iota
	OpenWrite

	// OpenGranted skips the access check: the caller was granted this access
	// when it opened the file, the grant is part of the durable state, and the
	// file is opened again because this gateway does not hold it open (POSIX
	// keeps an open file usable whatever happens to its mode).
	OpenGranted
)

// An FS is a file system. All methods may be called at the same time from any
// number of goroutines. Names are single components, never "." or "..", never
// empty, without '/' and NUL; the FS may refuse more.
type FS interface {
	// Root returns the handle of the root directory.
	Root() []byte

	// Getattr fills attr. Anyone who has the handle may call it.
	Getattr(h []byte, attr *Attr) error

	// Access returns which of the wanted Access bits cred has on h.
	Access(cred *Creds, h []byte, want uint32) (uint32, error)

	// Lookup returns the handle of a name and fills attr unless it is nil. A
	// mount point, or anything else outside the export, is ErrNotExist.
	Lookup(cred *Creds, dir []byte, name string, attr *Attr) ([]byte, error)

	// Parent returns the directory that holds directory dir; of the root
	// it returns ErrNotExist.
	Parent(cred *Creds, dir []byte) ([]byte, error)

	// ReadDir calls fn for the entries of dir after cookie (0: from the
	// start), without "." and "..", until fn returns false or there are no
	// more, which it tells by eof. Entries that exist all the time while
	// the directory changes are seen once. withAttr says whether fn needs
	// Handle and Attr, or only the name.
	ReadDir(cred *Creds, dir []byte, cookie uint64, withAttr bool, fn func(*DirEntry) bool) (eof bool, err error)

	// Readlink returns the target of a symbolic link.
	Readlink(cred *Creds, h []byte) (string, error)

	// Open opens a regular file.
	Open(cred *Creds, h []byte, mode OpenMode) (File, error)

	// Statfs describes the file system that holds h.
	Statfs(h []byte, st *Statfs) error
}

// MakeArgs says what Mutable.Make makes.
type MakeArgs struct {
	Type         FileType
	Set          SetAttr // Mode nil: 0644, for a directory 0755
	Umask        uint32  // applied to Set.Mode unless a default ACL is inherited (RFC 8275 §5)
	Target       string  // of a symbolic link
	Major, Minor uint32  // of a device
}

// Mutable is an FS that can be changed. When a method returns without error
// its effect is on stable storage, unless the export is async. Each does one
// thing or nothing, and never replaces an object unless it says so.
type Mutable interface {
	// Setattr sets attributes of h. Where cred may write the open file f (nil
	// if there is none) a size may be set through it.
	Setattr(cred *Creds, h []byte, f File, set *SetAttr) error

	// Make makes a regular file, directory, symbolic link, device, socket or
	// FIFO. It is ErrExist if the name exists, even as a dangling link. For
	// a regular file it also returns the file opened for reading and writing,
	// whatever its mode says, if open is true. Should it fail after the
	// object was made, the object is removed again. attr may be nil.
	Make(cred *Creds, dir []byte, name string, args *MakeArgs, open bool, attr *Attr) ([]byte, File, DirChange, error)

	// Link adds a name to an object that is not a directory.
	Link(cred *Creds, h, dir []byte, name string) (DirChange, error)

	// Remove removes a name: a directory must be empty.
	Remove(cred *Creds, dir []byte, name string) (DirChange, error)

	// Rename renames, replacing a target as rename(2) does. Two names of the
	// same object are left as they are. A directory in place of what is none, or
	// the reverse, is ErrExist, one with entries ErrNotEmpty (RFC 8881 §18.26.3).
	Rename(cred *Creds, fromDir []byte, from string, toDir []byte, to string) (DirChange, DirChange, error)
}

// A File is an open regular file. All methods may be called at the same time.
// Close waits for nothing: the owner counts the users.
type File interface {
	// ReadAt reads into p from offset off; eof says that the end of the file
	// is at off+n. It returns fewer bytes than asked for only at the end.
	ReadAt(p []byte, off int64) (n int, eof bool, err error)

	// WriteAt writes p at off; it returns fewer only with an error.
	WriteAt(p []byte, off int64) (int, error)

	// Sync puts data, and the metadata needed to find it, on stable storage.
	// An error that was reported once stays reported (G5): after a failed
	// Sync unstable data may be lost.
	Sync() error

	// Getattr is that of FS, for the open file.
	Getattr(attr *Attr) error

	Close() error
}

// Sparse is a File that knows its holes: SEEK and READ_PLUS (RFC 7862).
type Sparse interface {
	// SeekData returns where data next begins at or after off, SeekHole where
	// a hole does; the end of the file counts as a hole, and is also where the
	// next data is if there is none. At the end and beyond it is ErrNXIO.
	SeekData(off int64) (int64, error)
	SeekHole(off int64) (int64, error)
}

// Allocator is a File whose space can be reserved and punched (RFC 7862 §15.1,
// §15.4). Allocate extends the file if need be; Deallocate keeps its size.
type Allocator interface {
	Allocate(off, n int64) error
	Deallocate(off, n int64) error
}

// Copier is a File that can copy a range to another File of the same FS
// without moving the bytes through the gateway's memory. It may copy less.
type Copier interface {
	CopyTo(dst File, srcOff, dstOff, n int64) (int64, error)
}

// Cloner is a File that can share a range with another File of the same FS.
// n of 0 means to the end.
type Cloner interface {
	CloneTo(dst File, srcOff, dstOff, n int64) error
}

// XattrMode says what must be true of an attribute that is set (RFC 8276
// §8.4.2).
type XattrMode uint8

// The modes of XattrMode.
const (
	XattrEither XattrMode = iota
	XattrCreate
	XattrReplace
)

// Xattrs is an FS with extended attributes in the user namespace. Names are
// without the "user." prefix.
type Xattrs interface {
	GetXattr(cred *Creds, h []byte, name string, max int) ([]byte, error)
	SetXattr(cred *Creds, h []byte, name string, value []byte, mode XattrMode) error
	ListXattrs(cred *Creds, h []byte) ([]string, error)
	RemoveXattr(cred *Creds, h []byte, name string) error
}

// ACLEntry is one entry of a POSIX.1e access control list.
type ACLEntry struct {
	Tag  ACLTag
	ID   uint32 // of a named user or group
	Perm uint8  // 4 read, 2 write, 1 execute
}

// ACLTag says whom an ACLEntry is about.
type ACLTag uint8

// The tags of ACLTag.
const (
	ACLUserObj ACLTag = iota + 1
	ACLUser
	ACLGroupObj
	ACLGroup
	ACLMask
	ACLOther
)

// ACLs is an FS with POSIX access control lists.
type ACLs interface {
	// GetACL returns the access list, or the default list of a directory. An
	// object without one has the three entries that its mode says, and no
	// default list.
	GetACL(h []byte, defaults bool) ([]ACLEntry, error)

	// SetACL replaces a list; an empty default list removes it.
	SetACL(cred *Creds, h []byte, defaults bool, acl []ACLEntry) error
}
