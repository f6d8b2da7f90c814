//! What the compiler knows of the reference policy's labels: facts asked of Debian 12's with
//! matchpathcon and sesearch.

use std::ops::RangeInclusive;

/// A base type that rules may be about, and the trees that it stands for.
pub struct BaseType {
    pub name: &'static str,
    /// The first is the one whose decision counts; the others have the same label.
    pub trees: &'static [&'static str],
    /// Files outside of them. Where there are no trees, the first decides.
    pub files: &'static [&'static str],
    /// Whether programs of it are started.
    pub programs: bool,
}

/// What domains start programs by without a type of the module's own.
pub const PROGRAMS: [&str; 2] = ["bin_t", "shell_exec_t"];

/// Types of files.
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
        // The link that the first mostly is has no such label.
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
        // The second for directories alone.
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

/// Objects below those trees with a label that no rule is about.
pub const SPECIAL: [&str; 4] = [
    "/usr/src/**",
    "/etc/selinux/**",
    "/etc/ppp",
    "/etc/ppp/peers/**",
];

/// The same, as files alone: a directory of that name has its tree's label. Of the programs that have a type of
/// their own (the base policy knows some thousand) those that policies name.
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

/// Files that every domain may read: the loader's cache (`ld_so_cache_t`), and the loader (`ld_so_t`), which is
/// mapped with every program and started by none of the module's rules.
pub const EVERYONE_READS: [&str; 4] = [
    "/{{,usr/}lib{,32,64,x32},usr/local/lib{,32,64}}/**/ld-*.so{,.*}",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld-musl-*.path",
];

/// What every domain may list (`root_t`, `device_t`, `var_run_t`).
pub const EVERYONE_LISTS: [&str; 3] = ["/", "/dev/**", "/run"];

/// Directories beneath those that have another type.
pub const NOT_LISTED: [&str; 4] = [
    "/dev/pts/**",
    "/dev/shm/**",
    "/dev/hugepages/**",
    "/dev/mqueue/**",
];

/// Labels within `/opt`, at any depth: the first that matches, whether it is of files alone, and the base type (one that no
/// rule is about, where there is none of that name in [`TYPES`]).
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

/// Labels within `/etc`, a line each: for what, the type, and names beneath it.
const WITHIN_ETC: &str = include_str!("etc.txt");

/// What a label within `/etc` is for.
pub enum LabelledAs {
    Files,
    Directories,
    Everything,
}

/// Each line of them: what it is for, the base type (one that no rule is about, where there is none of that name in
/// [`TYPES`]), and its patterns. The first that matches is the label.
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

/// What the base policy asserts that ordinary domains never touch: it is not of `non_security_file_type`.
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

/// The same, as files alone.
pub const SECURITY_FILES: [&str; 6] = [
    "/etc/shadow*/**",
    "/etc/gshadow*/**",
    "/etc/tcb/**",
    "/etc/krb5.keytab",
    "/etc/krb5kdc/kadm5.keytab",
    "/var/db/shadow*/**",
];

/// The first names of paths that the base policy labels: everything else is `default_t` there.
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

/// Trees in which deeper paths can have labels of a module.
pub const FREE_BELOW: [&str; 4] = ["srv", "opt", "mnt", "media"];

/// The ports that the kernel gives to who asks for none, by default (`net.ipv4.ip_local_port_range`): to bind one of them it
/// does not ask for `name_bind` (security/selinux/hooks.c), only for `node_bind`. Seen on 6.1 and 6.12.
pub const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// Types of ports that have a name of their own, with their TCP and their UDP ports: what `seinfo --portcon` says of Debian's
/// policy. Other distributions add to them (Fedora 81 and 9000 to `http_port_t`).
pub const PORTS: [(&str, &[u16], &[u16]); 4] = [
    ("http_port_t", &[80, 443, 488, 8008, 8009, 8443], &[]),
    ("dns_port_t", &[53, 853], &[53]),
    ("ssh_port_t", &[22], &[]),
    ("git_port_t", &[9418], &[9418]),
];
