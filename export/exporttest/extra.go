package exporttest

import (
	"slices"
	"strings"

	"holdfast/export"
)

func (e *env) xattrs() export.Xattrs {
	e.Helper()
	x, ok := e.FS.(export.Xattrs)
	if !ok {
		e.Fatal("not export.Xattrs")
	}
	return x
}

func (e *env) acls() export.ACLs {
	e.Helper()
	a, ok := e.FS.(export.ACLs)
	if !ok {
		e.Fatal("not export.ACLs")
	}
	return a
}

var extraChecks = []check{
	{name: "extended attributes are set, read, listed and removed", needs: []Feature{Xattr}, run: func(e *env) {
		x := e.xattrs()
		for _, h := range [][]byte{e.file(e.root(), "f", ""), e.dir(e.root(), "d")} {
			_, err := x.GetXattr(e.owner(), h, "color", 100)
			e.want(err, "get", export.ErrNoXattr)
			e.want(x.SetXattr(e.owner(), h, "color", []byte("red"), export.XattrReplace), "replace what is not", export.ErrNoXattr)
			before := e.attr(h).Change
			e.must(x.SetXattr(e.owner(), h, "color", []byte("red"), export.XattrCreate), "create")
			if e.attr(h).Change <= before {
				e.Error("change did not rise")
			}
			e.want(x.SetXattr(e.owner(), h, "color", []byte("blue"), export.XattrCreate), "create again", export.ErrExist)
			e.must(x.SetXattr(e.owner(), h, "color", []byte("a longer blue"), export.XattrEither), "set")
			e.must(x.SetXattr(e.owner(), h, "empty", nil, export.XattrEither), "set empty")
			v, err := x.GetXattr(e.owner(), h, "color", 100)
			e.must(err, "get")
			if string(v) != "a longer blue" {
				e.Errorf("%q", v)
			}
			v, err = x.GetXattr(e.owner(), h, "empty", 100)
			e.must(err, "get")
			if len(v) != 0 {
				e.Errorf("%q", v)
			}
			_, err = x.GetXattr(e.owner(), h, "color", 5)
			e.want(err, "get with little room", export.ErrTooSmall)
			names, err := x.ListXattrs(e.owner(), h)
			e.must(err, "list")
			slices.Sort(names)
			if !slices.Equal(names, []string{"color", "empty"}) {
				e.Error(names)
			}
			e.must(x.RemoveXattr(e.owner(), h, "color"), "remove")
			e.want(x.RemoveXattr(e.owner(), h, "color"), "remove again", export.ErrNoXattr)
			e.want(x.SetXattr(e.owner(), h, strings.Repeat("n", 300), nil, export.XattrEither), "a long name", export.ErrNameTooLong)
			e.want(x.SetXattr(e.owner(), h, "big", make([]byte, 1<<17), export.XattrEither), "a big value", export.ErrXattrTooBig, export.ErrNoSpace)
		}
	}},
	{name: "extended attributes obey access", needs: []Feature{Xattr, Identities, Chown}, run: func(e *env) {
		x := e.xattrs()
		h := e.fileOf(alice(), e.openDir("d"), "f", 0o600)
		e.must(x.SetXattr(alice(), h, "a", []byte("v"), export.XattrEither), "set")
		_, err := x.GetXattr(bob(), h, "a", 10)
		e.want(err, "get by another", export.ErrAccess)
		e.want(x.SetXattr(bob(), h, "a", []byte("w"), export.XattrEither), "set by another", export.ErrAccess)
		e.want(x.RemoveXattr(bob(), h, "a"), "remove by another", export.ErrAccess)
	}},
	{name: "an object without a list has what its mode says", needs: []Feature{ACL}, run: func(e *env) {
		a := e.acls()
		h := e.makeAs(e.owner(), e.root(), "f", &export.MakeArgs{Type: export.Regular, Set: export.SetAttr{Mode: ptr(uint32(0o641))}})
		got, err := a.GetACL(h, false)
		e.must(err, "get")
		want := []export.ACLEntry{{Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLGroupObj, Perm: 4}, {Tag: export.ACLOther, Perm: 1}}
		if !slices.Equal(got, want) {
			e.Errorf("%+v", got)
		}
		got, err = a.GetACL(e.root(), true)
		e.must(err, "get default")
		if len(got) != 0 {
			e.Errorf("%+v", got)
		}
	}},
	{name: "lists are set, obeyed and removed", needs: []Feature{ACL, Identities, Chown}, run: func(e *env) {
		a := e.acls()
		d := e.openDir("d")
		h := e.fileOf(alice(), d, "f", 0o600)
		list := []export.ACLEntry{
			{Tag: export.ACLOther}, {Tag: export.ACLMask, Perm: 6}, {Tag: export.ACLUser, ID: bob().UID, Perm: 4},
			{Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLGroupObj},
		}
		e.want(a.SetACL(bob(), h, false, list), "set by another", export.ErrPerm)
		before := e.attr(h).Change
		e.must(a.SetACL(alice(), h, false, list), "set")
		if e.attr(h).Change <= before {
			e.Error("change did not rise")
		}
		got, err := a.GetACL(h, false)
		e.must(err, "get")
		want := []export.ACLEntry{{Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLUser, ID: bob().UID, Perm: 4}, {Tag: export.ACLGroupObj}, {Tag: export.ACLMask, Perm: 6}, {Tag: export.ACLOther}}
		if !slices.Equal(got, want) {
			e.Errorf("%+v", got)
		}
		e.open(bob(), h, export.OpenRead)
		_, err = e.FS.Open(bob(), h, export.OpenWrite)
		e.want(err, "write by the named", export.ErrAccess)
		if got, err := e.FS.Access(bob(), h, export.AccessRead|export.AccessModify); err != nil || got != export.AccessRead {
			e.Errorf("access %#x %v", got, err)
		}
		// One that takes away from somebody what the mode gives to all.
		e.must(e.m.Setattr(alice(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o666))}), "chmod")
		e.must(a.SetACL(alice(), h, false, []export.ACLEntry{
			{Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLUser, ID: bob().UID}, {Tag: export.ACLGroupObj, Perm: 6}, {Tag: export.ACLMask, Perm: 6}, {Tag: export.ACLOther, Perm: 6},
		}), "set")
		_, err = e.FS.Open(bob(), h, export.OpenRead)
		e.want(err, "open by the excluded", export.ErrAccess)
		e.open(&export.Creds{UID: 555, GID: 555}, h, export.OpenRead)
		e.want(a.SetACL(alice(), h, false, []export.ACLEntry{{Tag: export.ACLUserObj}}), "an incomplete list", export.ErrInval)
	}},
	{name: "a default list is inherited, and then the umask does not count", needs: []Feature{ACL}, run: func(e *env) {
		a := e.acls()
		d := e.dir(e.root(), "d")
		e.must(a.SetACL(e.owner(), d, true, []export.ACLEntry{
			{Tag: export.ACLUserObj, Perm: 7}, {Tag: export.ACLUser, ID: 4711, Perm: 7}, {Tag: export.ACLGroupObj, Perm: 5}, {Tag: export.ACLMask, Perm: 7}, {Tag: export.ACLOther, Perm: 5},
		}), "set default")
		h := e.makeAs(e.owner(), d, "f", &export.MakeArgs{Type: export.Regular, Umask: 0o077, Set: export.SetAttr{Mode: ptr(uint32(0o666))}})
		if at := e.attr(h); at.Mode != 0o664 {
			e.Errorf("mode %#o", at.Mode)
		}
		got, err := a.GetACL(h, false)
		e.must(err, "get")
		if !slices.Contains(got, export.ACLEntry{Tag: export.ACLUser, ID: 4711, Perm: 7}) {
			e.Errorf("%+v", got)
		}
		sub := e.makeAs(e.owner(), d, "sub", &export.MakeArgs{Type: export.Directory, Umask: 0o077, Set: export.SetAttr{Mode: ptr(uint32(0o777))}})
		got, err = a.GetACL(sub, true)
		e.must(err, "get default")
		if len(got) != 5 || e.attr(sub).Mode&0o777 != 0o775 {
			e.Errorf("%+v %#o", got, e.attr(sub).Mode)
		}
		e.must(a.SetACL(e.owner(), d, true, nil), "remove default")
		e.must(a.SetACL(e.owner(), d, true, nil), "remove default again")
		h = e.makeAs(e.owner(), d, "g", &export.MakeArgs{Type: export.Regular, Umask: 0o077, Set: export.SetAttr{Mode: ptr(uint32(0o666))}})
		if at := e.attr(h); at.Mode != 0o600 {
			e.Errorf("mode %#o", at.Mode)
		}
	}},
}
