package suite

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Flags with a meaning of their own. Tests carry them in Test.Flags, or by their
// code in codeFlags.
const (
	slow    = "slow"     // waits for leases to end; has to be asked for
	extra   = "optional" // what an RFC recommends or allows; has to be asked for
	sharing = "sharing"  // about several servers that are one: needs two addresses
	stream  = "stream"   // about one TCP stream: its requests are not spread
	single  = "single"   // about what one server keeps to itself: not spread over several
	alone   = "alone"    // disturbs others: nothing runs beside it
	strict  = "strict"   // about a request that is none of the protocol: strictCodes
	quiet   = "quiet"    // takes a lost reply, or a forgotten request, for a failure: no server is killed meanwhile
)

// FlagMeanings says of the flags that are no topics what they mean.
var FlagMeanings = map[string]string{
	slow:    "waits for leases to end",
	extra:   "checks what an RFC recommends or allows, and does not demand",
	sharing: "needs two addresses of one server",
	stream:  "needs one TCP stream: requests are not spread, no server is killed meanwhile",
	single:  "needs one server: what it checks is each server's own",
	alone:   "runs beside no other test",
	strict:  "checks to the letter how what no correct client sends is refused",
	quiet:   "needs that no reply is lost and no request forgotten: no server is killed meanwhile",
}

// topics are the flags of whole families.
var topics = map[string]string{
	"RPC": "rpc stream", "XDR": "xdr strict", "CUT": "strict", "COMP": "compound", "V42A": "compound", "UNKN": "compound",
	"EID": "client", "CID": "client", "DCID": "client", "RENEW": "client lease", "LEASE": "client lease",
	"CSESS": "session", "DSESS": "session", "BIND": "session", "SSV": "session", "RECC": "client", "SEQ": "session replay",
	"BCTL": "session callback", "BACK": "session callback", "ONCE": "replay", "SEQID": "seqid replay", "SID": "stateid", "SLIFE": "stateid",
	"FH": "filehandle", "LOOK": "name", "LOOKP": "name", "NAME": "name",
	"ATTR": "attr", "SATT": "attr", "VFY": "attr", "ACL": "attr", "ACC": "access", "PERM": "access", "SEC": "access", "SECNN": "access",
	"CR": "namespace", "LINK": "namespace", "RM": "namespace", "RN": "namespace", "RDLNK": "namespace", "OATTR": "namespace", "RD": "readdir",
	"IO": "io", "OPEN": "open", "CRM": "open", "SHARE": "open", "LOCK": "lock", "LOCKT": "lock", "RANGE": "lock", "EDGE": "lock",
	"DELEG": "delegation", "PNFS": "pnfs", "COPY": "copy", "CLONE": "copy", "CNOTE": "copy", "OFFL": "copy",
	"ALLOC": "sparse", "DEALL": "sparse", "SEEK": "sparse", "RPLUS": "sparse", "WSAME": "sparse", "ADV": "io", "XATTR": "xattr",
	"SHR": "sharing",
}

// codeFlags are flags of single tests that the modes of a run ask for.
var codeFlags = map[string]string{
	"IO6":    single, // compares write verifiers, which each server has of its own
	"COPYC7": single,

	// A session that was not asked to be persistent need not survive a server with its sequences and replies (RFC 8881 §2.10.6.5).
	"AGAIN38": quiet,
	"SEQ4":    quiet,
	"SEQ15":   quiet,
	"SEQ17":   quiet,
	"SEQ22":   quiet,
	"CSESS13": quiet,

	"SHR12": quiet, // an address whose server is away is another's meanwhile
}

// strictCodes are the tests that judge the answer to a request that is none of the
// protocol, whatever was said before it: it does not decode; it is longer than
// the definition of its type lets it be, or, a name, than any path; or an
// operation number, procedure, enumeration, boolean or flag has a value to which
// the minor version gives no meaning there. A correct client sends none of these,
// so that the exact error matters to none; that the server refuses does. The
// families XDR and CUT are of that kind as a whole.
//
// Not of that kind is what is wrong only as things are (a stateid, seqid or slot
// that is not the one), what is well formed and never right (an empty name, a
// lock of no bytes), and numbers that clients may try without knowing them:
// attributes, minor versions, RPC versions of the program, layout types.
var strictCodes = setOf(`
	RPC4 RPC5 RPC7 RPC10 RPC12
	COMP4 COMP6 COMP7
	EID11 EID21 CID13 CSESS9 ERR10 SECNN3
	FH5 NAME8 ACC2 CR3 SATT8 SETW3 IO17 SID12
	OPEN4 OPEN24 OPENM4 OPENM10 LOCK17
	SEEK3 ERR18 ADVC1 CR13 XATTR12
`)

// setOf returns words as a set.
func setOf(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// AllFlags returns the test's flags, those of its family included.
func (t *Test) AllFlags() []string {
	fs := strings.Fields(topics[t.Family()] + " " + codeFlags[t.Code] + " " + t.Flags)
	if strictCodes[t.Code] {
		fs = append(fs, strict)
	}
	slices.Sort(fs)
	return slices.Compact(fs)
}

// Has says whether the test has a flag.
func (t *Test) Has(flag string) bool { return slices.Contains(t.AllFlags(), flag) }

// Needs says in words what the test needs beside a directory in which it may act
// as several users.
func (t *Test) Needs() string {
	var needs []string
	for _, f := range t.AllFlags() {
		if m := FlagMeanings[f]; m != "" {
			needs = append(needs, m)
		}
	}
	return strings.Join(needs, "; ")
}

// lacks says why the test does not apply to the target, or "".
func (t *Test) lacks(target *Target) string {
	spread := target.Spread == SpreadConnection || target.Spread == SpreadRequest
	switch {
	case t.Has(slow) && !target.Slow:
		return "it waits for leases to end, and slow tests were not asked for"
	case t.Has(extra) && !target.Optional:
		return "it checks what the RFC leaves to the server, and optional tests were not asked for"
	case t.Has(sharing) && len(target.Addresses) < 2:
		return "it needs two addresses of one server"
	case t.Has(single) && (spread || target.Chaos != nil):
		return "it checks what each server has of its own, and the test's requests reach several"
	}
	return ""
}

// names says whether a word of a command line names the test.
func (t *Test) names(word string) bool {
	return strings.EqualFold(word, t.Code) || strings.EqualFold(word, t.Family()) || t.Has(strings.ToLower(word))
}

// Select returns the tests that words name: codes, families and flags, and with
// '!' those to leave out. No word without '!' is all.
func Select(words []string) ([]Test, error) {
	tests := All()
	var with, without []string
	for _, w := range words {
		name, not := strings.CutPrefix(w, "!")
		if !slices.ContainsFunc(tests, func(t Test) bool { return t.names(name) }) {
			return nil, fmt.Errorf("there is no test, family or flag %q; --list shows all", name)
		}
		if not {
			without = append(without, name)
		} else {
			with = append(with, name)
		}
	}
	return slices.DeleteFunc(tests, func(t Test) bool {
		return len(with) > 0 && !slices.ContainsFunc(with, t.names) || slices.ContainsFunc(without, t.names)
	}), nil
}

// Flags returns every flag that a test has.
func Flags() []string {
	all := make(map[string]bool)
	for _, t := range All() {
		for _, f := range t.AllFlags() {
			all[f] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
