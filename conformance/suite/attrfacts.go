package suite

import (
	"bytes"
	"fmt"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// An attrScene is a file of ten bytes, mode 0644, in a directory.
type attrScene struct {
	e       *Env
	c       *client.Client
	dir, fh client.FH
}

func (e *Env) attrScene() *attrScene {
	s := &attrScene{e: e, c: e.Client(), dir: e.Dir()}
	s.fh = e.Closed(s.c, s.dir, "f", "0123456789")
	return s
}

// An attrFact is what an attribute that is supported must tell of the file.
// check gets the attribute's value.
type attrFact struct {
	n          nfs4.Attr
	in40, in41 string // sections of RFC 7530 and RFC 8881; "" if not there
	says       string
	check      func(s *attrScene, a *client.Attrs)
}

func (f attrFact) minors() uint8 {
	switch {
	case f.n.Known(0):
		return all
	case f.n.Known(1):
		return v12
	}
	return v2
}

func (f attrFact) rfc() string {
	switch {
	case f.in40 != "":
		return "RFC 7530 §" + f.in40 + ", RFC 8881 §" + f.in41
	case strings.HasPrefix(f.in41, "RFC"):
		return f.in41
	}
	return "RFC 8881 §" + f.in41
}

// attrFacts has every attribute that can be read and that is no more than a
// number to the client, or that it decodes.
func attrFacts() []attrFact {
	var facts []attrFact
	for _, list := range [][]attrFact{requiredFacts(), fileFacts(), systemFacts(), laterFacts()} {
		facts = append(facts, list...)
	}
	return facts
}

func requiredFacts() []attrFact {
	return []attrFact{
		{nfs4.AttrSupported, "5.8.1.1", "5.8.1.1", "it has the bit of every REQUIRED attribute", func(s *attrScene, a *client.Attrs) {
			for _, n := range required {
				s.want(a.Supported.Has(n), "%v is not in it: %v", n, a)
			}
		}},
		{nfs4.AttrType, "5.8.1.2", "5.8.1.2", "it is NF4REG for a regular file and NF4DIR for a directory", func(s *attrScene, a *client.Attrs) {
			d := s.e.Attrs(s.c, s.dir, nfs4.AttrType)
			s.want(a.Type == nfs4.TypeReg && d.Type == nfs4.TypeDir, "file %v, directory %v", a, d)
		}},
		{nfs4.AttrFHExpireType, "5.8.1.3", "5.8.1.3", "it has defined bits only, and FH4_NOEXPIRE_WITH_OPEN only beside a volatile one", func(s *attrScene, a *client.Attrs) {
			v := a.Num(nfs4.AttrFHExpireType)
			s.want(v <= 0xf && v != nfs4.FHNoExpireWithOpen, "%v", a)
		}},
		{nfs4.AttrChange, "5.8.1.4", "5.8.1.4", "it is another value after the data was written", func(s *attrScene, a *client.Attrs) {
			s.e.OK(s.c, client.PutFH(s.fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
			b := s.e.Attrs(s.c, s.fh, nfs4.AttrChange)
			s.want(a.Change() != b.Change(), "%v before and after a WRITE", a)
		}},
		{nfs4.AttrSize, "5.8.1.5", "5.8.1.5", "it is the number of bytes in the file", func(s *attrScene, a *client.Attrs) { s.want(a.Size() == 10, "%v", a) }},
		{nfs4.AttrLinkSupport, "5.8.1.6", "5.8.1.6", "it is true where LINK works, and false where it is not supported", func(s *attrScene, a *client.Attrs) {
			p := s.e.Do(s.c, client.PutFH(s.fh), client.SaveFH(), client.PutFH(s.dir), client.Link("g"))
			s.want((p.Status == nfs4.OK) == s.is(a), "%v, and LINK gives %v", a, p.Status)
		}},
		{nfs4.AttrSymlinkSupport, "5.8.1.7", "5.8.1.7", "it is true where a symbolic link can be made, and false where not", func(s *attrScene, a *client.Attrs) {
			p := s.e.Do(s.c, client.PutFH(s.dir), client.Symlink("s", "text"))
			s.want((p.Status == nfs4.OK) == s.is(a), "%v, and CREATE of a link gives %v", a, p.Status)
		}},
		{nfs4.AttrNamedAttr, "5.8.1.8", "5.8.1.8", "it is false of a file that was just made", func(s *attrScene, a *client.Attrs) { s.want(!s.is(a), "%v", a) }},
		{nfs4.AttrFSID, "5.8.1.9", "5.8.1.9", "it is the same for a file and its directory", func(s *attrScene, a *client.Attrs) {
			d := s.e.Attrs(s.c, s.dir, nfs4.AttrFSID)
			s.want(a.FSID == d.FSID, "file %v, directory %v", a, d)
		}},
		{nfs4.AttrUniqueHandles, "5.8.1.10", "5.8.1.10", "where it is true, two names of a file have one filehandle", func(s *attrScene, a *client.Attrs) {
			if !s.is(a) {
				return
			}
			s.e.OK(s.c, client.PutFH(s.fh), client.SaveFH(), client.PutFH(s.dir), client.Link("g"))
			g, err := s.c.LookupFH(s.dir, "g")
			s.e.Must(err)
			s.want(bytes.Equal(g, s.fh), "%v, but the names' filehandles are %v and %v", a, s.fh, g)
		}},
		{nfs4.AttrLeaseTime, "5.8.1.11", "5.8.1.11", "it is some seconds, and the same for every object", func(s *attrScene, a *client.Attrs) {
			d := s.e.Attrs(s.c, s.dir, nfs4.AttrLeaseTime)
			s.want(a.Num(nfs4.AttrLeaseTime) > 0 && a.Num(nfs4.AttrLeaseTime) == d.Num(nfs4.AttrLeaseTime), "file %v, directory %v", a, d)
		}},
		{nfs4.AttrFilehandle, "5.8.1.13", "5.8.1.13", "it is the filehandle that PUTFH was given", func(s *attrScene, a *client.Attrs) {
			s.want(bytes.Equal(a.FH, s.fh), "%v is not %v", a, s.fh)
		}},
	}
}

func fileFacts() []attrFact {
	validTime := func(n nfs4.Attr) func(s *attrScene, a *client.Attrs) {
		return func(s *attrScene, a *client.Attrs) { s.want(a.Time(n).Valid(), "%v", a) }
	}
	anyBool := func(s *attrScene, a *client.Attrs) {} // decoding found it to be 0 or 1
	return []attrFact{
		{nfs4.AttrACL, "6.2.1", "6.2.1", "every entry is of a defined type and has a who", func(s *attrScene, a *client.Attrs) {
			for _, ace := range a.ACL {
				s.want(ace.Type <= nfs4.ACEAlarm && ace.Who != "", "%+v", ace)
			}
		}},
		{nfs4.AttrArchive, "5.8.2.1", "5.8.2.1", "it is a boolean", anyBool},
		{nfs4.AttrFileID, "5.8.2.6", "5.8.2.7", "it is the same by every name of the file and another for another file", func(s *attrScene, a *client.Attrs) {
			p := s.e.OK(s.c, client.PutFH(s.fh), client.SaveFH(), client.PutFH(s.dir), client.Link("g"), client.Lookup("g"), client.GetAttr(nfs4.AttrFileID))
			b := get[client.GetAttrRes](s.e, p)
			o := s.e.Attrs(s.c, s.e.Closed(s.c, s.dir, "h", ""), nfs4.AttrFileID)
			id := a.Num(nfs4.AttrFileID)
			s.want(b.Num(nfs4.AttrFileID) == id && o.Num(nfs4.AttrFileID) != id, "%v, by another name %v, another file's %v", a, b.Attrs, o)
		}},
		{nfs4.AttrHidden, "5.8.2.11", "5.8.2.15", "it is a boolean", anyBool},
		{nfs4.AttrMode, "6.2.2", "6.2.4", "it is the mode with which the file was made, without other bits", func(s *attrScene, a *client.Attrs) { s.want(a.Mode() == 0o644, "%v", a) }},
		{nfs4.AttrNumLinks, "5.8.2.21", "5.8.2.25", "it is one for a new file and two after LINK", func(s *attrScene, a *client.Attrs) {
			s.e.OK(s.c, client.PutFH(s.fh), client.SaveFH(), client.PutFH(s.dir), client.Link("g"))
			b := s.e.Attrs(s.c, s.fh, nfs4.AttrNumLinks)
			s.want(a.Num(nfs4.AttrNumLinks) == 1 && b.Num(nfs4.AttrNumLinks) == 2, "%v, after LINK %v", a, b)
		}},
		{nfs4.AttrOwner, "5.8.2.22, §5.9", "5.8.2.26, §5.9", "it is a string that can be given back to SETATTR", func(s *attrScene, a *client.Attrs) {
			s.want(a.Owner != "", "empty")
			s.e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetOwner(a.Owner))
		}},
		{nfs4.AttrOwnerGroup, "5.8.2.23, §5.9", "5.8.2.27, §5.9", "it is a string that can be given back to SETATTR", func(s *attrScene, a *client.Attrs) {
			s.want(a.Group != "", "empty")
			s.e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetGroup(a.Group))
		}},
		{nfs4.AttrRawDev, "5.8.2.27", "5.8.2.31", "it is the numbers with which a device was made", func(s *attrScene, a *client.Attrs) {
			d := s.e.Make(s.c, s.dir, client.CreateArgs{Type: nfs4.TypeChr, Name: "dev", Major: 5, Minor: 260})
			b := s.e.Attrs(s.c, d, nfs4.AttrRawDev)
			s.want(b.RawDev == [2]uint32{5, 260}, "%v", b)
		}},
		{nfs4.AttrSpaceUsed, "5.8.2.31", "5.8.2.35", "it does not fall when the file grows by a mebibyte of data", func(s *attrScene, a *client.Attrs) {
			s.e.OK(s.c, client.PutFH(s.fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, bytes.Repeat([]byte("x"), 1<<16)))
			b := s.e.Attrs(s.c, s.fh, nfs4.AttrSpaceUsed)
			s.want(b.Num(nfs4.AttrSpaceUsed) >= a.Num(nfs4.AttrSpaceUsed), "%v, then %v", a, b)
		}},
		{nfs4.AttrSystem, "5.8.2.32", "5.8.2.36", "it is a boolean", anyBool},
		{nfs4.AttrTimeAccess, "5.8.2.33", "5.8.2.37", "its nanoseconds are below a billion", validTime(nfs4.AttrTimeAccess)},
		{nfs4.AttrTimeBackup, "5.8.2.35", "5.8.2.39", "its nanoseconds are below a billion", validTime(nfs4.AttrTimeBackup)},
		{nfs4.AttrTimeCreate, "5.8.2.36", "5.8.2.40", "it does not change when the file is written", func(s *attrScene, a *client.Attrs) {
			s.e.OK(s.c, client.PutFH(s.fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
			b := s.e.Attrs(s.c, s.fh, nfs4.AttrTimeCreate)
			s.want(a.Time(nfs4.AttrTimeCreate) == b.Time(nfs4.AttrTimeCreate), "%v, after a WRITE %v", a, b)
		}},
		{nfs4.AttrTimeMetadata, "5.8.2.38", "5.8.2.42", "it does not go back when the mode is set", func(s *attrScene, a *client.Attrs) {
			s.e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetMode(0o600))
			b := s.e.Attrs(s.c, s.fh, nfs4.AttrTimeMetadata)
			s.want(!later(b.Time(nfs4.AttrTimeMetadata), a.Time(nfs4.AttrTimeMetadata)), "%v, after SETATTR %v", a, b)
		}},
		{nfs4.AttrTimeModify, "5.8.2.39", "5.8.2.43", "it stays when the mode is set and does not go back when data is written", func(s *attrScene, a *client.Attrs) {
			s.e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetMode(0o600))
			b := s.e.Attrs(s.c, s.fh, nfs4.AttrTimeModify)
			s.want(a.Time(nfs4.AttrTimeModify) == b.Time(nfs4.AttrTimeModify), "%v, after SETATTR of mode %v", a, b)
			s.e.OK(s.c, client.PutFH(s.fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
			w := s.e.Attrs(s.c, s.fh, nfs4.AttrTimeModify)
			s.want(!later(w.Time(nfs4.AttrTimeModify), a.Time(nfs4.AttrTimeModify)), "%v, after a WRITE %v", a, w)
		}},
		{nfs4.AttrMountedOnFileID, "5.8.2.19", "5.8.2.23", "of an object on which nothing is mounted it is the fileid", func(s *attrScene, a *client.Attrs) {
			b := s.e.Attrs(s.c, s.fh, nfs4.AttrFileID)
			s.want(!b.Has(nfs4.AttrFileID) || b.Num(nfs4.AttrFileID) == a.Num(nfs4.AttrMountedOnFileID), "%v and %v", a, b)
		}},
	}
}

// want fails the test unless ok.
func (s *attrScene) want(ok bool, format string, args ...any) {
	if !ok {
		s.e.Errorf("%s", fmt.Sprintf(format, args...))
	}
}

// is returns the value of an attribute that is one boolean.
func (s *attrScene) is(a *client.Attrs) bool {
	n, _ := a.Mask.Next(0)
	return a.Num(n) != 0
}
