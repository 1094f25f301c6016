package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A Load is real work on a mount, in rounds. A round does its work in a folder, checks the result against what it must be
// and leaves the folder so that it can run again.
type Load struct {
	Name string
	Both bool // several clients may run rounds in one folder at the same time

	need    string                          // program
	prepare func(tb testing.TB, dir string) // once, before the guests start; dir is the host's path; optional

	// Of the shell, with the folder in $D, the round's number from 1 in $N, and the guest's name in $GUEST.
	setup string // once on the client that runs the rounds
	round string
	full  string // in place of round where one round is all; optional
	last  string // once, after all rounds
}

// Loads returns all loads. What they read is made by Inputs; scratch is a folder that outlives the tests that use them.
func Loads(scratch string) []Load {
	return []Load{
		{
			Name:  "directory operations",
			setup: `mkdir $D/$GUEST`, Both: true,
			round: `nfstool meta $D/$GUEST 10`,
		},
		{
			Name:  "synchronous appends",
			round: `nfstool appendlog $D/log $((N*100-99)) 100`,
			last:  `cmp $D/log <(seq $((N*100)))`,
		},
		{
			Name: "git clone", need: "git",
			setup: `export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t; git config --global safe.directory '*'; git config --global gc.auto 0`,
			round: `
			git clone -q --no-hardlinks $LAB/repo $D/clone
			git -C $D/clone fsck --full --strict 2>&1 | grep -v -e '^Checking' -e '^notice' && die "git fsck complains"
			same "$(git -C $LAB/repo rev-parse HEAD)" "$(git -C $D/clone rev-parse HEAD)" HEAD
			echo changed > $D/clone/file1
			git -C $D/clone commit -q -a -m change
			git -C $D/clone checkout -q HEAD~2
			git -C $D/clone checkout -q -
			same "" "$(git -C $D/clone status --porcelain)" "git status"
			rm -r $D/clone`,
		},
		{
			Name: "build of a Go module", need: "go",
			prepare: (&module{scratch: scratch}).prepare,
			setup: `
			export GOCACHE=$D/cache GOPATH=/mnt/gopath GOFLAGS=-buildvcs=false GOTOOLCHAIN=local GOTELEMETRY=off CGO_ENABLED=0 GOPROXY=off
			cd $D/module`,
			round: `
			echo "package round; const Number = \"round $N\"" > round/round.go
			go build -o $D/program .
			same "round $N" "$($D/program)" "what the built program prints"`,
		},
		{
			Name: "sqlite3", need: "sqlite3", Both: true,
			setup: `
			db="sqlite3 -bail -cmd '.log stderr' -cmd '.timeout 100000' $D/db"
			eval $db '"PRAGMA journal_mode=DELETE; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, who TEXT, n INTEGER, fill BLOB);"'`,
			round: `
			for i in {1..6}; do echo "INSERT INTO t (who, n, fill) VALUES ('$GUEST', $N, randomblob(3000));"; done | eval $db
			same ok "$(eval $db '"PRAGMA integrity_check"')" "integrity check"`,
			last: `
			same $((N*6)) "$(eval $db "\"SELECT count(*) FROM t WHERE who='$GUEST'\"")" "rows of $GUEST"
			same ok "$(eval $db '"PRAGMA integrity_check"')" "integrity check in the end"`,
		},
		{
			Name: "tar with checksums", need: "tar",
			// The size of a folder is its file system's affair.
			setup: `list() { (cd $1; find part0 -type d -printf '%P %m %T@\n' -o -printf '%P %m %s %T@\n' | sort); }`,
			round: `
			mkdir $D/t
			tar -C $LAB/tree -cf - part0 | tar -C $D/t -xf -
			(cd $D/t; grep ' part0/' $LAB/tree/sums | sha256sum --quiet -c -)
			same "$(list $LAB/tree)" "$(list $D/t)" "names, modes, sizes and times"
			rm -r $D/t`,
			full: `
			mkdir $D/t
			tar -C $LAB/tree -cf - . | tar -C $D/t -xf -
			echo 3 > /proc/sys/vm/drop_caches
			(cd $D/t; sha256sum --quiet -c sums)
			tar -C $D/t -cf - . | tar -C $LAB/tree -df -`,
		},
		{
			Name: "fio with verification", need: "fio",
			round: `
			fio --name=buffered --filename=$D/buffered --rw=randwrite --bs=4k --size=6m --fsync=100 --end_fsync=1 \
				--ioengine=psync --thread --verify=crc32c --verify_fatal=1 --randseed=$N --minimal > /dev/null
			fio --name=direct --filename=$D/direct --rw=randrw --bs=16k --size=4m --direct=1 \
				--ioengine=psync --thread --verify=crc32c --verify_fatal=1 --randseed=$N --minimal > /dev/null`,
		},
		{
			Name: "rsync", need: "rsync",
			round: `
			rsync -aH $LAB/tree/part1/ $D/copy/
			same "" "$(rsync -aHi $LAB/tree/part1/ $D/copy/)" "what a second rsync moves"
			same "" "$(rsync -aHi --checksum $LAB/tree/part1/ $D/copy/)" "what rsync --checksum moves"
			rm -r $D/copy`,
		},
	}
}

// Script returns a job that runs rounds in dir until `posted stop` holds, saying "begin" and "end" around each.
func (l *Load) Script(dir, stop string) string {
	return strings.Join([]string{
		"D=" + dir + "; N=0", l.setup,
		"until posted " + stop + "; do N=$((N+1)); say begin $N", l.round, "say end $N; done",
		l.last,
	}, "\n")
}

// Once returns a job that runs one round.
func (l *Load) Once(dir string) string {
	round := l.round
	if l.full != "" {
		round = l.full
	}
	return strings.Join([]string{"D=" + dir + "; N=1", l.setup, round, l.last}, "\n")
}

// Dir makes the load's folder, with what it needs, in a folder that the server serves, and returns its name.
func (l *Load) Dir(tb testing.TB, served string) string {
	tb.Helper()
	if l.need != "" {
		Need(tb, l.need)
	}
	name := strings.ReplaceAll(l.Name, " ", "-")
	dir := filepath.Join(served, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	if l.prepare != nil {
		l.prepare(tb, dir)
	}
	return name
}

// Inputs puts into the lab's folder what loads read: a tree of files with checksums, and a git repository.
func (l *Lab) Inputs(tb testing.TB) {
	tb.Helper()
	random := rand.NewChaCha8([32]byte{1}) // any fixed seed
	write := func(path string, size int) {
		tb.Helper()
		data := make([]byte, size)
		random.Read(data)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	// Sizes from empty to some hundred KiB, most of them small, as in a source tree.
	tree := filepath.Join(l.Dir, "tree")
	for i := range 640 {
		size := int(random.Uint64() % 12000)
		switch {
		case i%50 == 0:
			size = 0
		case i%100 == 1:
			size *= 30
		}
		write(fmt.Sprintf("%s/part%d/dir%d/file%d", tree, i%8, i%5, i), size)
	}
	shell(tb, `cd `+tree+` && find part* -type f | sort | xargs sha256sum > sums && chmod 600 part0/dir0/* && ln -s dir1 part1/link && ln part1/dir1/file1 part1/hard &&
		mkdir -p part1/empty && find . -exec touch -h -d @1700000000.123456789 {} +`)

	repo := filepath.Join(l.Dir, "repo")
	git := `git -c user.name=t -c user.email=t@t -C ` + repo
	for commit := range 3 {
		for i := range 60 {
			write(fmt.Sprintf("%s/file%d", repo, i*(commit+1)), 2000)
		}
		shell(tb, `git init -q `+repo+` && `+git+` add . && `+git+` commit -q -m commit`)
	}
}

// A module makes a Go module to build, and a build cache that holds the standard library as the module needs it, so that the
// guest builds the module alone. The cache is made once in scratch.
type module struct {
	scratch string
	once    sync.Once
	dir     string
	err     error
}

// prepare puts the module and the build cache into a folder.
func (m *module) prepare(tb testing.TB, dir string) {
	tb.Helper()
	files := map[string]string{
		"go.mod":         "module example.com/program\n\ngo 1.22\n",
		"main.go":        "package main\n\nimport (\"os\"; \"example.com/program/text\")\n\nfunc main() { os.Stdout.WriteString(text.Text() + \"\\n\") }\n",
		"text/text.go":   "package text\n\nimport (\"strings\"; \"example.com/program/round\")\n\nfunc Text() string { return strings.Repeat(round.Number, 1) }\n",
		"round/round.go": "package round\n\nconst Number = \"none\"\n",
	}
	write := func(dir string) error {
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	m.once.Do(func() {
		m.dir = filepath.Join(m.scratch, "seed")
		build := filepath.Join(m.scratch, "module")
		if m.err = write(build); m.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", "/dev/null", ".")
		cmd.Dir = build
		cmd.Env = append(os.Environ(), "GOCACHE="+m.dir, "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			m.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if m.err != nil {
		tb.Fatal(m.err)
	}
	if err := write(filepath.Join(dir, "module")); err != nil {
		tb.Fatal(err)
	}
	shell(tb, "cp -r "+m.dir+" "+filepath.Join(dir, "cache"))
}

// shell runs a script of the host's shell.
func shell(tb testing.TB, script string) {
	tb.Helper()
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", script, err, out)
	}
}
