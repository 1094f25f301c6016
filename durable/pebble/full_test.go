package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/durable"
	"holdfast/durable/pebble"
)

// smallDisk mounts a file system of so many MiB, for the test alone.
func smallDisk(t *testing.T, kind string, mib int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var args []string
	switch kind {
	case "tmpfs":
		args = []string{"-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs", dir}
	case "ext4":
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, int64(mib)<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
			t.Skipf("no ext4 can be made here: %v %s", err, out)
		}
		args = []string{"-o", "loop", image, dir}
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Skipf("no %s can be mounted here: %v %s", kind, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind+"/own growth", func(t *testing.T) { testOwnGrowth(t, smallDisk(t, kind, 32)) })
		t.Run(kind+"/others' growth", func(t *testing.T) { testOthersGrowth(t, smallDisk(t, kind, 64)) })
	}
}

// grower makes group after group until it is told that the store is full.
type grower struct {
	w     int
	acked []string
}

func (g *grower) run(s durable.Store, stop <-chan struct{}) error {
	value := make([]byte, 3000)
	for i := range value {
		value[i] = byte(i*i*i>>5 + i*g.w) // little to compress
	}
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		key := fmt.Sprintf("grow/%d/%d", g.w, len(g.acked))
		ack, err := s.Commit(context.Background(), &durable.Batch{
			Checks: []durable.Check{{Key: key}},
			Writes: []durable.Write{{Key: key, Value: append([]byte(key), value...)}},
		})
		if err != nil {
			return err
		}
		if err := ack.Wait(); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		g.acked = append(g.acked, key)
	}
}

// allThere checks every group that was acknowledged.
func allThere(t *testing.T, s durable.Store, growers []*grower) {
	t.Helper()
	there := make(map[string]bool)
	err := s.Scan(context.Background(), "grow/", func(g durable.Group) bool {
		there[g.Key] = g.Version == 1 && len(g.Parts) == 1 && strings.HasPrefix(string(g.Parts[0].Value), g.Key)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range growers {
		for _, key := range g.acked {
			if whole, ok := there[key]; !whole {
				t.Fatalf("%q was acknowledged and is not as it was: there %v, whole %v", key, ok, whole)
			}
		}
	}
}

// grow lets growers run until the store is full for each, or stop is closed.
func grow(t *testing.T, s durable.Store, growers []*grower, stop chan struct{}) {
	t.Helper()
	var wg sync.WaitGroup
	for _, g := range growers {
		wg.Go(func() {
			if err := g.run(s, stop); !errors.Is(err, durable.ErrFull) && (err != nil || stop == nil) {
				t.Errorf("a writer ended with %v", err)
			}
		})
	}
	wg.Wait()
}

func newGrowers(from, n int) []*grower {
	growers := make([]*grower, n)
	for i := range growers {
		growers[i] = &grower{w: from + i}
	}
	return growers
}

// until polls a condition that must come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A store that fills its disk says so in time; what is forgotten makes room
// again.
func testOwnGrowth(t *testing.T, disk string) {
	dir := filepath.Join(disk, "store")
	s := mustOpen(t, dir)
	growers := newGrowers(0, 8)
	grow(t, s, growers, nil)
	if t.Failed() {
		return
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	allThere(t, s, growers)
	// A release is taken, with the reply that belongs to it.
	key := growers[0].acked[0]
	growers[0].acked = growers[0].acked[1:]
	until(t, "a release with a small reply", func() bool {
		err := commitWait(s, &durable.Batch{
			Checks: []durable.Check{{Key: key, Version: 1}},
			Writes: []durable.Write{{Key: "slot/1/1", Value: make([]byte, 200)}},
			Forget: []string{key},
		})
		if err != nil && !errors.Is(err, durable.ErrFull) {
			t.Fatal(err)
		}
		return err == nil
	})
	for _, g := range growers[:6] {
		forgetAll(t, s, g)
	}
	until(t, "a commit after most was forgotten", func() bool {
		return commitWait(s, &durable.Batch{Writes: []durable.Write{{Key: "new", Value: []byte("v")}}}) == nil
	})
	more := newGrowers(10, 4)
	grow(t, s, more, nil)
	growers = append(growers[6:], more...)
	allThere(t, s, growers)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	allThere(t, s, growers)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// forgetAll forgets what a grower made, some groups at a time.
func forgetAll(t *testing.T, s durable.Store, g *grower) {
	t.Helper()
	for keys := range slices.Chunk(g.acked, 50) {
		until(t, "a release", func() bool {
			err := commitWait(s, &durable.Batch{Forget: keys})
			if err != nil && !errors.Is(err, durable.ErrFull) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	g.acked = nil
}

func commitWait(s durable.Store, b *durable.Batch) error {
	ack, err := s.Commit(context.Background(), b)
	if err != nil {
		return err
	}
	return ack.Wait()
}

// Another program takes all space at once, in the midst of commits, to the last
// block.
func testOthersGrowth(t *testing.T, disk string) {
	dir := filepath.Join(disk, "store")
	s := mustOpen(t, dir)
	var all []*grower
	for round := range 4 {
		growers := newGrowers(100*round, 8)
		all = append(all, growers...)
		if round < 2 {
			hog := startHog(t, filepath.Join(disk, "hog"), false)
			grow(t, s, growers, nil)
			hog.end()
		} else {
			underSiege(t, s, growers, filepath.Join(disk, "hog"))
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		allThere(t, s, all)
		if round == 1 {
			s = reopenFull(t, s, dir, filepath.Join(disk, "hog"))
		}
		if err := os.Remove(filepath.Join(disk, "hog")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		until(t, "a commit after the space is back", func() bool {
			err := commitWait(s, &durable.Batch{Writes: []durable.Write{{Key: "again", Value: []byte("v")}}})
			if err != nil && !errors.Is(err, durable.ErrFull) {
				t.Fatal(err)
			}
			return err == nil
		})
		// Room for the next round.
		for _, g := range growers {
			forgetAll(t, s, g)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	allThere(t, s, all)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// underSiege has the hog take also what the ballast gives back. Then commits
// that are under way may have to wait, until the hog's file is gone; they are
// not lost.
func underSiege(t *testing.T, s *pebble.Store, growers []*grower, path string) {
	t.Helper()
	hog := startHog(t, path, true)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		grow(t, s, growers, stop)
		close(done)
	}()
	until(t, "the store is full", func() bool { return s.Level() == 2 })
	hog.again(20)
	hog.end()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	close(stop)
	<-done
}

// reopenFull closes the store, and opens it, while the disk is full.
func reopenFull(t *testing.T, s *pebble.Store, dir, hog string) *pebble.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := pebble.Open(dir, pebble.Options{})
	if err == nil {
		t.Cleanup(func() { s.Close() })
		return s
	}
	if !errors.Is(err, durable.ErrFull) {
		t.Fatalf("open on a full disk: %v", err)
	}
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, dir)
}

// hog takes all space there is, once, or again and again what comes free.
type hog struct {
	stop  atomic.Bool
	fills atomic.Int64
	done  chan struct{}
}

func startHog(t *testing.T, path string, again bool) *hog {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	h := &hog{done: make(chan struct{})}
	go func() {
		defer close(h.done)
		defer f.Close()
		size := int64(0)
		for !h.stop.Load() && (again || h.fills.Load() == 0) {
			for step := int64(4 << 20); step >= 4<<10; {
				err := unix.Fallocate(int(f.Fd()), 0, size, step)
				switch {
				case err == nil:
					size += step
				case errors.Is(err, syscall.ENOSPC):
					step /= 4
				case !errors.Is(err, syscall.EINTR):
					t.Error(err)
					return
				}
			}
			h.fills.Add(1)
		}
	}()
	return h
}

// again waits until the hog has looked for space n times more.
func (h *hog) again(n int64) {
	for from := h.fills.Load(); h.fills.Load() < from+n; {
		select {
		case <-h.done:
			return
		default:
			runtime.Gosched()
		}
	}
}

func (h *hog) end() {
	h.stop.Store(true)
	<-h.done
}
