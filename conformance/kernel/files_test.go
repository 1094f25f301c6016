package kernel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/conformance/kernel"
)

// fileJobs run on client a, each in a new folder ($D, also the working directory). A job ends with an error on the first
// thing that is not as on a local file system.
var fileJobs = []struct {
	name   string
	only   string // minor version that the job needs; all when empty
	script string
}{
	{name: "create, write, read back, append, truncate", script: `
		head -c 300000 /dev/urandom > /mnt/in
		cp /mnt/in f
		cmp /mnt/in f
		echo tail >> f; echo tail >> /mnt/in
		cmp /mnt/in f
		same 300005 "$(stat -c %s f)" size
		truncate -s 1234 f; truncate -s 1234 /mnt/in
		cmp /mnt/in f
		truncate -s 5000 f; truncate -s 5000 /mnt/in
		cmp /mnt/in f
		: > f
		same 0 "$(stat -c %s f)" "size after truncation by open"
		rm f
		refused "No such file" cat f`},
	{name: "overwrite in the middle", script: `
		head -c 200000 /dev/zero | tr '\0' x > f; cp f /mnt/in
		for at in 0 1 4095 4096 65535 131071 199990; do
			printf 'patched' | dd of=f bs=1 seek=$at conv=notrunc status=none
			printf 'patched' | dd of=/mnt/in bs=1 seek=$at conv=notrunc status=none
		done
		echo 3 > /proc/sys/vm/drop_caches
		cmp /mnt/in f`},
	{name: "sparse file", script: `
		printf begin > f
		printf end | dd of=f bs=1 seek=10485760 conv=notrunc status=none
		same 10485763 "$(stat -c %s f)" size
		same begin "$(head -c 5 f)" beginning
		same end "$(tail -c 3 f)" end
		same 0 "$(dd if=f bs=64k skip=1 count=100 status=none | tr -d '\0' | wc -c)" "bytes that are not zero in the hole"
		[ "$(stat -c %b f)" -lt 2048 ] || die "the hole takes $(stat -c %b f) blocks"`},
	{name: "5 GiB sparse file", script: `
		truncate -s 5G f
		same 5368709120 "$(stat -c %s f)" size
		for at in 2147483647 2147483648 4294967295 4294967296 5368709119; do
			printf X | dd of=f bs=1 seek=$at conv=notrunc status=none
		done
		echo 3 > /proc/sys/vm/drop_caches
		for at in 2147483647 4294967295 5368709119; do
			same X "$(dd if=f bs=1 skip=$at count=1 status=none)" "byte $at"
		done
		same 5368709120 "$(stat -c %s f)" "size after writing"
		[ "$(stat -c %b f)" -lt 4096 ] || die "it takes $(stat -c %b f) blocks"`},
	{name: "shared mapping", script: `
		nfstool mmap f
		echo 3 > /proc/sys/vm/drop_caches
		same 1048576 "$(stat -c %s f)" size
		same "through write" "$(dd if=f bs=1 skip=5000 count=13 status=none)" "what was written"`},
	{name: "O_DIRECT", script: `
		nfstool direct f
		same 524288 "$(stat -c %s f)" size`},
	{name: "O_EXCL", script: `
		same "x1
x2
x3" "$(nfstool excl . x 3)" "names created"
		same "x4" "$(nfstool excl . x 4)" "names created when three exist"
		mkdir d; ln -s nowhere s
		refused "File exists" dd if=/dev/null of=d conv=excl
		refused "File exists" dd if=/dev/null of=s conv=excl`},
	{name: "hard and symbolic links", script: `
		echo text > f
		ln f g
		same 2 "$(stat -c %h f)" links
		same "$(stat -c %i f)" "$(stat -c %i g)" "inode"
		echo more >> g
		same "text
more" "$(cat f)" "through the other name"
		rm f
		same 1 "$(stat -c %h g)" "links after removal"
		ln -s g s; same g "$(readlink s)" "link text"; same text "$(head -1 s)" "through the link"
		ln -s "$(printf 'l%.0s' {1..1000})" long; same 1000 "$(readlink long | tr -d '\n' | wc -c)" "length of a link"
		ln -s loop loop; refused "Too many levels" cat loop
		mkdir d; refused "not allowed" ln d e
		refused "File exists" ln g s
		ln s t; same g "$(readlink t)" "a hard link to a symbolic link"`},
	{name: "fifo, socket, device nodes", script: `
		mkfifo -m 640 fifo; same "fifo 640" "$(stat -c '%F %a' fifo)" fifo
		(echo through > fifo) & same through "$(cat fifo)" "what went through the fifo"; wait
		nfstool socket sock; same socket "$(stat -c %F sock)" socket
		mknod null c 1 3; same "character special file 1 3" "$(stat -c '%F %t %T' null)" "character device"
		echo gone > null; same 0 "$(wc -c < null)" "what a null device keeps"
		mknod blk b 259 1000; same "block special file 103 3e8" "$(stat -c '%F %t %T' blk)" "block device"
		rm fifo sock null blk`},
	{name: "chmod, chown, times", script: `
		touch f; mkdir d
		for m in 0 400 644 755 1777 4755 6711; do chmod $m f; same $m "$(stat -c %a f)" mode; done
		for m in 0 500 755 1777 2755; do chmod 00$m d; same $m "$(stat -c %a d)" "mode of a folder"; done
		chown 1234:4321 f; same 1234:4321 "$(stat -c %u:%g f)" owner
		chown 4294967290 f; same 4294967290:4321 "$(stat -c %u:%g f)" "large owner"
		chmod 6755 f; chown 5:5 f; same 755 "$(stat -c %a f)" "mode after chown of a setuid file"
		touch -d '2001-02-03 04:05:06.789012345 UTC' f
		same "981173106.789012345" "$(date -r f +%s.%N)" mtime
		touch -a -d '@1000000000' f; touch -m -d '@4000000000' f
		same "1000000000 4000000000" "$(stat -c '%X %Y' f)" "atime and mtime"
		ln -s f s; touch -h -d '@77' s; same 77 "$(stat -c %Y s)" "mtime of a link"
		before=$(stat -c %z f); chmod 600 f; [ "$before" != "$(stat -c %z f)" ] || die "ctime stands still"
		umask 027; touch g; mkdir e; same "640 750" "$(stat -c %a g e | xargs)" "modes under a umask"`},
	{name: "extended attributes", only: "4.2", script: `
		touch f; mkdir d
		setfattr -n user.colour -v blue f; same blue "$(getfattr --only-values -n user.colour f)" value
		setfattr -n user.colour -v green f; same green "$(getfattr --only-values -n user.colour f)" "changed value"
		setfattr -n user.empty f; same "" "$(getfattr --only-values -n user.empty f)" "empty value"
		setfattr -n user.dir -v on d; same on "$(getfattr --only-values -n user.dir d)" "on a folder"
		same "user.colour
user.empty" "$(getfattr f | grep ^user | sort)" names
		big=$(head -c 2000 /dev/zero | tr '\0' v); setfattr -n user.big -v $big f
		same $big "$(getfattr --only-values -n user.big f)" "2000 bytes"
		setfattr -x user.colour f; refused "No such attribute" getfattr --only-values -n user.colour f
		refused "No such attribute" setfattr -x user.colour f
		for i in {1..50}; do setfattr -n user.n$i -v $i f; done
		same 52 "$(getfattr f | grep -c ^user)" "number of attributes"`},
	{name: "rename over and across", script: `
		echo one > one; echo two > two
		exec 5< two
		mv one two; same one "$(cat two)" "content after rename over"
		same two "$(cat <&5)" "content of the file renamed over, still open"
		exec 5<&-
		refused "No such file" cat one
		mkdir a b a/sub; echo x > a/sub/x
		mv a/sub b/; same x "$(cat b/sub/x)" "a folder moved"
		refused "No such file" ls a/sub
		mv b/sub/x a/y; same x "$(cat a/y)" "a file moved"
		mkdir full empty; touch full/f
		refused "not empty" mv -T empty full
		mv -T full empty; same f "$(ls empty)" "a folder renamed over an empty one"
		refused "subdirectory of itself" mv b b/sub/
		refused "overwrite" mv -T a/y b
		echo h > h1; ln h1 h2; same h "$(cat h2)" "a second link"; perl -e 'rename "h1", "h2" or die $!'; same "h1 h2" "$(echo h?)" "names after a rename between links of one file"
		inode=$(stat -c %i a/y); mv a/y z; same $inode "$(stat -c %i z)" "inode after a move"`},
	{name: "silly rename of an open file", script: `
		echo still here > f
		exec 5<> f
		rm f
		same 1 "$(ls -A | grep -c '^\.nfs')" "hidden names"
		same "still here" "$(cat <&5)" "the removed file"
		echo and written >&5
		same "still here
and written" "$(cat /proc/$$/fd/5)" "the removed file after a write"
		exec 5>&-
		# The client removes the hidden name after close(2) has returned.
		for try in {1..400}; do [ -z "$(ls -A)" ] && break; sleep 0.05; done
		same "" "$(ls -A)" "names after the last close"`},
	{name: "long and UTF-8 names", script: `
		long=$(printf 'n%.0s' {1..255}); echo 255 > $long; same 255 "$(cat $long)" "a name of 255 bytes"
		refused "File name too long" touch ${long}x
		utf=$(printf 'ü%.0s' {1..127}); mkdir $utf; touch "$utf/日本語 𝄞 ñ"
		same "日本語 𝄞 ñ" "$(ls $utf)" "a name in UTF-8"
		for name in 'a b' 'tab	in' 'back\slash' '-dash' '*?[' $'new\nline' '.hidden' '...' 'a:b' "quo'te\"s"; do
			echo "$name" > "./$name"; same "$name" "$(cat "./$name")" "content"
		done
		mkdir deep; (cd deep; for i in {1..40}; do mkdir directory-of-some-length; cd directory-of-some-length; done; touch bottom)
		same 1 "$(find deep -name bottom | wc -l)" "files at the bottom"
		rm -r deep`},
	{name: "df", script: `
		read -r total used avail < <(df -B1 --output=size,used,avail . | tail -1)
		[ $total -gt 0 ] && [ $used -ge 0 ] && [ $avail -le $total ] || die "total $total used $used avail $avail"
		read -r files free < <(df --output=itotal,iavail . | tail -1)
		[ $files -gt 0 ] && [ $free -le $files ] || die "files $files free $free"`},
	{name: "holes are seen and punched", only: "4.2", script: `
		truncate -s 4M f
		dd if=/dev/zero bs=64k count=1 status=none | tr '\0' d > /mnt/block
		dd if=/mnt/block of=f bs=64k seek=16 conv=notrunc status=none
		dd if=/mnt/block of=f bs=64k seek=32 conv=notrunc status=none
		sync f
		same "1048576-1114112
2097152-2162688" "$(nfstool holes f)" "data ranges"
		fallocate -p -o 1048576 -l 65536 f
		same "2097152-2162688" "$(nfstool holes f)" "data ranges after punching a hole"
		same 0 "$(dd if=f bs=64k skip=16 count=1 status=none | tr -d '\0' | wc -c)" "data in the hole"
		fallocate -o 0 -l 8M f; same 8388608 "$(stat -c %s f)" "size after allocation"
		[ "$(stat -c %b f)" -ge 16000 ] || die "only $(stat -c %b f) blocks allocated"`},
	{name: "copy within the server", only: "4.2", script: `
		head -c 3000000 /dev/urandom > from
		nfstool copyrange from to
		echo 3 > /proc/sys/vm/drop_caches
		cmp from to
		grep -q 'COPY: [1-9]' /proc/self/mountstats || die "the client did not use COPY"`},
	{name: "removal", script: `
		mkdir d; touch d/f
		refused "not empty" rmdir d
		refused "Is a directory" unlink d
		refused "Not a directory" rmdir d/f
		refused "No such file" rm missing
		rm d/f; rmdir d; refused "No such file" ls d`},
}

// TestFiles is what a user does with files, on a mount of the Linux kernel's own client.
func TestFiles(t *testing.T) {
	everyVersion(t, func(t *testing.T, s *site) {
		for i, job := range fileJobs {
			if job.only != "" && job.only != s.vers {
				continue
			}
			t.Run(job.name, func(t *testing.T) {
				dir, _ := s.dir(t, fmt.Sprintf("job%d", i))
				s.a.Run(t, "D="+dir+"; cd $D\n"+job.script)
			})
		}
		t.Run("ACLs", func(t *testing.T) { testACL(t, s) })
		t.Run("two users", func(t *testing.T) { testUsers(t, s) })
		t.Run("what one client writes the other reads", func(t *testing.T) { testCloseToOpen(t, s) })
		t.Run("20000 names listed while they change", func(t *testing.T) { testBigDirectory(t, s) })
		t.Run("exclusive create by two clients", func(t *testing.T) { testExclusiveRace(t, s) })
		t.Run("byte-range locks of two clients", func(t *testing.T) { testRangeLocks(t, s) })
		t.Run("flock of two clients", func(t *testing.T) { testFlock(t, s) })
		t.Run("locked counter", func(t *testing.T) { testCounter(t, s) })
		t.Run("IPv6", func(t *testing.T) { testIPv6(t, s) })
		t.Run("root squashed", func(t *testing.T) { testRootSquash(t, s) })
		quiet(t, s.a)
		quiet(t, s.b)
	})
}

// testACL: the Linux client shows NFSv4 ACLs as the attribute system.nfs4_acl. A POSIX ACL on the server's file is seen and
// obeyed through it, and an ACL set through it is one on the server's file.
func testACL(t *testing.T, s *site) {
	dir, host := s.dir(t, "acl")
	os.Chmod(host, 0o777)
	file := filepath.Join(host, "f")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hostRun(t, "setfacl", "-m", "u:1001:r", file)
	s.a.Run(t, `
		cd `+dir+`
		nfs4_getfacl f
		nfs4_getfacl f | grep -E '^A:[a-zA-Z]*:1001(@[^:]*)?:[a-zA-Z]*r' || die "no ACE for user 1001"
		same secret "$(as 1001 cat f)" "what the user in the ACL reads"
		refused "Permission denied" as 1001 sh -c 'echo x >> f'
		refused "Permission denied" as 1002 cat f
		nfs4_setfacl -a A::1002:rwatTncCy f
		same secret "$(as 1002 cat f)" "what the added user reads"
		as 1002 sh -c 'echo more >> f'
		refused "Permission denied" as 1003 cat f`)
	if acl := hostRun(t, "getfacl", "-n", "--omit-header", file); !strings.Contains(acl, "user:1002:rw-") || !strings.Contains(acl, "user:1001:r--") {
		t.Errorf("the server's file has the ACL\n%s", acl)
	}
	// Default ACLs are inherited by what a client creates. Under one the umask does not count, but only from 4.2 on can a
	// client leave that to the server (mode_umask, RFC 8275 section 1); before, it sends a mode that the umask has cut.
	umask := "022"
	if s.vers == "4.2" {
		umask = "077"
	}
	hostRun(t, "setfacl", "-d", "-m", "u:1003:rwx", host)
	s.a.Run(t, `cd `+dir+`; umask `+umask+`; as 1001 sh -c 'echo mine > new'; same mine "$(as 1003 cat new)" "what the user in the default ACL reads"`)
}

// testUsers: two users have different rights, by owner, group and further groups.
func testUsers(t *testing.T, s *site) {
	dir, _ := s.dir(t, "users")
	s.a.Run(t, `
		cd `+dir+`; chmod 1777 .
		as 1001 sh -c 'umask 077; echo private > p; mkdir d; echo inside > d/f'
		same 1001:1001 "$(stat -c %u:%g p)" "owner of what a user creates"
		same private "$(as 1001 cat p)" "own file"
		refused "Permission denied" as 1002 cat p
		refused "Permission denied" as 1002 cat d/f
		refused "Permission denied" as 1002 ls d
		refused "Permission denied" as 1002 touch d/new
		refused "not permitted" as 1002 chmod 777 p
		refused "not permitted" as 1002 chown 1002 p
		refused "not permitted" as 1002 rm -f p
		refused "not permitted" as 1002 mv p q
		as 1001 chmod 711 d; as 1001 chmod 644 d/f
		refused "Permission denied" as 1002 ls d
		same inside "$(as 1002 cat d/f)" "a readable file in an unlistable folder"
		echo shared > g; chown 0:2000 g; chmod 640 g
		refused "Permission denied" as 1001 cat g
		same shared "$(setpriv --reuid 1001 --regid 1001 --groups 3,2000,9 cat g)" "through a further group"
		mkdir s; chown 0:2000 s; chmod 2777 s; as 1001 touch s/f; same 2000 "$(stat -c %g s/f)" "group in a setgid folder"
		as 1001 chmod 400 p; refused "Permission denied" as 1001 sh -c 'echo x >> p'
		as 1001 sh -c 'exec 5<>d/f; chmod 0 d/f; printf "rest of it" >&5'
		same "rest of it" "$(cat d/f)" "written through a descriptor opened before chmod 0"
		echo '#!/bin/sh' > run; echo 'id -u' >> run; chmod 711 run
		refused "Permission denied" as 1002 cat run
		test -x run; chmod 755 run; same 1002 "$(as 1002 ./run)" "what a program on the mount prints"`)
}

// testCloseToOpen: what one client wrote before it closed, another sees that opens afterwards (close-to-open consistency).
func testCloseToOpen(t *testing.T, s *site) {
	dir, _ := s.dir(t, "cto")
	reader := s.b.Start(t, `cd `+dir+`; for i in {1..10}; do await written; same "round $i" "$(cat f)" "round $i"; say read; done`)
	for i := range 10 {
		s.a.Run(t, fmt.Sprintf("cd %s; echo round %d > f", dir, i+1))
		s.b.Post(t, "written")
		reader.Expect(t, "read")
	}
	reader.Wait(t)
}

// testBigDirectory: names that stay are listed exactly once while others come, go and are renamed by another client.
func testBigDirectory(t *testing.T, s *site) {
	const entries = 20000
	dir, host := s.dir(t, "big")
	for i := range entries {
		if err := os.WriteFile(filepath.Join(host, fmt.Sprintf("stays-%05d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	churn := s.b.Start(t, `nfstool churn `+dir+` moves- stop-churn`)
	churn.Expect(t, "churning")
	s.a.Run(t, `
		cd `+dir+`
		for round in 1 2; do
			ls -U1 | sort > /mnt/names
			same "" "$(grep ^stays- /mnt/names | uniq -d | head -3)" "names listed twice"
			same `+fmt.Sprint(entries)+` "$(grep -c ^stays- /mnt/names)" "names listed"
			same "" "$(grep -v -E '^(stays-[0-9]{5}|moves-r?[0-9]+)$' /mnt/names | head -3)" "names that nobody made"
			echo 3 > /proc/sys/vm/drop_caches
		done`)
	s.b.Post(t, "stop-churn")
	t.Log(churn.Wait(t))
	s.a.Run(t, `cd `+dir+`; rm moves-*; same `+fmt.Sprint(entries)+` "$(ls -U1 | wc -l)" "names in the end"`)
}

// testExclusiveRace: of two clients that create the same names with O_EXCL, each name is won by exactly one.
func testExclusiveRace(t *testing.T, s *site) {
	dir, _ := s.dir(t, "race")
	script := `await race; nfstool excl ` + dir + ` n 200`
	ja, jb := s.a.Start(t, script), s.b.Start(t, script)
	s.a.Post(t, "race")
	s.b.Post(t, "race")
	won := append(strings.Fields(ja.Wait(t)), strings.Fields(jb.Wait(t))...)
	slices.Sort(won)
	if n := len(slices.Compact(slices.Clone(won))); len(won) != 200 || n != 200 {
		t.Errorf("of 200 names, %d were won, %d of them different", len(won), n)
	}
}

// testIPv6: the server serves an IPv6 address just as well.
func testIPv6(t *testing.T, s *site) {
	if peer == "ganesha" {
		t.Skip("Ganesha's configuration takes no IPv6 address to bind to")
	}
	srv := s.lab.Serve(t, program(t), kernel.Export{IPv6: true})
	at := s.b.MountAt(t, srv, "/mnt/six", "vers="+s.vers)
	s.b.Run(t, `cd `+at+`; echo six > f; same six "$(cat f)" "read back"; cd /; umount `+at)
}

// testRootSquash: without no_root_squash, a client's root is nobody.
func testRootSquash(t *testing.T, s *site) {
	srv := s.lab.Serve(t, program(t), kernel.Export{RootSquash: true})
	host := filepath.Join(srv.Dir, "d")
	if err := os.Mkdir(host, 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(host, 0o777)
	if err := os.WriteFile(filepath.Join(srv.Dir, "secret"), []byte("root's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := s.b.MountAt(t, srv, "/mnt/squash", "vers="+s.vers)
	s.b.Run(t, `
		cd `+at+`
		refused "Permission denied" cat secret
		refused "Permission denied" touch new
		refused "not permitted" chmod 666 secret
		echo mine > d/f; same 65534:65534 "$(stat -c %u:%g d/f)" "owner of what root creates"
		refused "not permitted" chown 0 d/f
		as 1001 sh -c 'umask 077; echo theirs > d/g'; same 1001 "$(stat -c %u d/g)" "owner of what a user creates"
		refused "Permission denied" cat d/g
		cd /; umount `+at)
}
