//! Which hooks of the kernel are used for which operation.

use super::lower::Hook;
use super::model::{Arg, MatchArg, Nest, Operator};
use crate::policy::Operation;

/// A hook for one operation.
struct Known {
    operation: Operation,
    call: &'static str,
    /// Whether some kernels lack it.
    optional: bool,
    /// The arguments that the hook reads: their indices and their types.
    args: &'static [(u32, &'static str)],
    /// The index of the argument whose path is checked.
    judged: u32,
    /// Further conditions for the hook to be about the operation.
    when: &'static [(u32, Operator, &'static str)],
    /// Whether the operation deletes an existing object with the new name. A rename does not show whether there is one.
    replaces: bool,
    message: &'static str,
}

const FILE: &[(u32, &str)] = &[(0, "file")];
const PATH: &[(u32, &str)] = &[(0, "path")];
/// A file, and the kind of access.
const MASKED: &[(u32, &str)] = &[(0, "file"), (1, "int")];
/// A file, and the protection and flags of the mapping.
const MAPPED: &[(u32, &str)] = &[(0, "file"), (1, "uint64"), (2, "uint64")];

const fn known(
    operation: Operation,
    call: &'static str,
    args: &'static [(u32, &'static str)],
    message: &'static str,
) -> Known {
    Known {
        operation,
        call,
        optional: false,
        args,
        judged: 0,
        when: &[],
        replaces: false,
        message,
    }
}

/// MAY_READ is 4 and MAY_WRITE is 2 (include/linux/fs.h). PROT_WRITE is 2 and MAP_SHARED is 1. For reading, files and
/// directories pass the same hook.
const HOOKS: [Known; 17] = {
    use Operation::{Create, Delete, Edit, Execute, Metadata, Read};
    [
        Known {
            when: &[(1, Operator::Equal, "4")],
            ..known(Read, "security_file_permission", MASKED, "read")
        },
        known(Read, "security_mmap_file", MAPPED, "map"),
        Known {
            when: &[(1, Operator::Equal, "2")],
            ..known(Edit, "security_file_permission", MASKED, "write")
        },
        Known {
            when: &[(1, Operator::Mask, "2"), (2, Operator::Mask, "1")],
            ..known(Edit, "security_mmap_file", MAPPED, "map for writing")
        },
        Known {
            optional: true,
            ..known(Edit, "security_path_truncate", PATH, "truncate")
        },
        Known {
            optional: true,
            ..known(Edit, "security_file_truncate", FILE, "truncate")
        },
        known(Create, "security_path_mknod", PATH, "create"),
        known(Create, "security_path_mkdir", PATH, "create"),
        known(Create, "security_path_symlink", PATH, "create"),
        Known {
            judged: 1,
            ..known(Create, "security_path_link", &[(1, "path")], "link")
        },
        Known {
            judged: 2,
            replaces: true,
            ..known(Create, "security_path_rename", &[(2, "path")], "rename to")
        },
        known(Delete, "security_path_unlink", PATH, "delete"),
        known(Delete, "security_path_rmdir", PATH, "delete"),
        known(Delete, "security_path_rename", PATH, "rename away"),
        known(Metadata, "security_path_chmod", PATH, "change metadata"),
        known(Metadata, "security_path_chown", PATH, "change metadata"),
        known(
            Execute,
            "security_bprm_check",
            &[(0, "linux_binprm")],
            "execute",
        ),
    ]
};

/// The hooks that refuse what is denied of an operation. `Read` includes listing. `replaced` is what is denied of
/// creating or of deleting.
pub fn of(operation: Operation, denied: &Nest, replaced: &Nest) -> Vec<Hook> {
    let hooks = HOOKS.iter().filter(|h| h.operation == operation);
    hooks
        .map(|h| (h, if h.replaces { replaced } else { denied }))
        .filter(|(_, denied)| denied.denies())
        .map(|(h, denied)| h.with(denied))
        .collect()
}

impl Known {
    fn with(&self, denied: &Nest) -> Hook {
        let when = self.when.iter().map(|(index, operator, value)| MatchArg {
            index: *index,
            operator: *operator,
            values: vec![(*value).to_owned()],
        });
        let filters = denied.filters(self.judged).into_iter();
        let args = self.args.iter().map(|(index, kind)| Arg {
            index: *index,
            kind,
        });
        Hook {
            call: self.call,
            args: args.collect(),
            optional: self.optional,
            filters: filters
                .map(|f| f.into_iter().chain(when.clone()).collect())
                .collect(),
            message: self.message.to_owned(),
        }
    }
}
