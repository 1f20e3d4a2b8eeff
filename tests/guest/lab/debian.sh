#!/bin/sh
# Runs in the lab, for test_lab.py: the whole Debian image, its disk /dev/vdb (written to a snapshot), to its login, logged in, powered off.
# Files beside it: yado, vmlinux, initrd.img. Arguments: for yado run.
log=/tmp/debian.log
mkfifo /tmp/keys
timeout 220 yado run --kernel /lab/vmlinux --initrd /lab/initrd.img --append "root=/dev/vda rw console=ttyS0 net.ifnames=0" \
    --disk path=/dev/vdb,format=raw,snapshot=on "$@" </tmp/keys >$log 2>&1 &
guest=$!
exec 3>/tmp/keys

# Waits until the console has a text.
await() {
    tries=0
    until grep -q "$1" $log; do
        sleep 1
        tries=$((tries + 1))
        [ $tries -lt 180 ] && kill -0 $guest 2>/dev/null || return 1
    done
}

start=$(cut -d. -f1 /proc/uptime)
if await 'login: '; then
    echo "login after $(($(cut -d. -f1 /proc/uptime) - start)) s"
    printf 'root\n' >&3
    sleep 1
    await ':~#' || printf 'yado\n' >&3
    printf 'echo state-$(systemctl is-system-running --wait)-$(nproc)\n' >&3
    await 'state-[a-z]*-[0-9]' && grep -o 'state-[a-z]*-[0-9]*' $log
    printf 'dmesg | grep -E -c "BUG:|Oops|soft lockup|rcu.*stall|Call Trace" | sed s/^/complaints-/; poweroff\n' >&3
    await 'complaints-[0-9]' && grep -o 'complaints-[0-9]*' $log
fi
wait $guest
status=$?
echo "status $status"
tail -n 15 $log
exit $status
