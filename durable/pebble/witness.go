package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The witness file is an array of slots, each within one disk sector:
//
//	checksum (4) | kind (1) | 0 (3) | file number (8) | synced bytes (8) | 0 (8)
//
// little-endian, the checksum CRC-32C over the rest. A slot of zeros is free. A
// slot of a log or manifest is dropped, and synced, before that file is removed
// or reused; so a slot with synced bytes means that the file must be there.
const (
	witnessName  = "WITNESS"
	witnessSlots = 128
	slotSize     = 32
)

type fileKind byte

const (
	kindOther fileKind = iota
	kindLog
	kindManifest
	kindMarker
	kindTable
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A claim says that the first synced bytes of a file are on disk.
type claim struct {
	kind   fileKind
	num    uint64
	synced int64
}

// witness keeps the claims of one store. Its methods may be called by any
// number of goroutines.
type witness struct {
	mu     sync.Mutex
	f      vfs.File
	claims [witnessSlots]claim // kindOther: free
}

// createWitness makes an empty witness file.
func createWitness(disk vfs.FS, dir string) error {
	f, err := disk.Create(filepath.Join(dir, witnessName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, witnessSlots*slotSize))
	return errors.Join(err, f.Sync(), f.Close())
}

// openWitness reads the witness file of a store. Slots that cannot be read are
// counted and freed: they claim nothing.
func openWitness(disk vfs.FS, dir string) (w *witness, unreadable int, err error) {
	path := filepath.Join(dir, witnessName)
	// OpenReadWrite would make a missing file.
	if _, err := disk.Stat(path); err != nil {
		return nil, 0, err
	}
	f, err := disk.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, 0, err
	}
	var buf [witnessSlots * slotSize]byte
	if _, err := io.ReadFull(f, buf[:]); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	w = &witness{f: f}
	for i := range w.claims {
		slot := buf[i*slotSize : (i+1)*slotSize]
		if [slotSize]byte(slot) == [slotSize]byte{} {
			continue
		}
		c, ok := parseClaim(slot)
		if !ok {
			unreadable++
			continue
		}
		w.claims[i] = c
	}
	return w, unreadable, nil
}

func parseClaim(slot []byte) (claim, bool) {
	c := claim{
		kind:   fileKind(slot[4]),
		num:    binary.LittleEndian.Uint64(slot[8:]),
		synced: int64(binary.LittleEndian.Uint64(slot[16:])),
	}
	ok := binary.LittleEndian.Uint32(slot) == crc32.Checksum(slot[4:], castagnoli) &&
		(c.kind == kindLog || c.kind == kindManifest) && c.synced >= 0
	return c, ok
}

// write writes slot i. w.mu is held.
func (w *witness) write(i int) error {
	var slot [slotSize]byte
	if c := w.claims[i]; c.kind != kindOther {
		slot[4] = byte(c.kind)
		binary.LittleEndian.PutUint64(slot[8:], c.num)
		binary.LittleEndian.PutUint64(slot[16:], uint64(c.synced))
		binary.LittleEndian.PutUint32(slot[:], crc32.Checksum(slot[4:], castagnoli))
	}
	_, err := w.f.WriteAt(slot[:], int64(i)*slotSize)
	return err
}

func (w *witness) find(kind fileKind, num uint64) int {
	for i := range w.claims {
		if w.claims[i].kind == kind && (kind == kindOther || w.claims[i].num == num) {
			return i
		}
	}
	return -1
}

// replace drops the claim of the file old, if there is one, and, unless num is 0,
// claims nothing yet of the file num. It is synced when replace returns.
func (w *witness) replace(kind fileKind, old, num uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := false
	for _, n := range []uint64{old, num} {
		if n == 0 {
			continue
		}
		if i := w.find(kind, n); i >= 0 {
			w.claims[i] = claim{}
			changed = true
			if err := w.write(i); err != nil {
				return err
			}
		}
	}
	if num != 0 {
		i := w.find(kindOther, 0)
		if i < 0 {
			return errors.New("witness: too many logs")
		}
		w.claims[i] = claim{kind: kind, num: num}
		changed = true
		if err := w.write(i); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return w.f.SyncData()
}

// raise claims that n bytes of a file are synced.
func (w *witness) raise(kind fileKind, num uint64, n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.find(kind, num)
	if i < 0 || w.claims[i].synced >= n {
		return nil
	}
	w.claims[i].synced = n
	if err := w.write(i); err != nil || kind == kindLog {
		return err
	}
	return w.f.SyncData()
}

func (w *witness) list() []claim {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []claim
	for _, c := range w.claims {
		if c.kind != kindOther {
			out = append(out, c)
		}
	}
	return out
}

func (w *witness) close() error { return w.f.Close() }
