package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"holdfast/durable"
)

// The format file is text, so that whoever looks into the directory learns what
// it is:
//
//	holdfast state store
//	version 1
//	ready
//	checksum 0123abcd
//
// The third line is "new" until the first Open is through. The checksum is
// CRC-32C over the lines before it.
const (
	formatName    = "FORMAT"
	lockName      = "LOCK"
	dbName        = "db"
	formatMagic   = "holdfast state store\n"
	formatVersion = 1
)

// checkDir makes dir if it is missing, and says whether it holds a store that
// was opened before. The error is durable.ErrFormat for a directory that is not
// ours to use.
func checkDir(dir string) (ready bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	data, err := os.ReadFile(filepath.Join(dir, formatName))
	if err == nil {
		return parseFormat(dir, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		switch e.Name() {
		case lockName, formatName + ".tmp", "lost+found":
		default:
			return false, fmt.Errorf("%w: %s holds %q but no %s file: it is not a holdfast state store; give an empty directory",
				durable.ErrFormat, dir, e.Name(), formatName)
		}
	}
	return false, nil
}

func parseFormat(dir string, data []byte) (ready bool, err error) {
	path := filepath.Join(dir, formatName)
	if !bytes.HasPrefix(data, []byte(formatMagic)) {
		return false, fmt.Errorf("%w: %s is not that of a holdfast state store", durable.ErrFormat, path)
	}
	var version int
	if _, err := fmt.Sscanf(string(data[len(formatMagic):]), "version %d\n", &version); err != nil || version < 1 {
		return false, damaged(dir, path, errors.New("no version"))
	}
	if version > formatVersion {
		return false, fmt.Errorf("%w: %s was written by a newer program, in format %d; this program knows formats up to %d: upgrade it",
			durable.ErrFormat, dir, version, formatVersion)
	}
	for _, state := range []string{"ready", "new"} {
		if bytes.Equal(data, formatText(state)) {
			return state == "ready", nil
		}
	}
	return false, damaged(dir, path, errors.New("checksum mismatch"))
}

func formatText(state string) []byte {
	text := fmt.Sprintf("%sversion %d\n%s\n", formatMagic, formatVersion, state)
	return fmt.Appendf(nil, "%schecksum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// writeFormat replaces the format file atomically and durably.
func writeFormat(dir, state string) error {
	path := filepath.Join(dir, formatName)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(formatText(state))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir takes the lock of dir until the file is closed or the process ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s is locked by another process", durable.ErrInUse, path)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// damaged is the error for content that cannot be trusted: where it is, what
// is wrong, and what to do.
func damaged(dir, path string, cause error) error {
	return fmt.Errorf("%w: %s: %w. Nothing is granted from it. Restore %s from a backup, or move it away: "+
		"the gateway then starts without state, and its clients recover what they hold through a grace period",
		durable.ErrDamaged, path, cause, dir)
}
