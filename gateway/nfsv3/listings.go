package nfsv3

import (
	"hash/fnv"
	"io/fs"
	"slices"
	"sync"
)

// maxListings is how many directories may be listed at once; a client whose
// listing was dropped gets BAD_COOKIE and begins anew.
const maxListings = 64

// listings keeps what clients are in the midst of listing: the library reads a
// directory as a whole and sends it in pieces.
type listings struct {
	mu  sync.Mutex
	all []listing // the one used last is last
}

type listing struct {
	path     string
	verifier uint64
	contents []fs.FileInfo
}

// VerifierFor implements nfs.CachingHandler.
func (h *handler) VerifierFor(p string, contents []fs.FileInfo) uint64 {
	sum := fnv.New64a()
	for _, i := range contents {
		sum.Write([]byte(i.Name()))
		sum.Write([]byte{0})
	}
	l := listing{p, sum.Sum64() | 1, contents}
	h.s.listings.put(l)
	return l.verifier
}

// DataForVerifier implements nfs.CachingHandler.
func (h *handler) DataForVerifier(p string, verifier uint64) []fs.FileInfo {
	return h.s.listings.get(p, verifier)
}

func (ls *listings) put(l listing) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.all = slices.DeleteFunc(ls.all, func(o listing) bool { return o.path == l.path && o.verifier == l.verifier })
	if len(ls.all) == maxListings {
		ls.all = slices.Delete(ls.all, 0, 1)
	}
	ls.all = append(ls.all, l)
}

func (ls *listings) get(p string, verifier uint64) []fs.FileInfo {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	at := slices.IndexFunc(ls.all, func(o listing) bool { return o.path == p && o.verifier == verifier })
	if at < 0 {
		return nil
	}
	l := ls.all[at]
	ls.all = append(slices.Delete(ls.all, at, at+1), l)
	return l.contents
}
