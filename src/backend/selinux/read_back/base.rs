//! The reader's own table of the reference policy: which files have which type, and what a domain may do with
//! them whatever a module says. Asked of Debian 12's policy (2.20221101) with matchpathcon and sesearch.

/// A file context of the base policy: a path, whether it is for what lies beneath too, and the type.
pub(super) const CONTEXTS: &[(&str, bool, &str)] = &[
    ("/", false, "root_t"),
    ("/bin", true, "bin_t"),
    ("/sbin", true, "bin_t"),
    ("/usr/bin", true, "bin_t"),
    ("/usr/sbin", true, "bin_t"),
    ("/usr/libexec", true, "bin_t"),
    ("/usr/local/bin", true, "bin_t"),
    ("/usr/local/sbin", true, "bin_t"),
    ("/usr/bin/mount", false, "mount_exec_t"),
    ("/usr/bin/passwd", false, "passwd_exec_t"),
    ("/usr/bin/su", false, "su_exec_t"),
    ("/usr/bin/sudo", false, "sudo_exec_t"),
    ("/lib", true, "lib_t"),
    ("/lib64", true, "lib_t"),
    ("/usr/lib", true, "lib_t"),
    ("/usr/lib64", true, "lib_t"),
    ("/usr/local/lib", true, "lib_t"),
    ("/usr", true, "usr_t"),
    ("/opt", true, "usr_t"),
    ("/usr/games", true, "games_exec_t"),
    ("/usr/src", true, "src_t"),
    ("/usr/lib/locale", true, "locale_t"),
    ("/usr/share/locale", true, "locale_t"),
    ("/usr/share/zoneinfo", true, "locale_t"),
    ("/etc", true, "etc_t"),
    ("/etc/ssl", true, "cert_t"),
    ("/etc/hosts", false, "net_conf_t"),
    ("/etc/resolv.conf", false, "net_conf_t"),
    ("/etc/localtime", false, "locale_link_t"),
    ("/etc/ld.so.cache", false, "ld_so_cache_t"),
    ("/etc/ld.so.preload", false, "ld_so_cache_t"),
    ("/etc/shadow", false, "shadow_t"),
    ("/etc/gshadow", false, "shadow_t"),
    ("/etc/selinux", true, "selinux_config_t"),
    ("/dev", true, "device_t"),
    ("/dev/hugepages", true, "hugetlbfs_t"),
    ("/dev/mqueue", true, "tmpfs_t"),
    ("/dev/pts", true, "devpts_t"),
    ("/dev/shm", true, "tmpfs_t"),
];

/// `/etc/ld-musl-ARCH.path`: the same as the loader's cache. What comes before and behind the name's free part.
pub(super) const LOADER_PATHS: (&str, &str, &str) = ("/etc/ld-musl-", ".path", "ld_so_cache_t");

/// Files that no context above is for.
pub(super) const OTHER: &str = "default_t";

/// Types beside those with contexts that rules may be about without saying anything of paths or ports.
pub(super) const WITHOUT_PATHS: [&str; 5] = [
    "node_t",
    "tmp_t",
    "unconfined_t",
    "user_devpts_t",
    "default_t",
];

/// Types that `non_security_file_type` does not hold.
pub(super) const SECURITY: [&str; 2] = ["selinux_config_t", "shadow_t"];

/// What the attribute `domain` brings: type, class, permissions.
pub(super) const DOMAIN: &[(&str, &str, &[&str])] = &[
    ("device_t", "dir", &["open", "read", "search", "getattr"]),
    ("etc_t", "dir", &["open", "read", "search", "getattr"]),
    ("ld_so_cache_t", "file", &["open", "read", "map", "getattr"]),
    ("lib_t", "dir", &["open", "read", "search", "getattr"]),
    ("lib_t", "file", &["open", "read", "map", "getattr"]),
    ("root_t", "dir", &["open", "read", "search", "getattr"]),
];

/// Types of ports, TCP and UDP alike.
pub(super) const PORTS: &[(&str, &[u16])] = &[
    ("dns_port_t", &[53, 853]),
    ("git_port_t", &[9418]),
    ("http_port_t", &[80, 81, 443, 488, 8008, 8009, 8443, 9000]),
    ("ssh_port_t", &[22]),
];
