package rules

import (
	"bytes"
	"fmt"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// The bounds of what a client's record may hold.
const (
	maxOwner     = nfs4.OpaqueLimit
	maxText      = 1024
	maxSessions  = 4096
	maxSecParms  = 64 << 10
	clientFormat = 1
	identFormat  = 1
)

const (
	clientConfirmed = 1 << iota
	clientReclaimed
	clientPending
)

// Encode returns the record.
func (c *Client) Encode() []byte {
	w := xdr.NewWriter(make([]byte, 0, 256))
	w.Uint32(clientFormat)
	w.Uint64(uint64(c.ID))
	w.Opaque(c.Owner)
	c.Verifier.Encode(&w)
	w.String(c.Principal)
	w.Uint32(c.Minor)
	flags := uint32(0)
	if c.Confirmed {
		flags |= clientConfirmed
	}
	if c.ReclaimComplete {
		flags |= clientReclaimed
	}
	if c.Pending != nil {
		flags |= clientPending
	}
	w.Uint32(flags)
	w.String(cut(c.Impl))
	w.String(cut(c.Remote))
	w.Uint32(c.Sequence)
	c.Created.encode(&w)
	w.Uint32(uint32(len(c.Sessions)))
	for _, s := range c.Sessions {
		s.Encode(&w)
	}
	w.String(c.ReclaimedBy)
	c.Confirm.Encode(&w)
	c.Callback.encode(&w)
	if c.Pending != nil {
		c.Pending.Confirm.Encode(&w)
		c.Pending.Callback.encode(&w)
	}
	return w.Bytes()
}

// cut keeps what is only for people within its bound.
func cut(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

// DecodeClient reads a record that Encode wrote. The error is ErrServerFault.
func DecodeClient(b []byte) (*Client, error) {
	r := xdr.NewReader(b)
	if err := checkFormat(&r, "client", clientFormat); err != nil {
		return nil, err
	}
	c := &Client{}
	c.ID = ClientID(r.Uint64())
	c.Owner = bytes.Clone(r.Opaque(maxOwner))
	c.Verifier = nfs4.DecodeVerifier(&r)
	c.Principal = string(r.Opaque(maxText))
	c.Minor = r.Uint32()
	flags := r.Uint32()
	c.Confirmed = flags&clientConfirmed != 0
	c.ReclaimComplete = flags&clientReclaimed != 0
	c.Impl = string(r.Opaque(maxText))
	c.Remote = string(r.Opaque(maxText))
	c.Sequence = r.Uint32()
	c.Created.decode(&r)
	for range r.Count(maxSessions, nfs4.SessionSize) {
		c.Sessions = append(c.Sessions, nfs4.DecodeSessionID(&r))
	}
	c.ReclaimedBy = string(r.Opaque(maxText))
	c.Confirm = nfs4.DecodeVerifier(&r)
	c.Callback.decode(&r)
	if flags&clientPending != 0 {
		c.Pending = &PendingCallback{Confirm: nfs4.DecodeVerifier(&r)}
		c.Pending.Callback.decode(&r)
	}
	return c, checkEnd(&r, "client")
}

func (cb *Callback) encode(w *xdr.Writer) {
	w.Uint32(cb.Program)
	w.String(cut(cb.NetID))
	w.String(cut(cb.Addr))
	w.Uint32(cb.Ident)
}

func (cb *Callback) decode(r *xdr.Reader) {
	cb.Program = r.Uint32()
	cb.NetID = string(r.Opaque(maxText))
	cb.Addr = string(r.Opaque(maxText))
	cb.Ident = r.Uint32()
}

// Encode returns the record.
func (id Ident) Encode() []byte {
	w := xdr.NewWriter(make([]byte, 0, 20))
	w.Uint32(identFormat)
	w.Uint64(uint64(id.Confirmed))
	w.Uint64(uint64(id.Unconfirmed))
	return w.Bytes()
}

// DecodeIdent reads a record that Encode wrote. The error is ErrServerFault.
func DecodeIdent(b []byte) (id Ident, err error) {
	r := xdr.NewReader(b)
	if err := checkFormat(&r, "ident", identFormat); err != nil {
		return id, err
	}
	id.Confirmed = ClientID(r.Uint64())
	id.Unconfirmed = ClientID(r.Uint64())
	return id, checkEnd(&r, "ident")
}

// checkFormat reads the format number that every record begins with.
func checkFormat(r *xdr.Reader, what string, newest uint32) error {
	format := r.Uint32()
	if err := r.Err(); err != nil {
		return fmt.Errorf("%w: %s record: %w", ErrServerFault, what, err)
	}
	if format == 0 || format > newest {
		return fmt.Errorf("%w: %s record has format %d, known are 1 to %d", ErrServerFault, what, format, newest)
	}
	return nil
}

// checkEnd returns an error if the record could not be read, or goes on.
func checkEnd(r *xdr.Reader, what string) error {
	if err := r.Err(); err != nil {
		return fmt.Errorf("%w: %s record: %w", ErrServerFault, what, err)
	}
	if n := r.Remaining(); n > 0 {
		return fmt.Errorf("%w: %s record has %d bytes too many", ErrServerFault, what, n)
	}
	return nil
}
