#!/bin/sh
# Runs in the lab, for test_lab.py: guests on real KVM. Each check is a section "== NAME", what it printed, "-- NAME STATUS".
# Files beside it: yado, vmlinuz, initrd.gz (the small guest), payload-*.elf.
quiet="console=ttyS0 quiet panic=-1"

check() {
    name=$1
    shift
    echo "== $name"
    "$@" 2>&1
    status=$?
    echo
    echo "-- $name $status"
}

small() {  # small TESTS ARGUMENTS...
    tests=$1
    shift
    timeout 100 yado run --engine "${engine:-kvm}" --kernel /lab/vmlinuz --initrd /lab/initrd.gz --memory 256M --append "$quiet test=$tests port=8000 seconds=600" "$@"
}

everything() {
    dd if=/dev/urandom of=/tmp/a.img bs=1M count=3 2>/dev/null
    dd if=/dev/zero of=/tmp/b.img bs=1M count=4 2>/dev/null
    mkdir -p /tmp/www
    dd if=/dev/urandom of=/tmp/www/index.html bs=1k count=300 2>/dev/null
    httpd -p 127.0.0.1:8000 -h /tmp/www
    echo "disk expected $(sha256sum </tmp/a.img | cut -d' ' -f1)"
    echo "page expected $(sha256sum </tmp/www/index.html | cut -d' ' -f1)"
    engine=auto
    small boot,disk,net,rng,time,interrupts --disk path=/tmp/a.img,format=raw,readonly=on --disk path=/tmp/b.img,format=raw,snapshot=on --net user
}

# Waits until a file has a text so many times.
await() {
    : >>"$1"  # its writer may not have begun
    tries=0
    while [ "$(grep -c "$2" "$1")" -lt "$3" ] && [ $tries -lt 60 ]; do
        sleep 1
        tries=$((tries + 1))
    done
}

# The guest resets itself again and again; the second time is enough.
reboots() {
    small reboot --net none --name again >/tmp/again.log &
    await /tmp/again.log 'reboot: now' 2
    yado stop --force again || kill $!
    wait
    echo "boots $(grep -c 'reboot: now' /tmp/again.log)"
}

controls() {
    small idle --net none --name quiet >/tmp/quiet.log &
    await /tmp/quiet.log 'idle: begins' 1
    yado pause quiet && yado info quiet | grep -i state
    yado resume quiet && yado info quiet | grep -i -E 'state|engine|routed'
    yado reset quiet
    await /tmp/quiet.log 'idle: begins' 2
    echo "begun $(grep -c 'idle: begins' /tmp/quiet.log)"
    yado stop --force quiet || kill $!
    wait
}

# What GDB would say, by hand (GDB itself needs all of Python): two steps into a payload, registers and memory, then on to its end.
packet() {
    sum=$(printf %s "$1" | od -An -v -tu1 | awk '{for (i = 1; i <= NF; i++) sum += $i} END {printf "%02x", sum % 256}')
    printf '$%s#%s' "$1" "$sum"
}
debugged() {
    mkfifo /tmp/to-stub
    timeout 60 yado run --kernel /lab/payload-paging.elf --memory 16M --net none --rng off --balloon off --debug-exit --no-reboot --engine "$engine" \
        --gdb tcp:127.0.0.1:1234 --gdb-wait >/tmp/debugged.log 2>&1 &
    await /tmp/debugged.log 'waits for GDB' 1
    nc 127.0.0.1 1234 </tmp/to-stub >/tmp/from-stub &
    exec 9>/tmp/to-stub
    { packet QStartNoAckMode; printf +; packet 'vCont;s:1'; } >&9
    await /tmp/from-stub 'T05' 1
    { packet p10; packet 'vCont;s:1'; } >&9
    await /tmp/from-stub 'T05.*T05' 1
    { packet p10; packet m10000c,5; packet P9=3412000000000000; packet p9; packet D; } >&9
    wait
    exec 9>&-
    sed 's/#../&\n/g' /tmp/from-stub
    cat /tmp/debugged.log
}

check doctor yado doctor
check one everything
engine=kvm
check two small boot,smp,time --cpus 2 --net none
check four small boot,smp --cpus 4 --net none --cpu x86-64-v3
check no-reboot small reboot --net none --no-reboot
check reboots reboots
check controls controls
check debugged debugged
for file in /lab/payload-*.elf; do
    name=${file#/lab/}
    check "${name%.elf}" timeout 60 yado run --kernel "$file" --memory 16M --net none --rng off --balloon off --debug-exit --no-reboot --engine kvm
done
