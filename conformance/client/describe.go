package client

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// arguments says how the arguments of an operation are laid out, as words of
// name:kind. An operation that is not listed, or the rest of one that ends with
// "...", is shown as bytes, and nothing behind it.
//
//	u x q  numbers: 32 bits, the same in hexadecimal, 64 bits
//	b      a boolean          n  a string          d  opaque bytes
//	s      a stateid          f  a filehandle      c  an owner: clientid, string
//	v      a verifier         i  16 bytes: a session or a device
//	m      a bitmap           a  attributes: bitmap and values
//	h      attributes of a channel
//
//	t T    numbers that decide what follows; T counts from 100
//
// A word that begins with =1,2/ is there only if the last t or T was 1 or 2.
var arguments = map[nfs4.Op]string{
	nfs4.OpAccess:             "bits:x",
	nfs4.OpClose:              "seqid:u stateid:s",
	nfs4.OpCommit:             "offset:q count:u",
	nfs4.OpCreate:             "type:t =5/link:n =3,4/major:u =3,4/minor:u name:n attrs:a",
	nfs4.OpDelegPurge:         "clientid:q",
	nfs4.OpDelegReturn:        "stateid:s",
	nfs4.OpGetAttr:            "attrs:m",
	nfs4.OpGetFH:              "",
	nfs4.OpLink:               "name:n",
	nfs4.OpLock:               "type:u reclaim:b offset:q length:q new:t =1/open-seqid:u =1/open-stateid:s =1/lock-seqid:u =1/owner:c =0/stateid:s =0/seqid:u",
	nfs4.OpLockT:              "type:u offset:q length:q owner:c",
	nfs4.OpLockU:              "type:u seqid:u stateid:s offset:q length:q",
	nfs4.OpLookup:             "name:n",
	nfs4.OpLookupP:            "",
	nfs4.OpNVerify:            "attrs:a",
	nfs4.OpOpenAttr:           "createdir:b",
	nfs4.OpOpenConfirm:        "stateid:s seqid:u",
	nfs4.OpOpenDowngrade:      "stateid:s seqid:u access:x deny:u",
	nfs4.OpPutFH:              "fh:f",
	nfs4.OpPutPubFH:           "",
	nfs4.OpPutRootFH:          "",
	nfs4.OpRead:               "stateid:s offset:q count:u",
	nfs4.OpReadDir:            "cookie:q verifier:v dircount:u maxcount:u attrs:m",
	nfs4.OpReadLink:           "",
	nfs4.OpRemove:             "name:n",
	nfs4.OpRename:             "old:n new:n",
	nfs4.OpRenew:              "clientid:q",
	nfs4.OpRestoreFH:          "",
	nfs4.OpSaveFH:             "",
	nfs4.OpSecInfo:            "name:n",
	nfs4.OpSetAttr:            "stateid:s attrs:a",
	nfs4.OpSetClientID:        "verifier:v id:n program:x netid:n addr:n ident:u",
	nfs4.OpSetClientIDConfirm: "clientid:q verifier:v",
	nfs4.OpVerify:             "attrs:a",
	nfs4.OpWrite:              "stateid:s offset:q stable:u data:d",
	nfs4.OpReleaseLockOwner:   "owner:c",
	nfs4.OpBackchannelCtl:     "program:x ...",
	nfs4.OpBindConnToSession:  "session:i dir:u rdma:b",
	nfs4.OpExchangeID:         "verifier:v owner:n flags:x protect:t =1,2/... implementations:t =1/...",
	nfs4.OpCreateSession:      "clientid:q seq:u flags:x fore:h back:h program:x ...",
	nfs4.OpDestroySession:     "session:i",
	nfs4.OpFreeStateid:        "stateid:s",
	nfs4.OpGetDeviceInfo:      "device:i type:u maxcount:u notify:m",
	nfs4.OpGetDeviceList:      "type:u max:u cookie:q verifier:v",
	nfs4.OpLayoutGet:          "signal:b type:u iomode:u offset:q length:q minlength:q stateid:s maxcount:u",
	nfs4.OpSecInfoNoName:      "style:u",
	nfs4.OpSequence:           "session:i seq:u slot:u high:u cache:b",
	nfs4.OpSetSSV:             "ssv:d digest:d",
	nfs4.OpDestroyClientID:    "clientid:q",
	nfs4.OpReclaimComplete:    "onefs:b",
	nfs4.OpAllocate:           "stateid:s offset:q length:q",
	nfs4.OpCopy:               "source:s target:s from:q to:q count:q consecutive:b synchronous:b servers:t =1/...",
	nfs4.OpDeallocate:         "stateid:s offset:q length:q",
	nfs4.OpIOAdvise:           "stateid:s offset:q count:q hints:m",
	nfs4.OpOffloadCancel:      "stateid:s",
	nfs4.OpOffloadStatus:      "stateid:s",
	nfs4.OpReadPlus:           "stateid:s offset:q count:u",
	nfs4.OpSeek:               "stateid:s offset:q what:u",
	nfs4.OpClone:              "source:s target:s from:q to:q count:q",
	nfs4.OpGetXattr:           "name:n",
	nfs4.OpSetXattr:           "option:u name:n value:d",
	nfs4.OpListXattrs:         "cookie:q maxcount:u",
	nfs4.OpRemoveXattr:        "name:n",
	nfs4.OpOpen: "seqid:u access:x deny:u owner:c create:t =1/mode:T =102,103/verifier:v =100,101,103/attrs:a " +
		"claim:t =0,3/name:n =1/type:u =2,5/deleg:s =2/name:n",
}

// Describe shows an RPC call record without its mark as text: the operations
// with their arguments. Of what does not decode it shows the bytes.
func Describe(record []byte) string {
	d := &description{r: xdr.NewReader(record)}
	var call oncrpc.Call
	if err := call.Decode(&d.r); err != nil {
		return fmt.Sprintf("%d bytes that are no call", len(record))
	}
	switch {
	case call.Prog != nfs4.Program || call.Vers != nfs4.Version:
		return fmt.Sprintf("call of program %d, version %d", call.Prog, call.Vers)
	case call.Proc == nfs4.ProcNull:
		return "NULL"
	}
	tag := d.r.Opaque(1 << 16)
	minor, n := d.r.Uint32(), d.r.Uint32()
	fmt.Fprintf(&d.b, "COMPOUND v4.%d", minor)
	if len(tag) > 0 {
		fmt.Fprintf(&d.b, " tag=%q", tag)
	}
	for i := range n {
		if d.r.Remaining() == 0 || !d.operation(i == 0) {
			break
		}
	}
	return d.b.String()
}

// A description is a call on its way from bytes to text.
type description struct {
	r   xdr.Reader
	b   strings.Builder
	tag string // the last number that decides
}

// operation shows one operation; false means that nothing behind it can be.
func (d *description) operation(first bool) bool {
	sep := "; "
	if first {
		sep = ": "
	}
	op := nfs4.Op(d.r.Uint32())
	d.b.WriteString(sep + op.String())
	layout, known := arguments[op]
	if !known {
		layout = "..."
	}
	if layout == "" {
		return true
	}
	d.b.WriteString(" {")
	defer d.b.WriteString("}")
	return d.fields(layout)
}

// fields shows the fields of a layout.
func (d *description) fields(layout string) bool {
	sep := ""
	for word := range strings.FieldsSeq(layout) {
		if tags, rest, ok := strings.Cut(word, "/"); ok {
			if !slices.Contains(strings.Split(tags[1:], ","), d.tag) {
				continue
			}
			word = rest
		}
		if word == "..." {
			d.rest()
			return false
		}
		name, kind, _ := strings.Cut(word, ":")
		at := d.r.Offset()
		text := d.value(kind)
		if d.r.Err() != nil {
			fmt.Fprintf(&d.b, "%s%s=? at byte %d", sep, name, at)
			return false
		}
		d.b.WriteString(sep + name + "=" + text)
		sep = " "
	}
	return true
}

// rest shows what remains as bytes.
func (d *description) rest() {
	b := d.r.Rest()
	fmt.Fprintf(&d.b, " … %d bytes: %x", len(b), b[:min(len(b), 48)])
}

// value decodes one field.
func (d *description) value(kind string) string {
	const most = 1 << 24
	r := &d.r
	switch kind {
	case "u":
		return fmt.Sprint(r.Uint32())
	case "t", "T":
		n := r.Uint32()
		d.tag = fmt.Sprint(n)
		if kind == "T" {
			d.tag = fmt.Sprint(n + 100)
		}
		return fmt.Sprint(n)
	case "x":
		return fmt.Sprintf("%#x", r.Uint32())
	case "q":
		return fmt.Sprintf("%#x", r.Uint64())
	case "b":
		return fmt.Sprint(r.Uint32() != 0)
	case "n":
		return fmt.Sprintf("%q", r.Opaque(most))
	case "d":
		return Data(r.Opaque(most)).String()
	case "s":
		return nfs4.DecodeStateid(r).String()
	case "f":
		return FH(r.Opaque(most)).String()
	case "c":
		return fmt.Sprintf("%#x/%q", r.Uint64(), r.Opaque(most))
	case "v":
		return fmt.Sprintf("%x", r.Fixed(nfs4.VerifierSize))
	case "i":
		return fmt.Sprintf("%x", r.Fixed(nfs4.SessionSize))
	case "m":
		return nfs4.DecodeBitmap(r).String()
	case "a":
		return fmt.Sprintf("%v %x", nfs4.DecodeBitmap(r), r.Opaque(most))
	case "h":
		var v [6]uint32
		for i := range v {
			v[i] = r.Uint32()
		}
		for range r.Count(1, 4) {
			r.Uint32() // ca_rdma_ird
		}
		return fmt.Sprint(v)
	}
	return "?"
}
