package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"holdfast/conformance/kernel"
)

// load is real work on the mount, in rounds. A round does its work in $D, checks the result against what it must be and
// leaves $D so that it can run again; $N is its number, from 1.
type load struct {
	name    string
	need    string                                          // program
	prepare func(t *testing.T, s *site, guest, host string) // once, before the guests start; optional
	setup   string                                          // once on the client that runs the rounds
	round   string
	full    string // in place of round where one round is all; optional
	last    string // once, after all rounds
	both    bool   // both clients run rounds at the same time; $GUEST tells which
}

var loads = []load{
	{
		name:  "directory operations",
		setup: `mkdir $D/$GUEST`, both: true,
		round: `nfstool meta $D/$GUEST 10`,
	},
	{
		name:  "synchronous appends",
		round: `nfstool appendlog $D/log $((N*100-99)) 100`,
		last:  `cmp $D/log <(seq $((N*100)))`,
	},
	{
		name: "git clone", need: "git",
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
		name: "build of a Go module", need: "go",
		prepare: prepareModule,
		setup: `
			export GOCACHE=$D/cache GOPATH=/mnt/gopath GOFLAGS=-buildvcs=false GOTOOLCHAIN=local GOTELEMETRY=off CGO_ENABLED=0 GOPROXY=off
			cd $D/module`,
		round: `
			echo "package round; const Number = \"round $N\"" > round/round.go
			go build -o $D/program .
			same "round $N" "$($D/program)" "what the built program prints"`,
	},
	{
		name: "sqlite3", need: "sqlite3", both: true,
		setup: `
			db="sqlite3 -bail -cmd '.timeout 100000' $D/db"
			eval $db '"PRAGMA journal_mode=DELETE; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, who TEXT, n INTEGER, fill BLOB);"'`,
		round: `
			for i in {1..6}; do echo "INSERT INTO t (who, n, fill) VALUES ('$GUEST', $N, randomblob(3000));"; done | eval $db
			same ok "$(eval $db '"PRAGMA integrity_check"')" "integrity check"`,
		last: `
			same $((N*6)) "$(eval $db "\"SELECT count(*) FROM t WHERE who='$GUEST'\"")" "rows of $GUEST"
			same ok "$(eval $db '"PRAGMA integrity_check"')" "integrity check in the end"`,
	},
	{
		name: "tar with checksums", need: "tar",
		round: `
			mkdir $D/t
			tar -C $LAB/tree -cf - part0 | tar -C $D/t -xf -
			(cd $D/t; grep ' part0/' $LAB/tree/sums | sha256sum --quiet -c -)
			same "$(cd $LAB/tree; find part0 -printf '%P %m %s %T@\n' | sort)" "$(cd $D/t; find part0 -type d -printf '%P %m SIZE %T@\n' -o -printf '%P %m %s %T@\n' | sort | sed 's/SIZE/4096/')" "names, modes, sizes and times"
			rm -r $D/t`,
		full: `
			mkdir $D/t
			tar -C $LAB/tree -cf - . | tar -C $D/t -xf -
			echo 3 > /proc/sys/vm/drop_caches
			(cd $D/t; sha256sum --quiet -c sums)
			tar -C $D/t -cf - . | tar -C $LAB/tree -df -`,
	},
	{
		name: "fio with verification", need: "fio",
		round: `
			fio --name=buffered --filename=$D/buffered --rw=randwrite --bs=4k --size=6m --fsync=100 --end_fsync=1 \
				--ioengine=psync --thread --verify=crc32c --verify_fatal=1 --randseed=$N --minimal > /dev/null
			fio --name=direct --filename=$D/direct --rw=randrw --bs=16k --size=4m --direct=1 \
				--ioengine=psync --thread --verify=crc32c --verify_fatal=1 --randseed=$N --minimal > /dev/null`,
	},
	{
		name: "rsync", need: "rsync",
		round: `
			rsync -aH $LAB/tree/part1/ $D/copy/
			same "" "$(rsync -aHi $LAB/tree/part1/ $D/copy/)" "what a second rsync moves"
			same "" "$(rsync -aHi --checksum $LAB/tree/part1/ $D/copy/)" "what rsync --checksum moves"
			rm -r $D/copy`,
	},
}

// script returns a job that runs rounds in dir until `posted stop` holds, saying "begin" and "end" around each.
func (l load) script(dir, stop string) string {
	return strings.Join([]string{
		"D=" + dir + "; N=0", l.setup,
		"until posted " + stop + "; do N=$((N+1)); say begin $N", l.round, "say end $N; done",
		l.last,
	}, "\n")
}

// once returns a job that runs one round.
func (l load) once(dir string) string {
	round := l.round
	if l.full != "" {
		round = l.full
	}
	return strings.Join([]string{"D=" + dir + "; N=1", l.setup, round, l.last}, "\n")
}

// start starts the load's jobs.
func (l load) start(t *testing.T, s *site, script string) []*kernel.Job {
	t.Helper()
	jobs := []*kernel.Job{s.a.Start(t, script)}
	if l.both {
		jobs = append(jobs, s.b.Start(t, script))
	}
	return jobs
}

// dir makes the load's folder and what it needs.
func (l load) dir(t *testing.T, s *site) string {
	t.Helper()
	if l.need != "" {
		kernel.Need(t, l.need)
	}
	guest, host := s.dir(t, strings.ReplaceAll(l.name, " ", "-"))
	if l.prepare != nil {
		l.prepare(t, s, guest, host)
	}
	return guest
}

// TestWork runs the programs that people run.
func TestWork(t *testing.T) {
	everyVersion(t, func(t *testing.T, s *site) {
		makeInputs(t, s.lab.Dir)
		for _, l := range loads {
			t.Run(l.name, func(t *testing.T) {
				for _, job := range l.start(t, s, l.once(l.dir(t, s))) {
					job.Wait(t)
				}
			})
		}
		quiet(t, s.a)
		quiet(t, s.b)
	})
}

// makeInputs puts into the lab's folder what loads read: a tree of files with checksums, and a git repository.
func makeInputs(t *testing.T, lab string) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1}) // any fixed seed
	write := func(path string, size int) {
		t.Helper()
		data := make([]byte, size)
		random.Read(data)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Sizes from empty to some hundred KiB, most of them small, as in a source tree.
	tree := filepath.Join(lab, "tree")
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
	hostRun(t, "sh", "-c", `cd `+tree+` && find part* -type f | sort | xargs sha256sum > sums && chmod 600 part0/dir0/* && ln -s dir1 part1/link && ln part1/dir1/file1 part1/hard &&
		mkdir -p part1/empty && find . -exec touch -h -d @1700000000.123456789 {} +`)

	repo := filepath.Join(lab, "repo")
	git := `git -c user.name=t -c user.email=t@t -C ` + repo
	for commit := range 3 {
		for i := range 60 {
			write(fmt.Sprintf("%s/file%d", repo, i*(commit+1)), 2000)
		}
		hostRun(t, "sh", "-c", `git init -q `+repo+` && `+git+` add . && `+git+` commit -q -m commit`)
	}
}

// seed is a build cache that holds the standard library as the module needs it, so that the guest builds the module alone.
// It is made once for all versions.
var seed struct {
	sync.Once
	dir string
	err error
}

// prepareModule puts a Go module and a build cache onto the export.
func prepareModule(t *testing.T, s *site, guest, host string) {
	t.Helper()
	module := map[string]string{
		"go.mod":         "module example.com/program\n\ngo 1.22\n",
		"main.go":        "package main\n\nimport (\"os\"; \"example.com/program/text\")\n\nfunc main() { os.Stdout.WriteString(text.Text() + \"\\n\") }\n",
		"text/text.go":   "package text\n\nimport (\"strings\"; \"example.com/program/round\")\n\nfunc Text() string { return strings.Repeat(round.Number, 1) }\n",
		"round/round.go": "package round\n\nconst Number = \"none\"\n",
	}
	write := func(dir string) error {
		for name, text := range module {
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
	seed.Do(func() {
		seed.dir = filepath.Join(scratch, "seed")
		build := filepath.Join(scratch, "module")
		if seed.err = write(build); seed.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", "/dev/null", ".")
		cmd.Dir = build
		cmd.Env = append(os.Environ(), "GOCACHE="+seed.dir, "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			seed.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if seed.err != nil {
		t.Fatal(seed.err)
	}
	if err := write(filepath.Join(host, "module")); err != nil {
		t.Fatal(err)
	}
	hostRun(t, "cp", "-r", seed.dir, filepath.Join(host, "cache"))
}
