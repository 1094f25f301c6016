package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// systemFacts are those of attributes that tell of the file system or server.
func systemFacts() []attrFact {
	return []attrFact{
		{nfs4.AttrACLSupport, "6.2.1.2", "6.2.1.2", "it has defined bits only, and one at least where acl is supported", func(s *attrScene, a *client.Attrs) {
			v := a.Num(nfs4.AttrACLSupport)
			s.want(v <= 0xf && (v != 0 || !s.e.Supported(s.fh, nfs4.AttrACL)), "%v", a)
		}},
		{nfs4.AttrCanSetTime, "5.8.2.2", "5.8.2.2", "it is true where SETATTR sets time_modify, and false where not", func(s *attrScene, a *client.Attrs) {
			p := s.e.Do(s.c, client.PutFH(s.fh), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetModifyTime(&nfs4.Time{Sec: 1_000_000_000})))
			s.want((p.Status == nfs4.OK) == s.is(a), "%v, and SETATTR gives %v", a, p.Status)
		}},
		{nfs4.AttrCaseInsensitive, "5.8.2.3", "5.8.2.3", "it is true where a name is found in another case, and false where not", func(s *attrScene, a *client.Attrs) {
			p := s.e.Do(s.c, client.PutFH(s.dir), client.Lookup("F"))
			s.want((p.Status == nfs4.OK) == s.is(a), "%v, and LOOKUP in upper case gives %v", a, p.Status)
		}},
		{nfs4.AttrCasePreserving, "5.8.2.4", "5.8.2.4", "it is true where a name is listed in the case in which it was given", func(s *attrScene, a *client.Attrs) {
			s.e.Mkdir(s.c, s.dir, "MiXeD")
			s.want(contains(s.e.Names(s.c, s.dir), "MiXeD") == s.is(a), "%v, and the directory holds %q", a, s.e.Names(s.c, s.dir))
		}},
		{nfs4.AttrChownRestricted, "5.8.2.5", "5.8.2.6", "where it is true a file's owner cannot give it away", func(s *attrScene, a *client.Attrs) {
			if s.is(a) {
				s.e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetOwner("1001"))
				s.e.setattr(s.e.User(1001, 1001), s.fh, is(nfs4.ErrPerm, nfs4.ErrAccess), new(client.Attrs).SetOwner("1002"))
			}
		}},
		{nfs4.AttrFilesAvail, "5.8.2.7", "5.8.2.8", "it is at most files_free", atMost(nfs4.AttrFilesAvail, nfs4.AttrFilesFree)},
		{nfs4.AttrFilesFree, "5.8.2.8", "5.8.2.9", "it is at most files_total", atMost(nfs4.AttrFilesFree, nfs4.AttrFilesTotal)},
		{nfs4.AttrFilesTotal, "5.8.2.9", "5.8.2.10", "it is the same for a file and its directory", sameInDir(nfs4.AttrFilesTotal)},
		{nfs4.AttrFSLocations, "5.8.2.10", "5.8.2.12", "it has the path of the file system's root", func(s *attrScene, a *client.Attrs) {
			s.want(len(a.Locations) > 0 && strings.HasPrefix(a.Locations[0], "/"), "%v", a)
		}},
		{nfs4.AttrHomogeneous, "5.8.2.12", "5.8.2.16", "where it is true, file and directory support the same attributes of the file system", func(s *attrScene, a *client.Attrs) {
			if s.is(a) {
				f, d := s.e.Attrs(s.c, s.fh, nfs4.AttrSupported), s.e.Attrs(s.c, s.dir, nfs4.AttrSupported)
				s.want(f.Supported == d.Supported, "file %v, directory %v", f, d)
			}
		}},
		{nfs4.AttrMaxFileSize, "5.8.2.13", "5.8.2.17", "a size above it is refused", func(s *attrScene, a *client.Attrs) {
			if max := a.Num(nfs4.AttrMaxFileSize); max < nfs4.Uint64Max {
				s.e.setattr(s.c, s.fh, is(nfs4.ErrFBig, nfs4.ErrInval), new(client.Attrs).SetSize(max+1))
			}
		}},
		{nfs4.AttrMaxLink, "5.8.2.14", "5.8.2.18", "it is two at least where LINK is supported", func(s *attrScene, a *client.Attrs) {
			s.want(a.Num(nfs4.AttrMaxLink) >= 2 || s.e.Attrs(s.c, s.fh, nfs4.AttrLinkSupport).Num(nfs4.AttrLinkSupport) == 0, "%v", a)
		}},
		{nfs4.AttrMaxName, "5.8.2.15", "5.8.2.19", "a name of that many bytes can be made, and one of one more is NFS4ERR_NAMETOOLONG", func(s *attrScene, a *client.Attrs) {
			name := strings.Repeat("x", int(min(a.Num(nfs4.AttrMaxName), 4000)))
			s.e.Want(s.c, is(nfs4.OK), client.PutFH(s.dir), client.Mkdir(name))
			s.e.Want(s.c, is(nfs4.ErrNameTooLong), client.PutFH(s.dir), client.Mkdir(name+"x"))
		}},
		{nfs4.AttrMaxRead, "5.8.2.16", "5.8.2.20", "a READ of that many bytes succeeds", func(s *attrScene, a *client.Attrs) {
			s.e.OK(s.c, client.PutFH(s.fh), client.Read(nfs4.AnonymousStateid, 0, uint32(min(a.Num(nfs4.AttrMaxRead), 1<<19))))
		}},
		{nfs4.AttrMaxWrite, "5.8.2.17", "5.8.2.21", "a WRITE of that many bytes succeeds", func(s *attrScene, a *client.Attrs) {
			s.e.OK(s.c, client.PutFH(s.fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.Unstable, make([]byte, min(a.Num(nfs4.AttrMaxWrite), 1<<19))))
		}},
		{nfs4.AttrMIMEType, "5.8.2.18", "5.8.2.22", "it is a string", anyValue},
		{nfs4.AttrNoTrunc, "5.8.2.20", "5.8.2.24", "where it is true, a name that is too long is refused and not cut", func(s *attrScene, a *client.Attrs) {
			if s.is(a) {
				s.e.Want(s.c, is(nfs4.ErrNameTooLong), client.PutFH(s.dir), client.Mkdir(strings.Repeat("x", 3000)))
			}
		}},
		{nfs4.AttrQuotaAvailHard, "5.8.2.24", "5.8.2.28", "it is at least quota_avail_soft", atLeast(nfs4.AttrQuotaAvailHard, nfs4.AttrQuotaAvailSoft)},
		{nfs4.AttrQuotaAvailSoft, "5.8.2.25", "5.8.2.29", "it is at most quota_avail_hard", atMost(nfs4.AttrQuotaAvailSoft, nfs4.AttrQuotaAvailHard)},
		{nfs4.AttrQuotaUsed, "5.8.2.26", "5.8.2.30", "it is a number of bytes", anyValue},
		{nfs4.AttrSpaceAvail, "5.8.2.28", "5.8.2.32", "it is at most space_free", atMost(nfs4.AttrSpaceAvail, nfs4.AttrSpaceFree)},
		{nfs4.AttrSpaceFree, "5.8.2.29", "5.8.2.33", "it is at most space_total", atMost(nfs4.AttrSpaceFree, nfs4.AttrSpaceTotal)},
		{nfs4.AttrSpaceTotal, "5.8.2.30", "5.8.2.34", "it is the same for a file and its directory", sameInDir(nfs4.AttrSpaceTotal)},
		{nfs4.AttrTimeDelta, "5.8.2.37", "5.8.2.41", "it is a valid time above zero and at most some seconds", func(s *attrScene, a *client.Attrs) {
			d := a.Time(nfs4.AttrTimeDelta)
			s.want(d.Valid() && d != (nfs4.Time{}) && d.Sec >= 0 && d.Sec <= 10, "%v", a)
		}},
	}
}

// anyValue is for attributes of which only the form can be checked: decoding
// the reply did.
func anyValue(*attrScene, *client.Attrs) {}

// atMost compares with another attribute of the same reply, where the server
// supports that.
func atMost(n, limit nfs4.Attr) func(s *attrScene, a *client.Attrs) {
	return func(s *attrScene, _ *client.Attrs) {
		a := s.e.Attrs(s.c, s.fh, n, limit)
		s.want(!a.Has(limit) || a.Num(n) <= a.Num(limit), "%v", a)
	}
}

func atLeast(n, limit nfs4.Attr) func(s *attrScene, a *client.Attrs) { return atMost(limit, n) }

func sameInDir(n nfs4.Attr) func(s *attrScene, a *client.Attrs) {
	return func(s *attrScene, a *client.Attrs) {
		d := s.e.Attrs(s.c, s.dir, n)
		s.want(a.Num(n) == d.Num(n), "file %v, directory %v", a, d)
	}
}

// laterFacts are those of attributes that NFSv4.1 and 4.2 add.
func laterFacts() []attrFact {
	return []attrFact{
		{nfs4.AttrDirNotifDelay, "", "5.11.1", "its nanoseconds are below a billion", func(s *attrScene, a *client.Attrs) { s.want(a.Time(nfs4.AttrDirNotifDelay).Valid(), "%v", a) }},
		{nfs4.AttrDirentNotifDelay, "", "5.11.2", "its nanoseconds are below a billion", func(s *attrScene, a *client.Attrs) { s.want(a.Time(nfs4.AttrDirentNotifDelay).Valid(), "%v", a) }},
		{nfs4.AttrDACL, "", "6.2.2", "its entries allow or deny, and are of nothing else", func(s *attrScene, a *client.Attrs) {
			for _, ace := range a.DACL {
				s.want(ace.Type == nfs4.ACEAllowed || ace.Type == nfs4.ACEDenied, "%+v", ace)
			}
		}},
		{nfs4.AttrSACL, "", "6.2.3", "its entries audit or alarm, and are of nothing else", func(s *attrScene, a *client.Attrs) {
			for _, ace := range a.SACL {
				s.want(ace.Type == nfs4.ACEAudit || ace.Type == nfs4.ACEAlarm, "%+v", ace)
			}
		}},
		{nfs4.AttrChangePolicy, "", "5.8.2.5", "it is two numbers", anyValue},
		{nfs4.AttrFSStatus, "", "11.18", "it decodes", anyValue},
		{nfs4.AttrFSLayoutTypes, "", "5.12.1", "it is a list of layout types, none of which is zero", func(s *attrScene, a *client.Attrs) {
			for _, t := range a.Layouts {
				s.want(t != 0, "%v", a)
			}
		}},
		{nfs4.AttrLayoutTypes, "", "5.12.5", "it is a list of layout types, none of which is zero", func(s *attrScene, a *client.Attrs) {
			for _, t := range a.Layouts {
				s.want(t != 0, "%v", a)
			}
		}},
		{nfs4.AttrLayoutBlkSize, "", "5.12.3", "it is a number of bytes", anyValue},
		{nfs4.AttrLayoutAlignment, "", "5.12.2", "it is a number of bytes", anyValue},
		{nfs4.AttrSuppAttrExclCreat, "", "5.8.1.14", "it is a part of supported_attrs", func(s *attrScene, a *client.Attrs) {
			sup := s.e.Attrs(s.c, s.fh, nfs4.AttrSupported).Supported
			s.want(a.ExclCreat.AndNot(sup).Empty(), "%v are not in supported_attrs", a.ExclCreat.AndNot(sup))
		}},
		{nfs4.AttrFSCharsetCap, "", "5.8.2.11", "it has defined bits only", func(s *attrScene, a *client.Attrs) { s.want(a.Num(nfs4.AttrFSCharsetCap) <= 3, "%v", a) }},
		{nfs4.AttrCloneBlkSize, "", "RFC 7862 §12.2.1", "it is a number of bytes", anyValue},
		{nfs4.AttrSpaceFreed, "", "RFC 7862 §12.2.2", "it is a number of bytes", anyValue},
		{nfs4.AttrChangeAttrType, "", "RFC 7862 §12.2.3", "it is one of the five types", func(s *attrScene, a *client.Attrs) {
			s.want(a.Num(nfs4.AttrChangeAttrType) <= nfs4.ChangeIsUndefined, "%v", a)
		}},
		{nfs4.AttrSecLabel, "", "RFC 7862 §12.2.4", "it is a label", anyValue},
		{nfs4.AttrXattrSupport, "", "RFC 8276 §8.2", "it is true where SETXATTR works, and false where it is not supported", func(s *attrScene, a *client.Attrs) {
			p := s.e.Do(s.c, client.PutFH(s.fh), client.SetXattr(nfs4.SetXattrEither, "user.x", []byte("v")))
			s.want((p.Status == nfs4.OK) == s.is(a), "%v, and SETXATTR gives %v", a, p.Status)
		}},
	}
}
