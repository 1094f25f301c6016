package client

import (
	"encoding/hex"
	"fmt"
	"strings"

	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// FH is a filehandle.
type FH []byte

// String returns the filehandle in hexadecimal.
func (f FH) String() string { return hex.EncodeToString(f) }

// Data is file data or other opaque bytes.
type Data []byte

// String shows the beginning of the bytes.
func (d Data) String() string {
	if len(d) > 48 {
		return fmt.Sprintf("%q… (%d bytes)", []byte(d[:48]), len(d))
	}
	return fmt.Sprintf("%q", []byte(d))
}

func clone(b []byte) Data { return append(Data(nil), b...) }

func decodeFH(r *xdr.Reader) FH { return FH(clone(r.Opaque(nfs4.FHSize))) }

// A Result is what one operation of a compound gave. Value is a pointer to the
// type named after the operation, such as *OpenRes, or nil when the status
// brings nothing with it.
type Result struct {
	Op     nfs4.Op
	Status nfs4.Status
	Value  any
}

// A Reply is a decoded COMPOUND reply.
type Reply struct {
	XID     uint32
	Status  nfs4.Status
	Tag     string
	Results []Result
	// Raw is the record without its mark.
	Raw []byte
}

// DecodeReply decodes a reply record. The error is an *RPCError if the RPC
// layer refused the call; any other error means that the server's reply breaks
// the protocol. A reply without results, as to NULL, is an empty Reply.
func DecodeReply(rec []byte) (*Reply, error) {
	r := xdr.NewReader(rec)
	var head oncrpc.Reply
	if err := head.Decode(&r); err != nil {
		return nil, err
	}
	if !head.OK() {
		return nil, &RPCError{head}
	}
	p := &Reply{XID: head.XID, Raw: append([]byte(nil), rec...)}
	if r.Remaining() == 0 {
		return p, nil
	}
	p.Status = nfs4.Status(r.Uint32())
	p.Tag = string(r.Opaque(1 << 20))
	n := r.Count(1<<16, 8)
	for i := range n {
		res := Result{Op: nfs4.Op(r.Uint32()), Status: nfs4.Status(r.Uint32())}
		res.Value = decodeResult(res.Op, res.Status, &r)
		p.Results = append(p.Results, res)
		if r.Err() != nil {
			return p, fmt.Errorf("reply: result %d, %v: %w (so far: %v)", i, res.Op, r.Err(), p)
		}
	}
	if r.Err() != nil {
		return p, fmt.Errorf("reply: %w", r.Err())
	}
	if r.Remaining() != 0 {
		return p, fmt.Errorf("reply: %d bytes too many after %v", r.Remaining(), p)
	}
	return p, p.check()
}

// check holds the reply against what every COMPOUND reply must be (RFC 8881
// §16.2.3): the status is the last operation's and nothing follows a failure.
func (p *Reply) check() error {
	for i, res := range p.Results {
		if i < len(p.Results)-1 && res.Status != nfs4.OK {
			return fmt.Errorf("reply: %v follows a failed operation: %v", p.Results[i+1].Op, p)
		}
	}
	if n := len(p.Results); n > 0 && p.Results[n-1].Status != p.Status {
		return fmt.Errorf("reply: status %v, last operation's %v", p.Status, p.Results[n-1].Status)
	}
	return nil
}

// Last returns the last result; the zero Result for a compound without any.
func (p *Reply) Last() Result {
	if len(p.Results) == 0 {
		return Result{}
	}
	return p.Results[len(p.Results)-1]
}

// Get returns the value of the first result of type T, such as
// Get[OpenRes](reply), or nil.
func Get[T any](p *Reply) *T {
	if p == nil {
		return nil
	}
	for _, res := range p.Results {
		if v, ok := res.Value.(*T); ok {
			return v
		}
	}
	return nil
}

// Err returns nil for a compound that succeeded and else an *OpError.
func (p *Reply) Err() error {
	if p.Status == nfs4.OK {
		return nil
	}
	return &OpError{Op: p.Last().Op, Status: p.Status, Index: len(p.Results) - 1}
}

// An OpError says which operation of a compound failed.
type OpError struct {
	Op     nfs4.Op
	Status nfs4.Status
	Index  int
}

// Error names operation and status.
func (e *OpError) Error() string { return fmt.Sprintf("%v: %v", e.Op, e.Status) }

// String shows the whole reply on one line.
func (p *Reply) String() string {
	if p == nil {
		return "no reply"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "COMPOUND %v", p.Status)
	if p.Tag != "" {
		fmt.Fprintf(&b, " tag=%q", p.Tag)
	}
	for i, res := range p.Results {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%v", sep, res)
	}
	return b.String()
}

// String shows operation, status and value.
func (r Result) String() string {
	s := fmt.Sprintf("%v", r.Op)
	if r.Status != nfs4.OK {
		s += " " + r.Status.String()
	}
	if r.Value != nil {
		s += " " + strings.TrimPrefix(fmt.Sprintf("%+v", r.Value), "&")
	}
	return s
}
