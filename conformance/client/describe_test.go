package client

import (
	"strings"
	"testing"

	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
)

// What is sent is shown, as it stands on the wire.
func TestDescribe(t *testing.T) {
	sid := nfs4.Stateid{Seqid: 7}
	for _, c := range []struct {
		op   Op
		want string
	}{
		{PutRootFH(), "PUTROOTFH"},
		{Lookup("name"), `LOOKUP {name="name"}`},
		{Symlink("s", "target"), `CREATE {type=5 link="target" name="s" attrs=`},
		{Lock(LockArgs{Type: 2, Length: 10, New: true, OpenStateid: sid, Owner: Owner{1, "o"}}), `new=1 open-seqid=0 open-stateid=`},
		{Lock(LockArgs{Type: 2, Length: 10, LockStateid: sid, LockSeqid: 3}), `new=0 stateid=`},
		{Open(OpenArgs{Access: 1, Name: "f"}), `create=0 claim=0 name="f"}`},
		{Open(OpenArgs{Access: 1, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Name: "f"}), `create=1 mode=2 verifier=0000000000000000 claim=0 name="f"}`},
		{Open(OpenArgs{Access: 1, Claim: nfs4.ClaimFH}), `create=0 claim=4}`},
		{ExchangeID(ExchangeIDArgs{Owner: "me"}), `owner="me" flags=0x0 protect=0 implementations=`},
		{Sequence(nfs4.SessionID{}, 5, 2, 9, true), `seq=5 slot=2 high=9 cache=true}`},
		{Op{Num: 4242, Args: []byte{0, 0, 0, 1}}, `… 4 bytes: 00000001`},
		{Op{Num: nfs4.OpLookup, Args: []byte{0, 0, 0, 9}}, `name=? at byte`},
	} {
		q := NewCompound(oncrpc.Auth{}, 1, "", PutRootFH(), c.op)
		got := Describe(q.Bytes()[oncrpc.MarkSize:])
		if !strings.HasPrefix(got, "COMPOUND v4.1: PUTROOTFH; ") || !strings.Contains(got, c.want) {
			t.Errorf("%s\nlacks %s", got, c.want)
		}
	}
	if got := Describe(NewCall(oncrpc.Auth{}, 0, nil).Bytes()[oncrpc.MarkSize:]); got != "NULL" {
		t.Error(got)
	}
	if got := Describe([]byte("nonsense")); got != "8 bytes that are no call" {
		t.Error(got)
	}
}

// Every operation has a layout, or is among those that are shown as bytes.
func TestDescribeKnowsTheOperations(t *testing.T) {
	var bytes []string
	for op := nfs4.OpFirst; op <= nfs4.OpLast; op++ {
		if _, ok := arguments[op]; !ok {
			bytes = append(bytes, op.String())
		}
	}
	const want = "GET_DIR_DELEGATION LAYOUTCOMMIT LAYOUTRETURN TEST_STATEID WANT_DELEGATION COPY_NOTIFY LAYOUTERROR LAYOUTSTATS WRITE_SAME"
	if got := strings.Join(bytes, " "); got != want {
		t.Errorf("without a layout: %s", got)
	}
}
