package suite

import "holdfast/conformance/client"

// Slot takes a free slot of the session for the test's own use until it releases
// it, and leaves so many beside it for the test's other requests. A server may
// grant a session fewer slots than were asked for, and as few as one (RFC 8881
// §18.36.3, ca_maxrequests): then a test that needs more does not apply.
func (e *Env) Slot(s *client.Session, beside int) *client.Slot {
	granted, free := s.Slots()
	if need := granted - free + 1 + beside; need > granted {
		e.Skipf("it needs %d slots of a session at once, and the server grants %d", need, granted)
	}
	return s.Acquire()
}

// resend sends a request again until the server does not say any more that its
// first run is not over (RFC 8881 §2.10.6.2).
func (e *Env) resend(sl *client.Slot, c *client.Conn, req *client.Request) (p *client.Reply) {
	_ = client.Patiently(e.ctx, e.patience(), func() error {
		p = e.reply(sl.Send(c, req))
		return p.Err()
	})
	return p
}
