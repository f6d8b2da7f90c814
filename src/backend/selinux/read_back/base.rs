//! The reader's own table of the reference policy: the types of files, and what every domain may do with them.
//! matchpathcon and sesearch gave these facts for Debian 12's policy (2.20221101).

use super::contexts::Applies::{self, Everything, Files};

/// A file context of the base policy. It has a path, in which `*` is any run of bytes of a name. It has whether the
/// context is also for what lies beneath, the type, and the kind of object. A context for directories alone (`/etc`)
/// stands here for everything, because nothing else can be at that path.
pub(super) const CONTEXTS: &[(&str, bool, &str, Applies)] = &[
    ("/", false, "root_t", Everything),
    ("/bin", true, "bin_t", Everything),
    ("/sbin", true, "bin_t", Everything),
    ("/usr/bin", true, "bin_t", Everything),
    ("/usr/sbin", true, "bin_t", Everything),
    ("/usr/libexec", true, "bin_t", Everything),
    ("/usr/local/bin", true, "bin_t", Everything),
    ("/usr/local/sbin", true, "bin_t", Everything),
    ("/lib", true, "lib_t", Everything),
    ("/lib64", true, "lib_t", Everything),
    ("/usr/lib", true, "lib_t", Everything),
    ("/usr/lib64", true, "lib_t", Everything),
    ("/usr/local/lib", true, "lib_t", Everything),
    ("/usr", true, "usr_t", Everything),
    ("/opt", true, "usr_t", Everything),
    ("/usr/src", true, "src_t", Everything),
    ("/usr/lib/locale", true, "locale_t", Everything),
    ("/usr/share/locale", true, "locale_t", Everything),
    ("/usr/share/zoneinfo", true, "locale_t", Everything),
    ("/etc", true, "etc_t", Everything),
    ("/etc/ssl", true, "cert_t", Everything),
    ("/etc/hosts", false, "net_conf_t", Files),
    ("/etc/ld.so.cache", false, "ld_so_cache_t", Files),
    ("/etc/ld.so.preload", false, "ld_so_cache_t", Files),
    ("/etc/selinux", true, "selinux_config_t", Everything),
    ("/dev", true, "device_t", Everything),
    ("/dev/hugepages", true, "hugetlbfs_t", Everything),
    ("/dev/mqueue", true, "tmpfs_t", Everything),
    ("/dev/pts", true, "devpts_t", Everything),
    ("/dev/shm", true, "tmpfs_t", Everything),
    ("/etc/resolv.conf*", true, "net_conf_t", Files),
    ("/etc/localtime", false, "locale_t", Files),
    ("/etc/timezone", false, "locale_t", Files),
    ("/etc/shadow*", true, "shadow_t", Files),
    ("/etc/gshadow*", true, "shadow_t", Files),
    ("/etc/ld-musl-*.path", false, "ld_so_cache_t", Files),
    ("/lib/**/ld-*.so", false, "ld_so_t", Files),
    ("/lib/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/lib32/**/ld-*.so", false, "ld_so_t", Files),
    ("/lib32/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/lib64/**/ld-*.so", false, "ld_so_t", Files),
    ("/lib64/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/libx32/**/ld-*.so", false, "ld_so_t", Files),
    ("/libx32/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/lib/**/ld-*.so", false, "ld_so_t", Files),
    ("/usr/lib/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/lib32/**/ld-*.so", false, "ld_so_t", Files),
    ("/usr/lib32/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/lib64/**/ld-*.so", false, "ld_so_t", Files),
    ("/usr/lib64/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/libx32/**/ld-*.so", false, "ld_so_t", Files),
    ("/usr/libx32/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/local/lib/**/ld-*.so", false, "ld_so_t", Files),
    ("/usr/local/lib/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/local/lib32/**/ld-*.so", false, "ld_so_t", Files),
    ("/usr/local/lib32/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/local/lib64/**/ld-*.so", false, "ld_so_t", Files),
    ("/usr/local/lib64/**/ld-*.so.*", false, "ld_so_t", Files),
    ("/usr/games/*", true, "games_exec_t", Files),
    ("/tmp", false, "tmp_t", Everything),
    ("/lib32", true, "lib_t", Everything),
    ("/libx32", true, "lib_t", Everything),
    ("/usr/lib32", true, "lib_t", Everything),
    ("/usr/libx32", true, "lib_t", Everything),
    ("/lib/locale", true, "locale_t", Everything),
    ("/lib64/locale", true, "locale_t", Everything),
    ("/usr/lib64/locale", true, "locale_t", Everything),
    ("/usr/local/lib/locale", true, "locale_t", Everything),
    ("/etc/ppp", true, "pppd_etc_rw_t", Files),
    ("/etc/ppp", false, "pppd_etc_t", Everything),
    ("/etc/ppp/peers", true, "pppd_etc_rw_t", Everything),
    ("/etc/selinux/policy", true, "policy_config_t", Everything),
    ("/etc/selinux/*/policy", true, "policy_config_t", Everything),
    ("/etc/audit", true, "auditd_etc_t", Everything),
    ("/etc/monit", true, "monit_conf_t", Everything),
    (
        "/etc/dkimkeys",
        true,
        "dkim_milter_private_key_t",
        Everything,
    ),
    (
        "/etc/opendkim/keys",
        true,
        "dkim_milter_private_key_t",
        Everything,
    ),
    ("/etc/tcb", true, "shadow_t", Files),
    ("/etc/krb5.keytab", false, "krb5_keytab_t", Files),
    ("/etc/krb5kdc/kadm5.keytab", false, "krb5_keytab_t", Files),
    ("/run", false, "var_run_t", Everything),
    ("/run/resolvconf", true, "etc_t", Everything),
    ("/run/resolvconf", true, "net_conf_t", Files),
    (
        "/var/db/dkim",
        true,
        "dkim_milter_private_key_t",
        Everything,
    ),
    ("/var/db/shadow*", true, "shadow_t", Files),
    ("/var/log/audit", true, "auditd_log_t", Everything),
    ("/var/spool/audit", true, "audit_spool_t", Everything),
    // Within `/opt`, at any depth. If two are equally long, the one that comes later in the alphabet wins.
    ("/opt/**/var/lib", true, "var_lib_t", Everything),
    ("/opt/**/var/lib64", true, "var_lib_t", Everything),
    ("/opt/**/bin/java*", false, "java_exec_t", Files),
    ("/opt/**/libexec", true, "bin_t", Everything),
    ("/opt/**/lib64", true, "lib_t", Everything),
    ("/opt/**/sbin", true, "bin_t", Everything),
    ("/opt/**/man", true, "man_t", Everything),
    ("/opt/**/lib", true, "lib_t", Everything),
    ("/opt/**/bin", true, "bin_t", Everything),
    ("/opt/**/*.cgi", false, "httpd_sys_script_exec_t", Files),
    ("/opt/**/*.so", false, "lib_t", Everything),
];

/// Labels within `/etc`, one line each: the kind of object, the type, and names beneath `/etc`.
const WITHIN_ETC: &str = include_str!("etc.txt");

/// Each of them: a path as in [`CONTEXTS`], whether it is also for what lies beneath, the type, and the kind of object.
pub(super) fn within_etc() -> impl Iterator<Item = (String, bool, &'static str, Applies)> {
    let lines = WITHIN_ETC.lines().filter(|l| !l.starts_with('#'));
    lines.flat_map(|line| {
        let mut words = line.split(' ');
        let applies = match words.next() {
            Some("--") => Files,
            Some("-d") => Applies::Directories,
            _ => Everything,
        };
        let label = words.next().unwrap_or_default();
        words.map(move |name| {
            let (name, tree) = match name.strip_suffix('/') {
                Some(name) => (name, true),
                None => (name, false),
            };
            (format!("/etc/{name}"), tree, label, applies)
        })
    })
}

/// Programs with a type of their own: the type, whether they have it in `sbin` too, and their names. A `*` stands for
/// the rest of a name. At the end of a name without a dot, it stands for anything that follows.
pub(super) const PROGRAMS: &[(&str, bool, &str)] = &[
    (
        "shell_exec_t",
        false,
        "sh ash dash bash bash2 fish mksh sash tcsh yash ksh* zsh*",
    ),
    ("crond_exec_t", true, "atd"),
    ("crontab_exec_t", false, "at crontab"),
    ("chfn_exec_t", false, "chfn chsh"),
    (
        "fsadm_exec_t",
        true,
        "fdisk losetup* mkfs* parted swapoff swapon*",
    ),
    ("groupadd_exec_t", true, "gpasswd"),
    ("hwclock_exec_t", true, "hwclock"),
    ("init_exec_t", true, "init"),
    ("iptables_exec_t", true, "ip6tables iptables nft"),
    ("kdump_exec_t", true, "kexec"),
    ("kmod_exec_t", true, "insmod* kmod modprobe* rmmod*"),
    ("login_exec_t", false, "login"),
    ("lvm_exec_t", true, "cryptsetup dmsetup"),
    ("mount_exec_t", false, "fusermount fusermount3"),
    ("mount_exec_t", true, "mount mount.* umount umount.*"),
    ("netutils_exec_t", true, "tcpdump"),
    ("passwd_exec_t", false, "chage passwd"),
    ("screen_exec_t", false, "screen tmux"),
    ("shutdown_exec_t", true, "shutdown"),
    ("ssh_exec_t", false, "ssh"),
    ("su_exec_t", false, "su"),
    ("sudo_exec_t", false, "sudo sudoedit"),
    ("systemd_nspawn_exec_t", false, "systemd-nspawn"),
    ("virsh_exec_t", false, "virsh"),
];

/// Each of them with its type, in its directory and in the aliases of that directory.
pub(super) fn programs() -> impl Iterator<Item = (String, &'static str)> {
    PROGRAMS.iter().flat_map(|(label, system, names)| {
        let folders: &[&str] = match system {
            true => &["/usr/bin", "/bin", "/usr/sbin", "/sbin"],
            false => &["/usr/bin", "/bin"],
        };
        names.split(' ').flat_map(move |name| {
            let paths = folders.iter().map(move |f| format!("{f}/{name}"));
            paths.map(|p| (p, *label))
        })
    })
}

/// Patterns for which the base policy has an entry with a label of its own. `semodule` takes no second entry. Each
/// pattern is there for a directory, and with `/.*` for what lies beneath.
pub(super) const TAKEN: [&str; 10] = [
    "/boot", "/dev", "/etc", "/opt", "/proc", "/run", "/srv", "/tmp", "/usr", "/var",
];

/// The type of files that no context above is for.
pub(super) const OTHER: &str = "default_t";

/// Further types that rules may be about without any effect on paths or ports.
pub(super) const WITHOUT_PATHS: [&str; 4] =
    ["node_t", "unconfined_t", "user_devpts_t", "default_t"];

/// Types without the attribute `non_security_file_type`.
pub(super) const SECURITY: [&str; 8] = [
    "audit_spool_t",
    "auditd_etc_t",
    "auditd_log_t",
    "dkim_milter_private_key_t",
    "krb5_keytab_t",
    "monit_conf_t",
    "policy_config_t",
    "shadow_t",
];

/// What the attribute `domain` brings: type, class, permissions.
pub(super) const DOMAIN: &[(&str, &str, &[&str])] = &[
    ("device_t", "dir", &["open", "read", "search", "getattr"]),
    ("etc_t", "dir", &["open", "read", "search", "getattr"]),
    ("ld_so_cache_t", "file", &["open", "read", "map", "getattr"]),
    (
        "ld_so_t",
        "file",
        &["open", "read", "map", "getattr", "execute"],
    ),
    ("lib_t", "dir", &["open", "read", "search", "getattr"]),
    ("lib_t", "file", &["open", "read", "map", "getattr"]),
    ("root_t", "dir", &["open", "read", "search", "getattr"]),
    ("var_run_t", "dir", &["open", "read", "search", "getattr"]),
];

/// The first and the last port that the kernel gives out by itself (`ip_local_port_range`). They need no `name_bind`.
pub(super) const GIVEN_OUT: [u16; 2] = [32_768, 60_999];

/// Types of ports, with their TCP and their UDP ports.
pub(super) const PORTS: &[(&str, &[u16], &[u16])] = &[
    ("dns_port_t", &[53, 853], &[53]),
    ("git_port_t", &[9418], &[9418]),
    ("http_port_t", &[80, 443, 488, 8008, 8009, 8443], &[]),
    ("ssh_port_t", &[22], &[]),
];
