package exporttest

import (
	"errors"
	"time"

	"holdfast/export"
)

func isOne(err error, wanted ...error) bool {
	for _, w := range wanted {
		if errors.Is(err, w) {
			return true
		}
	}
	return false
}

var setattrChecks = []check{
	{name: "modes are set, and change rises with each", run: func(e *env) {
		h := e.file(e.root(), "f", "")
		last := e.attr(h).Change
		for i := range uint32(200) {
			mode := 0o600 | i&0o77
			e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{Mode: ptr(mode)}), "chmod")
			a := e.attr(h)
			if a.Mode != mode {
				e.Fatalf("mode %#o, want %#o", a.Mode, mode)
			}
			if a.Change <= last {
				e.Fatalf("change went from %d to %d", last, a.Change)
			}
			last = a.Change
		}
	}},
	{name: "times are set to the nanosecond, each alone", run: func(e *env) {
		h := e.file(e.root(), "f", "")
		at, mt := time.Unix(1000000000, 123456789), time.Unix(1500000000, 987654321)
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{AtimeHow: export.TimeGiven, Atime: at, MtimeHow: export.TimeGiven, Mtime: mt}), "utimes")
		if a := e.attr(h); !a.Atime.Equal(at) || !a.Mtime.Equal(mt) {
			e.Errorf("times %v %v", a.Atime, a.Mtime)
		}
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{MtimeHow: export.TimeNow}), "mtime now")
		if a := e.attr(h); !a.Atime.Equal(at) || time.Since(a.Mtime).Abs() > time.Minute {
			e.Errorf("times %v %v", a.Atime, a.Mtime)
		}
	}},
	{name: "sizes are set, by handle and through an open file", run: func(e *env) {
		h := e.file(e.root(), "f", "0123456789")
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{Size: ptr(uint64(4))}), "truncate")
		if got := e.content(h); got != "0123" {
			e.Errorf("content %q", got)
		}
		f := e.open(e.owner(), h, export.OpenRead|export.OpenWrite)
		e.must(e.m.Setattr(e.owner(), h, f, &export.SetAttr{Size: ptr(uint64(6))}), "extend")
		if got := e.content(h); got != "0123\x00\x00" {
			e.Errorf("content %q", got)
		}
		e.want(e.m.Setattr(e.owner(), e.root(), nil, &export.SetAttr{Size: ptr(uint64(0))}), "truncate a directory", export.ErrIsDir)
		e.want(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{Size: ptr(uint64(1) << 63)}), "a size beyond all", export.ErrFBig, export.ErrInval)
	}},
	{name: "several attributes at once", run: func(e *env) {
		h := e.file(e.root(), "f", "0123456789")
		mt := time.Unix(1500000000, 0)
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{
			Mode: ptr(uint32(0o400)), Size: ptr(uint64(3)), MtimeHow: export.TimeGiven, Mtime: mt,
		}), "setattr")
		if a := e.attr(h); a.Mode != 0o400 || a.Size != 3 || !a.Mtime.Equal(mt) {
			e.Errorf("%+v", a)
		}
	}},
	{name: "owners are set by root, and set-id bits fall with that", needs: []Feature{Chown, Identities}, run: func(e *env) {
		h := e.file(e.root(), "f", "")
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o6755))}), "chmod")
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{UID: ptr(alice().UID), GID: ptr(alice().GID)}), "chown")
		if a := e.attr(h); a.UID != alice().UID || a.GID != alice().GID || a.Mode != 0o755 {
			e.Errorf("%+v", a)
		}
		e.want(e.m.Setattr(alice(), h, nil, &export.SetAttr{UID: ptr(bob().UID)}), "giving away", export.ErrPerm)
		e.must(e.m.Setattr(alice(), h, nil, &export.SetAttr{GID: ptr(uint32(20000))}), "to a group of the caller")
		e.want(e.m.Setattr(alice(), h, nil, &export.SetAttr{GID: ptr(bob().GID)}), "to another group", export.ErrPerm)
		e.want(e.m.Setattr(bob(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o777))}), "chmod by another", export.ErrPerm)
		if a := e.attr(h); a.UID != alice().UID || a.GID != 20000 || a.Mode != 0o755 {
			e.Errorf("%+v", a)
		}
	}},
	{name: "the owner and times of a symbolic link are its own", needs: []Feature{Symlinks, Chown}, run: func(e *env) {
		f := e.file(e.root(), "target", "")
		l := e.make(e.root(), "l", export.Symlink)
		mt := time.Unix(1400000000, 5)
		e.must(e.m.Setattr(e.owner(), l, nil, &export.SetAttr{UID: ptr(uint32(77)), MtimeHow: export.TimeGiven, Mtime: mt}), "setattr of a link")
		if a := e.attr(l); a.UID != 77 || !a.Mtime.Equal(mt) {
			e.Errorf("link %+v", a)
		}
		if a := e.attr(f); a.UID == 77 || a.Mtime.Equal(mt) {
			e.Errorf("target %+v", a)
		}
		e.want(e.m.Setattr(e.owner(), l, nil, &export.SetAttr{Mode: ptr(uint32(0o600))}), "chmod of a link", export.ErrNotSupp)
	}},
	{name: "attributes of special files", needs: []Feature{Special, Devices, Chown}, run: func(e *env) {
		for _, t := range []export.FileType{export.FIFO, export.Socket, export.CharDevice} {
			h := e.makeAs(e.owner(), e.root(), string(rune('a'+t)), &export.MakeArgs{Type: t, Major: 1, Minor: 3})
			mt := time.Unix(1400000000, 5)
			e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o600)), UID: ptr(uint32(5)), MtimeHow: export.TimeGiven, Mtime: mt}), "setattr")
			if a := e.attr(h); a.Mode != 0o600 || a.UID != 5 || !a.Mtime.Equal(mt) {
				e.Errorf("%+v", a)
			}
		}
	}},
	{name: "who may write may truncate and set the time to now", needs: []Feature{Chown, Identities}, run: func(e *env) {
		h := e.fileOf(alice(), e.openDir("d"), "f", 0o666)
		past := time.Unix(1000000000, 0)
		for _, set := range []export.SetAttr{
			{Size: ptr(uint64(5)), MtimeHow: export.TimeNow},
			{AtimeHow: export.TimeNow, MtimeHow: export.TimeNow},
			{MtimeHow: export.TimeNow},
		} {
			e.must(e.m.Setattr(alice(), h, nil, &export.SetAttr{MtimeHow: export.TimeGiven, Mtime: past}), "utimes by the owner")
			e.must(e.m.Setattr(bob(), h, nil, &set), "setattr by another")
			if a := e.attr(h); a.Mtime.Equal(past) {
				e.Errorf("mtime %v", a.Mtime)
			}
		}
		e.want(e.m.Setattr(bob(), h, nil, &export.SetAttr{MtimeHow: export.TimeGiven, Mtime: past}), "a given time by another", export.ErrPerm)
		e.must(e.m.Setattr(alice(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o644))}), "chmod")
		e.want(e.m.Setattr(bob(), h, nil, &export.SetAttr{AtimeHow: export.TimeNow, MtimeHow: export.TimeNow}), "now by who may not write", export.ErrAccess, export.ErrPerm)
	}},
	{name: "setattr all or nothing: a size that may not be set", needs: []Feature{Identities, Chown}, run: func(e *env) {
		h := e.file(e.root(), "f", "0123456789")
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o444)), UID: ptr(alice().UID)}), "chown")
		before := e.attr(h)
		err := e.m.Setattr(alice(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o666)), Size: ptr(uint64(0))})
		e.want(err, "mode and size", export.ErrAccess)
		if a := e.attr(h); a.Mode != before.Mode || a.Size != before.Size {
			e.Errorf("%+v", a)
		}
	}},
}
