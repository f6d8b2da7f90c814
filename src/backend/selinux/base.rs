//! What the compiler knows of the reference policy's labels: facts asked of Debian 12's with
//! matchpathcon and sesearch.

/// A base type that rules may be about, and the trees that it stands for.
pub struct BaseType {
    pub name: &'static str,
    /// The first is the one whose decision counts; the others have the same label.
    pub trees: &'static [&'static str],
    /// Whether programs of it are started.
    pub programs: bool,
}

/// Types of files.
pub const TYPES: [BaseType; 6] = [
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
        programs: true,
    },
    BaseType {
        name: "lib_t",
        trees: &["/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/local/lib"],
        programs: true,
    },
    BaseType {
        name: "locale_t",
        trees: &[
            "/usr/share/zoneinfo",
            "/usr/share/locale",
            "/usr/lib/locale",
        ],
        programs: false,
    },
    BaseType {
        name: "cert_t",
        trees: &["/etc/ssl"],
        programs: false,
    },
    BaseType {
        name: "etc_t",
        trees: &["/etc"],
        programs: false,
    },
    BaseType {
        name: "usr_t",
        trees: &["/usr", "/opt"],
        programs: false,
    },
];

/// Objects below those trees with a label that no rule is about.
pub const SPECIAL: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/localtime",
    "/usr/src/**",
    "/usr/games/**",
    "/usr/bin/sudo",
    "/usr/bin/su",
    "/usr/bin/passwd",
    "/usr/bin/mount",
];

/// What every domain may read: the loader's cache (`ld_so_cache_t`).
pub const EVERYONE_READS: [&str; 3] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld-musl-*.path",
];

/// What every domain may list (`root_t`, `device_t`).
pub const EVERYONE_LISTS: [&str; 2] = ["/", "/dev/**"];

/// Directories beneath those that have another type.
pub const NOT_LISTED: [&str; 4] = [
    "/dev/pts/**",
    "/dev/shm/**",
    "/dev/hugepages/**",
    "/dev/mqueue/**",
];

/// What the base policy asserts that ordinary domains never touch: it is not of `non_security_file_type`.
pub const SECURITY: [&str; 3] = ["/etc/shadow", "/etc/gshadow", "/etc/selinux/**"];

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

/// Port types of TCP and UDP with the ports that each has.
pub const PORTS: [(&str, &[u16]); 4] = [
    ("http_port_t", &[80, 81, 443, 488, 8008, 8009, 8443, 9000]),
    ("dns_port_t", &[53, 853]),
    ("ssh_port_t", &[22]),
    ("git_port_t", &[9418]),
];
