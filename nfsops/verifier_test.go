package nfsops

import (
	"testing"
	"time"

	"holdfast/export"
	"holdfast/internal/nfs4"
)

// Every bit of a create verifier counts, and one is known again on a file
// system that keeps whole seconds.
func TestVerifierTimes(t *testing.T) {
	v := nfs4.Verifier{0x80, 1, 2, 3, 0x7f, 5, 6, 7}
	at, mt := verifierTimes(v)
	file := &export.Attr{Atime: at, Mtime: mt}
	coarse := &export.Attr{Atime: at.Truncate(time.Second), Mtime: mt.Truncate(time.Second)}
	if !holdsVerifier(file, v) || !holdsVerifier(coarse, v) {
		t.Errorf("%v is not known again by %v and %v", v, at, mt)
	}
	for i := range v {
		for bit := range 8 {
			w := v
			w[i] ^= 1 << bit
			if holdsVerifier(file, w) {
				t.Errorf("%v is taken for %v", w, v)
			}
		}
	}
}
