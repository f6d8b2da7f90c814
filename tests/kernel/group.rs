//! Control groups (version 2), which this machine may not have. So `polc run` runs on Debian's 6.12 kernel.

use crate::kernels::Kernel;
use crate::machine::Image;
use crate::tool;
use std::path::Path;

const POLICY: &str = "version: 1
name: limited
default_action: allow
rules: []
limits: {cpus: 0.5, memory: 64MiB, processes: 20}
";

/// What the machine does. Each line that it prints for the test begins with `=`.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin HOME=/lab TMPDIR=/lab
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 cg /sys/fs/cgroup; mount -t devtmpfs dev /dev
G=/sys/fs/cgroup
inside() { polc run -q --no-namespaces -p /lab/p.yaml -- "$@"; }
left() { ls $G $G/u 2>/dev/null | grep -c ^polc-; }
# What a run leaves behind ends with it; how long its group takes to go is the machine's affair.
swept() { n=0; until inside true; [ $(left) = 0 ] || [ $n = 60 ]; do sleep 1; n=$((n+1)); done; }
inside sh -c 'cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); echo = $(cat cpu.max memory.max memory.swap.max pids.max); exit 7'
echo "= status $? left $(left)"
inside sh -c 'i=0; while [ $i -lt 40 ]; do sleep 3 & i=$((i+1)); done; echo = forked' || echo "= no forks"
swept
inside dd if=/dev/zero of=/dev/null bs=200M count=1; echo "= memory $?"
inside sh -c 'sleep 30 & exit 0'; echo "= left running $(left)"
killall sleep; swept; echo "= swept $(left)"
echo u:x:1000:1000::/lab:/bin/sh > /etc/passwd
mkdir $G/u $G/u/own; echo "+cpu +memory +pids" > $G/u/cgroup.subtree_control
chown u $G/u $G/u/cgroup.procs $G/u/own $G/u/own/cgroup.procs
cat > /lab/user <<'END'
export PATH=/bin HOME=/lab TMPDIR=/lab
polc run --explain-start --no-namespaces -p /lab/p.yaml -- sh -c 'echo = $(id -u) $(sed s/polc-.*/polc/ /proc/self/cgroup)' 2>&1 | sed 's/^ *limits/= limits/'
END
sh -c "echo 0 > $G/u/own/cgroup.procs; exec su u -c 'sh /lab/user'"
echo "= left $(left)"
su u -c 'sh /lab/user'
echo @done
reboot -f
"#;

const SAID: [&str; 12] = [
    "= 50000 100000 67108864 0 20",
    "= status 7 left 0",
    "= no forks",
    "= memory 137",
    "= left running 0",
    "= swept 0",
    "= limits (cpus, memory, processes by a control group)",
    "= 1000 0::/u/polc",
    "= left 0",
    "= limits",
    "= limits.cpus: nothing on this host enforces it",
    "= 1000 0::/",
];

#[test]
fn a_control_group_holds_limits_and_goes_away() {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        tool::skip("the lab's kernels are for Linux on x86-64");
        return;
    }
    let (Some(busybox), Some(strip), Some(ldd)) = (
        tool::skip_or_fail("busybox"),
        tool::skip_or_fail("strip"),
        tool::skip_or_fail("ldd"),
    ) else {
        return;
    };
    let polc = Path::new(env!("CARGO_BIN_EXE_polc"));
    let folder = tool::folder("group");
    let small = folder.path().join("polc");
    let stripped = tool::run(&strip, [Path::new("-o"), &small, polc]);
    assert!(stripped.ok(), "{}", stripped.words());
    let mut image = Image::new(&busybox);
    for folder in ["bin", "etc", "lib", "lib/x86_64-linux-gnu", "lib64"] {
        image.folder(folder);
    }
    // Of two files with this name, the second counts.
    image.file("init", INIT.as_bytes());
    image.file("bin/busybox", &std::fs::read(busybox).unwrap());
    image.file("bin/polc", &std::fs::read(small).unwrap());
    image.file("lab/p.yaml", POLICY.as_bytes());
    let libraries = String::from_utf8(tool::run(&ldd, [polc]).stdout).unwrap();
    for library in libraries.split_whitespace().filter(|w| w.starts_with('/')) {
        image.file(&library[1..], &std::fs::read(library).unwrap());
    }
    let Some(console) = image.boot(Kernel::V6_12, "lsm=landlock") else {
        return;
    };
    let said: Vec<&str> = console.lines().filter(|l| l.starts_with('=')).collect();
    assert_eq!(said, SAID, "{console}");
}
