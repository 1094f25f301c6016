package client

import (
	"strings"
	"testing"

	"holdfast/internal/nfs4"
)

// lister is a client whose READDIRs are answered with pages that end with the
// given cookies. The last page is the end of the directory.
func lister(cookies ...uint64) *Client {
	page := 0
	return &Client{Config: Config{Via: func(...Op) (*Reply, error) {
		d := &ReadDirRes{Entries: []Entry{{Cookie: cookies[page], Name: "name", Attrs: new(Attrs)}}}
		page++
		d.EOF = page == len(cookies)
		return &Reply{Results: []Result{{Op: nfs4.OpReadDir, Value: d}}}, nil
	}}}
}

// A directory is read page after page; cookies need not be in order.
func TestList(t *testing.T) {
	all, err := lister(7, 3, 5).List(nil, 4096)
	if err != nil || len(all) != 3 {
		t.Errorf("%v, %v", all, err)
	}
}

// RFC 8881 §18.23.3: a cookie stands for one place in the directory. A server
// that comes to a place again would be read forever.
func TestListInCircles(t *testing.T) {
	all, err := lister(7, 3, 7, 3, 7, 3).List(nil, 4096)
	if err == nil || !strings.Contains(err.Error(), "circles: it comes to cookie 7 again") {
		t.Errorf("%d entries, %v", len(all), err)
	}
}
