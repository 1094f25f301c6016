package pebble

import (
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// deadFile takes everything and keeps nothing.
type deadFile struct{}

func (deadFile) Close() error                           { return nil }
func (deadFile) Read([]byte) (int, error)               { return 0, errFenced }
func (deadFile) ReadAt([]byte, int64) (int, error)      { return 0, errFenced }
func (deadFile) Write(p []byte) (int, error)            { return len(p), nil }
func (deadFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (deadFile) Preallocate(int64, int64) error         { return nil }
func (deadFile) Stat() (vfs.FileInfo, error)            { return deadInfo{}, nil }
func (deadFile) Sync() error                            { return nil }
func (deadFile) SyncTo(int64) (bool, error)             { return false, nil }
func (deadFile) SyncData() error                        { return nil }
func (deadFile) Prefetch(int64, int64) error            { return nil }
func (deadFile) Fd() uintptr                            { return vfs.InvalidFd }

type deadInfo struct{}

func (deadInfo) Name() string           { return "" }
func (deadInfo) Size() int64            { return 0 }
func (deadInfo) Mode() fs.FileMode      { return 0 }
func (deadInfo) ModTime() time.Time     { return time.Time{} }
func (deadInfo) IsDir() bool            { return false }
func (deadInfo) Sys() any               { return nil }
func (deadInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
