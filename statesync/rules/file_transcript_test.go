package rules

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/internal/nfs4"
)

var update = flag.Bool("update", false, "write what the rules answer into testdata")

// TestTranscripts runs testdata/*.txt. A line is a comment (#), blank, a
// command, or what the command before it answered (indented). After a change of
// the rules, go test -run Transcripts -update writes the answers anew, and
// every difference must be read.
//
//	open CLIENT OWNER r|w|rw [deny=r|w|rw] [uid=N] [new]   new: a 4.0 owner without OPEN_CONFIRM
//	confirm|close|free|state STATEID                       STATEID: name[:seqid] [by CLIENT] [4.0]
//	downgrade STATEID r|w|rw [deny=…]
//	lock STATEID r|w OFFSET LENGTH [owner=NAME]            owner: a new lock-owner through an open
//	unlock STATEID OFFSET LENGTH                           LENGTH: a number or end
//	test CLIENT OWNER r|w OFFSET LENGTH
//	io STATEID r|w|rw                                      also of the names anonymous and bypass
//	release CLIENT OWNER
//	drop CLIENT
//	dead [CLIENT…]                                         which clients are dead from here on
//	seqid STATEID                                          sets the seqid of a stateid
//	show                                                   what is open and locked
//
// Stateids are named in the order they are made, o1, o2, … for opens and l1,
// l2, … for locks.
func TestTranscripts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := transcribe(t, want)
			if bytes.Equal(got, want) {
				return
			}
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Fatalf("%s:%d: got\n%s\nwant\n%s", name, i+1, b[i], a[i])
				}
			}
			t.Fatalf("%s: %d lines, want %d", name, len(b), len(a))
		})
	}
}

func transcribe(t *testing.T, in []byte) []byte {
	var out bytes.Buffer
	s := &script{t: t, f: &File{}, names: map[string]Other{}, dead: map[ClientID]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(in))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, answer := range s.run(strings.Fields(line)) {
			fmt.Fprintf(&out, "    %s\n", answer)
		}
	}
	return out.Bytes()
}

type script struct {
	t     *testing.T
	f     *File
	names map[string]Other
	made  [2]int
	dead  map[ClientID]bool
}

func (s *script) isDead(c ClientID) bool { return s.dead[c] }

// word takes the i-th word of a command.
func (s *script) word(args []string, i int) string {
	if i >= len(args) {
		s.t.Fatalf("%v: something is missing", args)
	}
	return args[i]
}

func (s *script) number(text string) uint64 {
	if text == "end" {
		return maxOffset
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) client(text string) ClientID { return ClientID(s.number(text)) }

func (s *script) share(text string) (bits uint32) {
	for _, c := range text {
		switch c {
		case 'r':
			bits |= 1
		case 'w':
			bits |= 2
		default:
			s.t.Fatalf("share %q", text)
		}
	}
	return bits
}

// options takes key=value words and flags from the end of a command.
func (s *script) option(args []string, key string) (string, bool) {
	for _, a := range args {
		if k, v, ok := strings.Cut(a, "="); k == key && (ok || a == key) {
			return v, true
		}
	}
	return "", false
}

// ref reads "name[:seqid]", and "by CLIENT" and "4.0" from anywhere behind it.
func (s *script) ref(args []string) Ref {
	name, seqid, _ := strings.Cut(s.word(args, 1), ":")
	ref := Ref{}
	switch name {
	case "anonymous":
		ref.Stateid = nfs4.AnonymousStateid
	case "bypass":
		ref.Stateid = nfs4.BypassStateid
	case "unknown":
		ref.Stateid.Other = benchOther('?', 1)
	default:
		other, ok := s.names[name]
		if !ok {
			s.t.Fatalf("no stateid %q", name)
		}
		ref.Stateid.Other = other
	}
	if seqid != "" {
		ref.Stateid.Seqid = uint32(s.number(seqid))
	}
	if i := slices.Index(args, "by"); i >= 0 {
		ref.Client = s.client(s.word(args, i+1))
	}
	ref.Minor0 = slices.Contains(args, "4.0")
	return ref
}

func (s *script) newOther(kind byte) Other {
	return benchOther(kind, s.made[map[byte]int{'o': 0, 'l': 1}[kind]]+1)
}

func (s *script) stateid(st nfs4.Stateid) string {
	return fmt.Sprintf("%c%d:%d", st.Other[0], st.Other[11], st.Seqid)
}

// commit applies a change and says what it does to the parts.
func (s *script) commit(d *Delta) string {
	d.Stateids(func(_ ClientID, other Other, made bool) {
		if made {
			s.names[fmt.Sprintf("%c%d", other[0], other[11])] = other
			s.made[map[byte]int{'o': 0, 'l': 1}[other[0]]]++
		}
	})
	var puts, deletes []string
	for _, w := range d.Writes(nil, "") {
		name := "head"
		if w.Name != "" {
			name = fmt.Sprintf("%c %c%d", w.Name[0], w.Name[1], w.Name[12])
		}
		if len(w.Name) > 13 {
			k := rangeKey{Other([]byte(w.Name[1:13])), 0}
			name = fmt.Sprintf("r %c%d@%d", k.other[0], k.other[11], offsetIn(w.Name))
		}
		if w.Value == nil {
			deletes = append(deletes, name)
		} else {
			puts = append(puts, name)
		}
	}
	if err := s.f.Apply(d); err != nil {
		s.t.Fatal(err)
	}
	text := "put [" + strings.Join(puts, ", ") + "]"
	if len(deletes) > 0 {
		text += " delete [" + strings.Join(deletes, ", ") + "]"
	}
	return text
}

func offsetIn(part string) (n uint64) {
	for _, b := range []byte(part[13:]) {
		n = n<<8 | uint64(b)
	}
	return n
}

func describe(err error) []string {
	var denied *LockDenied
	var share *ShareConflict
	switch {
	case errors.As(err, &denied):
		return []string{fmt.Sprintf("error: lock denied by %d %s: %s", denied.Client, denied.Owner,
			extentText(denied.Offset, denied.Length, denied.Write))}
	case errors.As(err, &share):
		return []string{fmt.Sprintf("error: %v %v", share.err, share.Clients)}
	}
	return []string{"error: " + err.Error()}
}

func extentText(offset, length uint64, write bool) string {
	kind := "read"
	if write {
		kind = "write"
	}
	if length == maxOffset {
		return fmt.Sprintf("%s %d+end", kind, offset)
	}
	return fmt.Sprintf("%s %d+%d", kind, offset, length)
}

var shareText = [4]string{"none", "r", "w", "rw"}

func (s *script) opened(r OpenState, d *Delta, err error) []string {
	if err != nil {
		return describe(err)
	}
	change := s.commit(d)
	text := fmt.Sprintf("%s access %s deny %s", s.stateid(r.Stateid), shareText[r.Access], shareText[r.Deny])
	if r.NeedConfirm {
		text += " confirm"
	}
	return []string{text, change}
}

func (s *script) locked(st nfs4.Stateid, d *Delta, err error) []string {
	if err != nil {
		return describe(err)
	}
	change := s.commit(d)
	return []string{s.stateid(st), change}
}

func (s *script) changed(d *Delta, err error) []string {
	if err != nil {
		return describe(err)
	}
	return []string{s.commit(d)}
}

func (s *script) run(a []string) []string {
	switch a[0] {
	case "open":
		req := &OpenRequest{
			Client: s.client(s.word(a, 1)), Owner: []byte(s.word(a, 2)), Access: s.share(s.word(a, 3)),
			UID: 1000, NewOther: s.newOther('o'),
		}
		if v, ok := s.option(a, "deny"); ok {
			req.Deny = s.share(v)
		}
		if v, ok := s.option(a, "uid"); ok {
			req.UID = uint32(s.number(v))
		}
		_, req.Unconfirmed = s.option(a, "new")
		return s.opened(s.f.Open(req, s.isDead))
	case "confirm":
		return s.opened(s.f.Confirm(s.ref(a)))
	case "close":
		return s.opened(s.f.Close(s.ref(a)))
	case "downgrade":
		v, _ := s.option(a, "deny")
		return s.opened(s.f.Downgrade(s.ref(a), s.share(s.word(a, 2)), s.share(v)))
	case "lock":
		req := &LockRequest{
			Ref: s.ref(a), Write: s.word(a, 2) == "w",
			Offset: s.number(s.word(a, 3)), Length: s.number(s.word(a, 4)), NewOther: s.newOther('l'),
		}
		if v, ok := s.option(a, "owner"); ok {
			req.New, req.Owner = true, []byte(v)
		}
		return s.locked(s.f.Lock(req, s.isDead))
	case "unlock":
		return s.locked(s.f.Unlock(s.ref(a), s.number(s.word(a, 2)), s.number(s.word(a, 3))))
	case "test":
		if err := s.f.TestLock(&TestRequest{
			Client: s.client(s.word(a, 1)), Owner: []byte(s.word(a, 2)), Write: s.word(a, 3) == "w",
			Offset: s.number(s.word(a, 4)), Length: s.number(s.word(a, 5)),
		}, s.isDead); err != nil {
			return describe(err)
		}
		return []string{"granted"}
	case "io":
		io, err := s.f.CheckIO(s.ref(a), s.share(s.word(a, 2)), s.isDead)
		if err != nil {
			return describe(err)
		}
		if io.Special {
			return []string{"special"}
		}
		return []string{fmt.Sprintf("client %d uid %d access %s", io.Client, io.UID, shareText[io.Access])}
	case "free":
		return s.changed(s.f.FreeStateid(s.ref(a)))
	case "release":
		return s.changed(s.f.ReleaseLockOwner(s.client(s.word(a, 1)), []byte(s.word(a, 2))))
	case "drop":
		return s.changed(s.f.DropClient(s.client(s.word(a, 1))), nil)
	}
	return s.look(a)
}

// look runs the commands that change nothing by a rule.
func (s *script) look(a []string) []string {
	switch a[0] {
	case "state":
		st, err := s.f.Lookup(s.ref(a))
		if err != nil {
			return describe(err)
		}
		kind := map[Kind]string{KindOpen: "open", KindLock: "lock"}[st.Kind]
		return []string{fmt.Sprintf("%s %s of %d %s, open %s", kind, s.stateid(st.Stateid), st.Client, st.Owner, s.stateid(st.Open))}
	case "dead":
		clear(s.dead)
		for _, c := range a[1:] {
			s.dead[s.client(c)] = true
		}
		return nil
	case "seqid":
		ref := s.ref(a)
		if o := s.f.opens.get(ref.Stateid.Other, openKey); o != nil {
			o.seqid = ref.Stateid.Seqid
		} else {
			s.f.locks.get(ref.Stateid.Other, lockKey).seqid = ref.Stateid.Seqid
		}
		return nil
	case "show":
		var lines []string
		s.f.Each(func(i Info) bool {
			if i.Lock {
				lines = append(lines, fmt.Sprintf("%s by %d %s", extentText(i.Offset, i.Length, i.Write), i.Client, i.Owner))
			} else {
				lines = append(lines, fmt.Sprintf("open %s deny %s by %d %s", shareText[i.Access], shareText[i.Deny], i.Client, i.Owner))
			}
			return true
		})
		if lines == nil {
			lines = []string{"nothing"}
		}
		return lines
	}
	s.t.Fatalf("command %q", a[0])
	return nil
}
