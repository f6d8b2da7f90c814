//! The operations and filters, by name.

/// The operations that decide something about a policy's objects, each with the one that it falls back on. `""`: the
/// default.
pub(super) const PARENTS: [(&str, &str); 21] = [
    ("file*", ""),
    ("file-read*", "file*"),
    ("file-read-data", "file-read*"),
    ("file-read-xattr", "file-read*"),
    ("file-map-executable", ""),
    ("file-write*", "file*"),
    ("file-write-create", "file-write*"),
    ("file-write-data", "file-write*"),
    ("file-write-unlink", "file-write*"),
    ("file-write-mode", "file-write*"),
    ("file-write-owner", "file-write*"),
    ("file-write-flags", "file-write*"),
    ("file-write-times", "file-write*"),
    ("file-write-xattr", "file-write*"),
    ("process*", ""),
    ("process-exec*", "process*"),
    ("process-exec", "process-exec*"),
    ("network*", ""),
    ("network-outbound", "network*"),
    ("network-inbound", "network*"),
    ("network-bind", "network-inbound"),
];

/// Operations that decide nothing about a policy's objects.
pub(super) const OTHERS: &[&str] = &[
    "file-ioctl",
    "file-issue-extension",
    "file-read-metadata",
    "file-test-existence",
    "file-write-setugid",
    "ipc*",
    "ipc-posix*",
    "ipc-posix-sem",
    "ipc-posix-shm",
    "ipc-posix-shm*",
    "ipc-posix-shm-read*",
    "ipc-posix-shm-read-data",
    "ipc-posix-shm-read-metadata",
    "ipc-posix-shm-write*",
    "ipc-posix-shm-write-create",
    "ipc-posix-shm-write-data",
    "ipc-posix-shm-write-unlink",
    "ipc-sysv*",
    "ipc-sysv-sem",
    "ipc-sysv-shm",
    "iokit*",
    "iokit-get-properties",
    "iokit-open",
    "lsopen",
    "mach*",
    "mach-bootstrap",
    "mach-host*",
    "mach-lookup",
    "mach-per-user-lookup",
    "mach-priv*",
    "mach-register",
    "mach-task-name",
    "process-fork",
    "process-info*",
    "process-info-dirtycontrol",
    "process-info-listpids",
    "process-info-pidfdinfo",
    "process-info-pidinfo",
    "process-info-setcontrol",
    "pseudo-tty",
    "signal",
    "sysctl*",
    "sysctl-read",
    "sysctl-write",
    "system*",
    "system-fsctl",
    "system-info",
    "system-socket",
    "user-preference-read",
    "user-preference-write",
];

/// Filters of those.
pub(super) const OTHER_FILTERS: &[&str] = &[
    "extension",
    "global-name",
    "global-name-regex",
    "info-type",
    "iokit-connection",
    "iokit-property",
    "iokit-user-client-class",
    "ipc-posix-name",
    "ipc-posix-name-regex",
    "local-name",
    "preference-domain",
    "socket-domain",
    "socket-protocol",
    "socket-type",
    "sysctl-name",
    "sysctl-name-regex",
    "target",
    "xpc-service-name",
];

/// The operation, and those that it falls back on, in order.
pub(super) fn chain(operation: &'static str) -> impl Iterator<Item = &'static str> {
    let parent = |o: &&'static str| {
        let found = PARENTS.iter().find(|(name, _)| name == o);
        found.map(|(_, parent)| *parent).filter(|p| !p.is_empty())
    };
    std::iter::successors(Some(operation), parent)
}
