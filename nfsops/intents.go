package nfsops

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// Evidence is what was true of the held names before an operation, from which,
// after a crash, it can be told whether the operation took place. While the
// names are held no gateway lets anybody else change them.
//
//	operation           evidence                     took place if
//	CREATE, OPEN        (the name was absent)        the name exists
//	LINK                the object                   the name is the object
//	REMOVE              the object                   the name is not the object any more
//	RENAME              source object, target or ""  the source name is not the source any more
//	SETATTR             change, attributes to set    change differs and the attributes are so
//	SETXATTR            existed?, value              the value is so
//	REMOVEXATTR         (it existed)                 it does not exist
//
// Two names of one object are left alone by RENAME: then it took place. What CREATE
// or OPEN made is told by its filehandle from then on (Intent.Made): once the intent is
// settled, others may rename and remove it before the request is sent again.
// Operations whose second run does no harm (WRITE, COMMIT, ALLOCATE, …) are run again.

// gatewayCreds look at the file system for a resolution: the question is what
// happened, not who may know.
var gatewayCreds = &export.Creds{}

// beginChange begins a change that makes or removes the given names. Unless it
// turns out that an earlier run of the same request made the change already
// (OutcomeDone), the caller now runs it; in any case it ends with c.req.Done.
// An error of evidence is the operation's: nothing was begun then.
func (c *compound) beginChange(names []statesync.Name, evidence func() ([]byte, error)) (statesync.Outcome, error) {
	in := c.req.Begun()
	if in != nil && in.Settled && in.Outcome == statesync.OutcomeDone {
		return statesync.OutcomeDone, nil
	}
	if err := c.req.Begin(c.ctx, c.op, names, evidence); err != nil {
		return statesync.OutcomeUnknown, err
	}
	if in == nil || in.Settled {
		return statesync.OutcomeNotDone, nil
	}
	out, err := c.srv.resolve(c.ctx, in)
	if err != nil {
		c.req.Abort()
		return out, err
	}
	return out, nil
}

// finish ends a change with a result: body is appended if err is nil.
func (c *compound) finish(err error, body func()) nfs4.Status {
	status := c.fail(err)
	if c.gone != nil {
		return status
	}
	if derr := c.req.Done(c.ctx, func() {
		c.conclude(status)
		if status == nfs4.OK {
			body()
		}
	}); derr != nil {
		return c.fail(derr)
	}
	return status
}

// resolve implements statesync.Resolver.
func (s *Server) resolve(_ context.Context, in *statesync.Intent) (statesync.Outcome, error) {
	took := func(yes bool) (statesync.Outcome, error) {
		if yes {
			return statesync.OutcomeDone, nil
		}
		return statesync.OutcomeNotDone, nil
	}
	ev := xdr.NewReader(in.Evidence)
	switch in.Op {
	case nfs4.OpOpen:
		return s.resolveOpen(in)
	case nfs4.OpCreate:
		return s.resolveMade(in)
	case nfs4.OpLink:
		h, err := s.named(in.Names[0])
		if err != nil {
			return 0, err
		}
		return took(h != nil && bytes.Equal(h, ev.Opaque(nfs4.FHSize)))
	case nfs4.OpRemove:
		h, err := s.named(in.Names[0])
		if err != nil {
			return 0, err
		}
		return took(!bytes.Equal(h, ev.Opaque(nfs4.FHSize)))
	case nfs4.OpRename:
		source := ev.Opaque(nfs4.FHSize)
		target := ev.Opaque(nfs4.FHSize)
		if bytes.Equal(source, target) {
			return took(true)
		}
		h, err := s.named(in.Names[0])
		if err != nil {
			return 0, err
		}
		return took(!bytes.Equal(h, source))
	case nfs4.OpSetAttr:
		return s.resolveSetattr(in)
	case nfs4.OpSetXattr, nfs4.OpRemoveXattr:
		return s.resolveXattr(in)
	}
	return 0, fmt.Errorf("resolving an intent of %s: %w", in.Op, statesync.ErrServerFault)
}

// resolveMade finds out whether an operation made the object of its name.
func (s *Server) resolveMade(in *statesync.Intent) (statesync.Outcome, error) {
	h, err := s.named(in.Names[0])
	switch {
	case err != nil:
		return statesync.OutcomeUnknown, err
	case h == nil:
		return statesync.OutcomeNotDone, nil
	}
	in.Made = h
	return statesync.OutcomeDone, nil
}

// earlier makes o the object that an earlier run of the running operation made. It
// may be gone by now: then it was removed after it was made, and the reply of the
// first run is still the right one.
func (c *compound) earlier(o *object) error {
	if in := c.req.Begun(); in == nil || in.Made == nil || !o.set(c, in.Made) {
		return export.ErrStale
	}
	return nil
}

// applyMade is applyRest for an object that was made just now or, with OutcomeDone,
// by an earlier run.
func (c *compound) applyMade(o *object, s *settable, outcome statesync.Outcome) (nfs4.Bitmap, error) {
	applied, err := c.applyRest(o, s)
	if outcome == statesync.OutcomeDone && errors.Is(err, export.ErrStale) {
		return s.mask, nil // it was removed since
	}
	return applied, err
}

// named returns the filehandle of a name, nil if there is no such name or no
// such directory any more.
func (s *Server) named(n statesync.Name) ([]byte, error) {
	exp, dir, err := s.exports.Open([]byte(n.Dir))
	if errors.Is(err, export.ErrStale) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var attr export.Attr
	h, err := exp.FS.Lookup(gatewayCreds, dir, n.Name, &attr)
	switch {
	case errors.Is(err, export.ErrNotExist), errors.Is(err, export.ErrStale):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return s.exports.Seal(nil, exp, h), nil
}

// absent is the evidence of operations that make a name: it must not exist.
func (c *compound) absent(o *object, name string) func() ([]byte, error) {
	return func() ([]byte, error) {
		_, err := o.fs().Lookup(c.credsFor(o), o.h, name, &c.attr)
		switch {
		case err == nil:
			return nil, export.ErrExist
		case errors.Is(err, export.ErrNotExist):
			return []byte{}, nil
		}
		return nil, err
	}
}
