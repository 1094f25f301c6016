package admin

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"holdfast/statesync"
)

// locks answers one page. The order is by file, client, owner and offset, so a
// cursor stays good while locks come and go.
func (h *handler) locks(w http.ResponseWriter, r *http.Request) {
	limit := 1000
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			h.fail(w, http.StatusBadRequest, fmt.Errorf("limit %q: 1 to %d are allowed", text, maxPage))
			return
		}
		limit = n
	}
	infos, err := h.cfg.State.Locks(r.Context())
	if err != nil {
		h.fail(w, http.StatusInternalServerError, err)
		return
	}
	if text := r.FormValue("client"); text != "" {
		id, err := parseClientID(text)
		if err != nil {
			h.fail(w, http.StatusBadRequest, err)
			return
		}
		infos = slices.DeleteFunc(infos, func(l statesync.LockInfo) bool { return l.Client != id })
	}
	slices.SortFunc(infos, compareLocks)
	page := LockPage{Locks: []Lock{}, Total: len(infos)}
	if cursor := r.FormValue("after"); cursor != "" {
		last, err := parseCursor(cursor)
		if err != nil {
			h.fail(w, http.StatusBadRequest, err)
			return
		}
		at, found := slices.BinarySearchFunc(infos, last, compareLocks)
		if found {
			at++
		}
		infos = infos[at:]
	}
	if len(infos) > limit {
		infos = infos[:limit]
		page.Next = cursorOf(&infos[limit-1])
	}
	for i := range infos {
		page.Locks = append(page.Locks, h.lock(&infos[i]))
	}
	h.answer(w, page)
}

func (h *handler) lock(l *statesync.LockInfo) Lock {
	shown := Lock{
		Kind:   "open",
		File:   fmt.Sprintf("%x", string(l.File)),
		Client: clientID(l.Client),
		Owner:  readable(l.Owner),
	}
	if h.cfg.Path != nil {
		shown.Path = h.cfg.Path(l.File)
	}
	if !l.Lock {
		shown.Access, shown.Deny = shares(l.Access), shares(l.Deny)
		return shown
	}
	shown.Kind, shown.Type, shown.Offset = "lock", "read", l.Offset
	if l.Write {
		shown.Type = "write"
	}
	if l.Length != math.MaxUint64 {
		shown.Length = &l.Length
	}
	return shown
}

// shares shows share access or deny bits.
func shares(bits uint32) string {
	return [...]string{"", "r", "w", "rw"}[bits&3]
}

func compareLocks(a, b statesync.LockInfo) int {
	kind := func(l *statesync.LockInfo) int {
		if l.Lock {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(a.File, b.File),
		cmp.Compare(kind(&a), kind(&b)),
		cmp.Compare(a.Client, b.Client),
		cmp.Compare(string(a.Owner), string(b.Owner)),
		cmp.Compare(a.Offset, b.Offset),
	)
}

// cursorOf names a lock by all that the order looks at.
func cursorOf(l *statesync.LockInfo) string {
	return fmt.Sprintf("%x-%t-%x-%x-%x", string(l.File), l.Lock, uint64(l.Client), l.Owner, l.Offset)
}

func parseCursor(s string) (statesync.LockInfo, error) {
	bad := errors.New("after: not a cursor of an earlier page")
	f := strings.Split(s, "-")
	if len(f) != 5 {
		return statesync.LockInfo{}, bad
	}
	file, err1 := unhex(f[0])
	client, err2 := strconv.ParseUint(f[2], 16, 64)
	owner, err3 := unhex(f[3])
	offset, err4 := strconv.ParseUint(f[4], 16, 64)
	if errors.Join(err1, err2, err3, err4) != nil {
		return statesync.LockInfo{}, bad
	}
	return statesync.LockInfo{
		File:   statesync.FileKey(file),
		Lock:   f[1] == "true",
		Client: statesync.ClientID(client),
		Owner:  owner,
		Offset: offset,
	}, nil
}
