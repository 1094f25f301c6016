package nfsops

import (
	"errors"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// owners translates between ids and the strings of owner, owner_group and ACEs
// (RFC 8881 §5.9). Its methods may be called from any number of goroutines; a
// nil owners knows numbers only.
//
// Numbers are always understood, since a client without a matching user
// database, or with AUTH_SYS, has nothing else to send.
type owners struct {
	domain string // after the '@'; empty: names go without one

	mu    sync.Mutex // not held while the user database is asked
	names map[ownerID]ownerName
	ids   map[ownerKey]ownerNumber
}

type ownerID struct {
	id    uint32
	group bool
}

type ownerKey struct {
	name  string
	group bool
}

type ownerName struct {
	name  string
	until time.Time
}

type ownerNumber struct {
	id    uint32
	known bool
	until time.Time
}

// What is asked of the user database is kept for ownerLife, at most maxOwners
// answers in each direction.
const (
	ownerLife = 5 * time.Minute
	maxOwners = 16384
)

func newOwners(domain string) *owners {
	return &owners{domain: domain, names: map[ownerID]ownerName{}, ids: map[ownerKey]ownerNumber{}}
}

// encode appends the string of an id.
func (o *owners) encode(w *xdr.Writer, id uint32, group bool) {
	if o != nil {
		w.String(o.name(id, group))
		return
	}
	var digits [10]byte
	w.Opaque(strconv.AppendUint(digits[:0], uint64(id), 10))
}

// name returns the string of an id: a number if it has no name.
func (o *owners) name(id uint32, group bool) string {
	number := func() string { return strconv.FormatUint(uint64(id), 10) }
	if o == nil {
		return number()
	}
	key, now := ownerID{id, group}, time.Now()
	o.mu.Lock()
	e, ok := o.names[key]
	o.mu.Unlock()
	if ok && now.Before(e.until) {
		return e.name
	}
	name := number()
	if group {
		if g, err := user.LookupGroupId(name); err == nil {
			name = o.qualified(g.Name)
		}
	} else if u, err := user.LookupId(name); err == nil {
		name = o.qualified(u.Username)
	}
	o.mu.Lock()
	if len(o.names) >= maxOwners {
		clear(o.names)
	}
	o.names[key] = ownerName{name, now.Add(ownerLife)}
	o.mu.Unlock()
	return name
}

func (o *owners) qualified(name string) string {
	if o.domain == "" {
		return name
	}
	return name + "@" + o.domain
}

// parse returns the id of a string that a client sent. The status is
// NFS4ERR_INVAL for what is not UTF-8 and NFS4ERR_BADOWNER for what has no
// translation.
func (o *owners) parse(s []byte, group bool) (uint32, nfs4.Status) {
	if !utf8.Valid(s) {
		return 0, nfs4.ErrInval
	}
	if id, ok := parseNumber(s); ok {
		return id, nfs4.OK
	}
	if o == nil || len(s) == 0 {
		return 0, nfs4.ErrBadOwner
	}
	name := string(s)
	if o.domain != "" {
		bare, domain, _ := strings.Cut(name, "@")
		if !strings.EqualFold(domain, o.domain) {
			return 0, nfs4.ErrBadOwner
		}
		name = bare
	}
	return o.id(name, group)
}

func (o *owners) id(name string, group bool) (uint32, nfs4.Status) {
	key, now := ownerKey{name, group}, time.Now()
	o.mu.Lock()
	e, ok := o.ids[key]
	o.mu.Unlock()
	if !ok || now.After(e.until) {
		number, err := lookupOwner(name, group)
		var noUser user.UnknownUserError
		var noGroup user.UnknownGroupError
		if err != nil && !errors.As(err, &noUser) && !errors.As(err, &noGroup) {
			return 0, nfs4.ErrDelay // the user database does not answer
		}
		e.until = now.Add(ownerLife)
		e.id, e.known = parseNumber([]byte(number))
		o.mu.Lock()
		if len(o.ids) >= maxOwners {
			clear(o.ids)
		}
		o.ids[key] = e
		o.mu.Unlock()
	}
	if !e.known {
		return 0, nfs4.ErrBadOwner
	}
	return e.id, nfs4.OK
}

// lookupOwner asks the user database for the number of a name.
func lookupOwner(name string, group bool) (string, error) {
	if group {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

// parseNumber reads an id: decimal, without leading zeros, and not 2^32-1,
// which chown(2) takes for "leave it".
func parseNumber(s []byte) (uint32, bool) {
	if len(s) == 0 || len(s) > 10 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	var v uint64
	for _, b := range s {
		if b < '0' || b > '9' {
			return 0, false
		}
		v = v*10 + uint64(b-'0')
	}
	return uint32(v), v < 1<<32-1
}
