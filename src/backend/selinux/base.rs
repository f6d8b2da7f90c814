//! What the compiler knows of the reference policy's labels. matchpathcon and sesearch gave these facts for Debian 12's
//! policy.

use std::ops::RangeInclusive;

/// A base type that rules may be about, and the trees that have this type.
pub struct BaseType {
    pub name: &'static str,
    /// The policy's decision for the first tree counts for the type. The others have the same label.
    pub trees: &'static [&'static str],
    /// Files outside those trees. If there are no trees, the decision for the first file counts.
    pub files: &'static [&'static str],
    /// Whether the type has programs that the domain may start.
    pub programs: bool,
}

/// The types of programs that a domain may start without a type of the module's own.
pub const PROGRAMS: [&str; 2] = ["bin_t", "shell_exec_t"];

/// The types of files.
pub const TYPES: [BaseType; 7] = [
    BaseType {
        name: "bin_t",
        trees: &[
            "/usr/bin",
            "/usr/sbin",
            "/bin",
            "/sbin",
            "/usr/local/bin",
            "/usr/local/sbin",
            "/usr/libexec",
        ],
        files: &[],
        programs: true,
    },
    BaseType {
        name: "shell_exec_t",
        trees: &[],
        files: &[
            "/usr/bin/sh",
            "/{,usr/}bin/{sh,ash,dash,bash,bash2,fish,mksh,sash,tcsh,yash}",
            "/{,usr/}bin/{ksh,zsh}*/**",
        ],
        programs: true,
    },
    BaseType {
        name: "lib_t",
        trees: &[
            "/usr/lib",
            "/lib",
            "/lib32",
            "/lib64",
            "/libx32",
            "/usr/lib32",
            "/usr/lib64",
            "/usr/libx32",
            "/usr/local/lib",
        ],
        files: &[],
        programs: true,
    },
    BaseType {
        name: "locale_t",
        trees: &[
            "/usr/share/zoneinfo",
            "/usr/share/locale",
            "/usr/lib/locale",
            "/lib/locale",
            "/lib64/locale",
            "/usr/lib64/locale",
            "/usr/local/lib/locale",
        ],
        // `/etc/localtime` is mostly a link, and a link does not have this label.
        files: &["/etc/localtime", "/etc/timezone"],
        programs: false,
    },
    BaseType {
        name: "cert_t",
        trees: &["/etc/ssl"],
        files: &[],
        programs: false,
    },
    BaseType {
        name: "etc_t",
        // The second is for directories alone.
        trees: &["/etc", "/run/resolvconf"],
        files: &[],
        programs: false,
    },
    BaseType {
        name: "usr_t",
        trees: &["/usr", "/opt"],
        files: &[],
        programs: false,
    },
];

/// Objects beneath those trees whose label no rule is about.
pub const SPECIAL: [&str; 4] = [
    "/usr/src/**",
    "/etc/selinux/**",
    "/etc/ppp",
    "/etc/ppp/peers/**",
];

/// The same, for files alone: a directory of that name has the label of its tree. The base policy has types of their
/// own for some thousand programs. These are the programs that policies name.
pub const SPECIAL_FILES: [&str; 8] = [
    "/etc/resolv.conf*/**",
    "/etc/ppp/**",
    "/run/resolvconf/**",
    "/etc/hosts",
    "/usr/games/*/**",
    "/{,usr/}bin/{at,chage,chfn,chsh,crontab,fusermount,fusermount3,login,passwd,screen,ssh,su,sudo,sudoedit,systemd-nspawn,tmux,virsh}",
    "/{,usr/}{,s}bin/{atd,cryptsetup,dmsetup,fdisk,gpasswd,hwclock,init,ip6tables,iptables,kexec,kmod,{,u}mount{,.*},nft,parted,shutdown,swapoff,tcpdump}",
    "/{,usr/}{,s}bin/{insmod,losetup,mkfs,modprobe,rmmod,swapon}*/**",
];

/// Files that every domain may read: the loader's cache (`ld_so_cache_t`) and the loader (`ld_so_t`). The loader is
/// mapped with every program, and no rule of the module lets the domain start it.
pub const EVERYONE_READS: [&str; 4] = [
    "/{{,usr/}lib{,32,64,x32},usr/local/lib{,32,64}}/**/ld-*.so{,.*}",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld-musl-*.path",
];

/// The directories that every domain may list (`root_t`, `device_t`, `var_run_t`).
pub const EVERYONE_LISTS: [&str; 3] = ["/", "/dev/**", "/run"];

/// Directories beneath those that have another type.
pub const NOT_LISTED: [&str; 4] = [
    "/dev/pts/**",
    "/dev/shm/**",
    "/dev/hugepages/**",
    "/dev/mqueue/**",
];

/// Labels within `/opt`, at any depth. The first pattern that matches counts. Each has: the pattern, whether it is for
/// files alone, and the base type. No rule is about a type that [`TYPES`] does not name.
pub const WITHIN_OPT: [(&str, bool, &str); 10] = [
    ("/opt/**/var/lib{,64}/**", false, "var_lib_t"),
    ("/opt/**/bin/java*", true, "java_exec_t"),
    ("/opt/**/libexec/**", false, "bin_t"),
    ("/opt/**/lib64/**", false, "lib_t"),
    ("/opt/**/sbin/**", false, "bin_t"),
    ("/opt/**/man/**", false, "man_t"),
    ("/opt/**/lib/**", false, "lib_t"),
    ("/opt/**/bin/**", false, "bin_t"),
    ("/opt/**/*.cgi", true, "httpd_sys_script_exec_t"),
    ("/opt/**/*.so", false, "lib_t"),
];

/// Labels within `/etc`, one line each: the kind of object, the type, and names beneath `/etc`.
const WITHIN_ETC: &str = include_str!("etc.txt");

/// The kind of object that a label within `/etc` is for.
pub enum LabelledAs {
    Files,
    Directories,
    Everything,
}

/// Each line: the kind of object, the base type, and its patterns. The first pattern that matches counts. No rule is
/// about a type that [`TYPES`] does not name.
pub fn within_etc() -> impl Iterator<Item = (LabelledAs, &'static str, Vec<String>)> {
    let lines = WITHIN_ETC.lines().filter(|l| !l.starts_with('#'));
    lines.map(|line| {
        let mut words = line.split(' ');
        let labelled = match words.next() {
            Some("--") => LabelledAs::Files,
            Some("-d") => LabelledAs::Directories,
            _ => LabelledAs::Everything,
        };
        let label = words.next().unwrap_or_default();
        let patterns = words.map(|name| match name.strip_suffix('/') {
            Some(name) => format!("/etc/{name}/**"),
            None => format!("/etc/{name}"),
        });
        (labelled, label, patterns.collect())
    })
}

/// Paths without the attribute `non_security_file_type`. The base policy asserts that ordinary domains never use them.
pub const SECURITY: [&str; 9] = [
    "/etc/selinux/policy/**",
    "/etc/selinux/*/policy/**",
    "/etc/audit/**",
    "/etc/monit/**",
    "/etc/dkimkeys/**",
    "/etc/opendkim/keys/**",
    "/var/db/dkim/**",
    "/var/log/audit/**",
    "/var/spool/audit/**",
];

/// The same, for files alone.
pub const SECURITY_FILES: [&str; 6] = [
    "/etc/shadow*/**",
    "/etc/gshadow*/**",
    "/etc/tcb/**",
    "/etc/krb5.keytab",
    "/etc/krb5kdc/kadm5.keytab",
    "/var/db/shadow*/**",
];

/// The first components of the paths that the base policy labels. It labels everything else `default_t`.
pub const LABELLED: [&str; 26] = [
    "bin",
    "boot",
    "dev",
    "emul",
    "etc",
    "home",
    "initrd",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "mnt",
    "media",
    "net",
    "nix",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
];

/// Trees in which a module can label deeper paths.
pub const FREE_BELOW: [&str; 4] = ["srv", "opt", "mnt", "media"];

/// The ports that the kernel gives to a program that asks for none (default of `net.ipv4.ip_local_port_range`). To bind
/// one of them, the kernel asks only for `node_bind`, not for `name_bind` (security/selinux/hooks.c). Seen on 6.1 and
/// 6.12.
pub const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// Types of ports that have a name of their own, with their TCP and their UDP ports. `seinfo --portcon` lists them for
/// Debian's policy. Other distributions add to them (Fedora adds 81 and 9000 to `http_port_t`).
pub const PORTS: [(&str, &[u16], &[u16]); 4] = [
    ("http_port_t", &[80, 443, 488, 8008, 8009, 8443], &[]),
    ("dns_port_t", &[53, 853], &[53]),
    ("ssh_port_t", &[22], &[]),
    ("git_port_t", &[9418], &[9418]),
];
