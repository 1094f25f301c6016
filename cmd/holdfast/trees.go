package main

import (
	"fmt"
	"hash/fnv"

	gobilly "github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/osfs"

	"holdfast/export"
	"holdfast/export/billy"
	"holdfast/export/exports"
	"holdfast/export/posix"
	"holdfast/internal/config"
	"holdfast/statesync"
)

// tree is one export and what the administrator should know of it.
type tree struct {
	cfg    *config.Export
	export *exports.Export
	source string
	notes  []string
	close  func() error
}

func openTrees(cfg *config.Config) ([]tree, error) {
	var trees []tree
	for _, e := range cfg.Exports {
		t, err := openTree(cfg, e)
		if err != nil {
			for _, t := range trees {
				t.close()
			}
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		trees = append(trees, t)
	}
	return trees, nil
}

func openTree(cfg *config.Config, e *config.Export) (tree, error) {
	t := tree{cfg: e, source: e.Dir}
	var fs export.FS
	switch e.Billy {
	case "":
		p, err := posix.New(e.Dir, posix.Options{
			StateDir: handleDir(cfg), Shared: cfg.Shared(), Async: e.Async, SoleWriter: e.SoleWriter,
		})
		if err != nil {
			return t, err
		}
		fs, t.close, t.notes = p, p.Close, p.Notes()
	default:
		var from gobilly.Filesystem
		opt := billy.Options{UID: e.AnonUID, GID: e.AnonGID}
		if e.Billy == config.BillyMemory {
			from, t.source = memfs.New(), "memory"
			t.notes = append(t.notes, "it is in memory, and gone when this program ends")
		} else {
			from, t.source = osfs.New(e.Dir, osfs.WithBoundOS()), "osfs "+e.Dir
			opt.StateDir, opt.Name = handleDir(cfg), e.Path
		}
		b, err := billy.New(from, opt)
		if err != nil {
			return t, err
		}
		fs, t.close = b, b.Close
		t.notes = append(t.notes, fmt.Sprintf("everything belongs to user %d and group %d", e.AnonUID, e.AnonGID))
	}
	if e.Async {
		t.notes = append(t.notes, "async: what clients were told is done is lost if this machine crashes before the disk has it")
	}
	for i := range t.notes {
		t.notes[i] = e.Path + ": " + t.notes[i]
	}
	t.export = &exports.Export{
		ID:       e.FSID,
		Path:     e.Path,
		FS:       fs,
		ReadOnly: e.Access == config.AccessRO,
		Squash:   map[string]exports.Squash{config.SquashRoot: exports.SquashRoot, config.SquashNone: exports.SquashNone, config.SquashAll: exports.SquashAll}[e.Squash],
		AnonUID:  e.AnonUID,
		AnonGID:  e.AnonGID,
		Clients:  e.Clients,
	}
	if e.FSID == 0 {
		t.export.ID = exportID(e.Path, t.source)
	}
	return t, nil
}

// exportID makes the number of an export: another directory under the same
// path is another export, so that a filehandle of the one means nothing in the
// other.
func exportID(path, source string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(path + "\x00" + source))
	return max(h.Sum32(), exports.PseudoID+1)
}

// nameFile tells people which file a filehandle means: its export and inode.
func nameFile(set *exports.Set, key statesync.FileKey) string {
	e, h, err := set.Open([]byte(key))
	if err != nil {
		return ""
	}
	var attr export.Attr
	if err := e.FS.Getattr(h, &attr); err != nil {
		return e.Path + " (gone)"
	}
	return fmt.Sprintf("%s inode %d", e.Path, attr.FileID)
}
