#!/bin/bash
# First process inside a guest: file systems, kernel modules, network; then it
# serves the control line (/dev/ttyS0) until it is told to halt.
#
#   host → guest                         guest → host
#   run JOB    run $LAB/jobs/JOB.sh      up            ready for jobs
#   post NAME  wake `await NAME`         exit JOB N    JOB ended with status N
#   dump       write state for a post    say JOB TEXT  from lib.sh's `say`
#              mortem to the console
#   halt       end at once
if [ -z "${GLIBC_TUNABLES-}" ]; then
	export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load,-ERMS,-EVEX,-AVX2_Usable,-AVX512F_Usable,-XSAVEC,-XSAVE
	exec /bin/bash "$0" # this shell lives long, so it too must be one without AVX
fi
export GODEBUG=cpu.all=off
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
for kv in $(< /proc/cmdline); do
	case $kv in
	hf.name=*) export GUEST=${kv#*=} ;;
	hf.ip=*) ip4=${kv#*=} ;;
	hf.ip6=*) ip6=${kv#*=} ;;
	hf.lab=*) export LAB=${kv#*=} ;;
	hf.path=*) PATH=${kv#*=}:$PATH ;;
	esac
done
# The host's root is read only here; only the lab's folder can be written.
for dir in /mnt /run /tmp /var/tmp; do mount -t tmpfs tmpfs $dir; done
chmod 1777 /tmp /var/tmp
mkdir -p /dev/shm /dev/pts "$LAB"
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
ln -s /proc/self/fd /dev/fd
mount -t hostfs none -o "$LAB" "$LAB"
export HOME=/mnt/home
mkdir -p $HOME /run/posted

# The host name is part of the client's identity (co_ownerid): two guests of one
# name would throw each other out.
echo "$GUEST" > /proc/sys/kernel/hostname

# Modules of this kernel are not where modprobe looks, neither for us nor for the
# kernel's own requests.
mkdir -p /run/kmod/lib/modules
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/kmod/lib/modules/
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/kmod "$@"\n' > /run/modprobe
chmod +x /run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
/run/modprobe -a ipv6 nfsv4 nfsv3

ip link set lo up
ip addr add "$ip4/24" dev vec0
ip -6 addr add "$ip6/64" dev vec0 nodad
ip link set vec0 up

stty -F /dev/ttyS0 raw -echo
exec 3<>/dev/ttyS0
echo up >&3
while read -r verb arg <&3; do
	case $verb in
	run)
		(
			export JOB=$arg
			bash "$LAB/jobs/$JOB.sh" </dev/null >"$LAB/jobs/$JOB.out" 2>&1 3>&-
			echo "exit $JOB $?" >&3
		) &
		;;
	post)
		(
			: > "/run/posted/$arg"
			mkfifo "/run/wake.$arg" 2>/dev/null
			: > "/run/wake.$arg"
		) &
		;;
	dump)
		{
			echo "--- guest $GUEST: processes and where they wait"
			for p in /proc/[0-9]*; do
				echo "${p#/proc/} $(tr '\0' ' ' < "$p/cmdline" | cut -c1-160) [$(cat "$p/comm" "$p/wchan" 2>/dev/null | xargs)]"
			done
			echo "--- NFS mounts"
			cat /proc/self/mountstats
			echo "--- kernel log, with the stacks of blocked tasks"
			echo w > /proc/sysrq-trigger
			dmesg | tail -n 100
			echo "--- end"
		} > /dev/console 2>&1
		sync -f "$LAB"
		echo "dumped" >&3
		;;
	halt) break ;;
	esac
done
halt -f
