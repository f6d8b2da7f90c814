//! Puts this process into a Landlock domain.
//!
//! The ruleset was made for this kernel's ABI and this host's files, so the kernel must take all of it. The `landlock`
//! crate has a "best effort" mode, which silently leaves out what a kernel lacks. polc never uses it. If a path has
//! gone since polc examined it, polc grants nothing on it, and names it.

use crate::backend::landlock::{AccessFs, AccessNet, Ruleset, Scope};
use crate::enforce::unlinked;
use landlock::{
    ABI, AccessFs as KernelFs, AccessNet as KernelNet, BitFlags, CompatLevel, Compatible, NetPort,
    PathBeneath, Ruleset as KernelRuleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope as KernelScope,
};
use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

/// Why a ruleset is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a part of it.
    #[error("the kernel refuses the Landlock ruleset: {0}")]
    Ruleset(#[from] RulesetError),
    /// A path exists and cannot be opened.
    #[error("cannot open `{path}` to grant rights on it: {error}")]
    Open {
        /// The path, printable.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The kernel took the ruleset, but does not enforce all of it.
    #[error("the kernel does not enforce the whole Landlock ruleset")]
    Partial,
}

/// A ruleset in the kernel that is not in force yet. Every step that needs a file is done.
pub struct Prepared {
    created: RulesetCreated,
    /// Paths that have gone since they were examined. Nothing is granted on them.
    pub gone: Vec<Vec<u8>>,
}

fn fs(right: AccessFs) -> KernelFs {
    match right {
        AccessFs::Execute => KernelFs::Execute,
        AccessFs::WriteFile => KernelFs::WriteFile,
        AccessFs::ReadFile => KernelFs::ReadFile,
        AccessFs::ReadDir => KernelFs::ReadDir,
        AccessFs::RemoveDir => KernelFs::RemoveDir,
        AccessFs::RemoveFile => KernelFs::RemoveFile,
        AccessFs::MakeChar => KernelFs::MakeChar,
        AccessFs::MakeDir => KernelFs::MakeDir,
        AccessFs::MakeReg => KernelFs::MakeReg,
        AccessFs::MakeSock => KernelFs::MakeSock,
        AccessFs::MakeFifo => KernelFs::MakeFifo,
        AccessFs::MakeBlock => KernelFs::MakeBlock,
        AccessFs::MakeSym => KernelFs::MakeSym,
        AccessFs::Refer => KernelFs::Refer,
        AccessFs::Truncate => KernelFs::Truncate,
    }
}

fn net(right: AccessNet) -> KernelNet {
    match right {
        AccessNet::BindTcp => KernelNet::BindTcp,
        AccessNet::ConnectTcp => KernelNet::ConnectTcp,
    }
}

fn scope(scope: Scope) -> KernelScope {
    match scope {
        Scope::AbstractUnixSocket => KernelScope::AbstractUnixSocket,
        Scope::Signal => KernelScope::Signal,
    }
}

/// Makes the ruleset in the kernel.
///
/// # Errors
/// The kernel refuses it, or a path cannot be opened.
pub fn prepare(ruleset: &Ruleset) -> Result<Prepared, Error> {
    let mut request = KernelRuleset::default().set_compatibility(CompatLevel::HardRequirement);
    let handled: BitFlags<KernelFs> = ruleset.handled_fs.iter().map(|a| fs(*a)).collect();
    if !handled.is_empty() {
        request = request.handle_access(handled)?;
    }
    let handled: BitFlags<KernelNet> = ruleset.handled_net.iter().map(|a| net(*a)).collect();
    if !handled.is_empty() {
        request = request.handle_access(handled)?;
    }
    let scoped: BitFlags<KernelScope> = ruleset.scoped.iter().map(|s| scope(*s)).collect();
    if !scoped.is_empty() {
        request = request.scope(scoped)?;
    }
    let mut created = request.create()?;
    for grant in &ruleset.ports {
        for port in &grant.ports {
            created = created.add_rule(NetPort::new(*port, net(grant.access)))?;
        }
    }
    let mut prepared = Prepared {
        created,
        gone: Vec::new(),
    };
    prepared.add(&ruleset.paths)?;
    Ok(prepared)
}

impl Prepared {
    /// Grants rights on paths, as they are now.
    ///
    /// # Errors
    /// The kernel refuses one, or a path cannot be opened.
    pub fn add(&mut self, paths: &[crate::backend::landlock::PathBeneath]) -> Result<(), Error> {
        for grant in paths {
            // A name on the way that became a link since it was looked at leads somewhere else.
            let opened = unlinked::open(None, &grant.parent, libc::O_PATH).map(std::fs::File::from);
            let file = match opened {
                Ok(file) => file,
                Err(e)
                    if matches!(
                        e.raw_os_error(),
                        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)
                    ) =>
                {
                    self.gone.push(grant.parent.clone());
                    continue;
                }
                Err(error) => {
                    return Err(Error::Open {
                        path: crate::fidelity::show_bytes(&grant.parent),
                        error,
                    });
                }
            };
            let now = match file.metadata() {
                Ok(now) => now,
                Err(error) => {
                    return Err(Error::Open {
                        path: crate::fidelity::show_bytes(&grant.parent),
                        error,
                    });
                }
            };
            // With O_PATH a link opens as itself.
            if now.is_symlink() || (grant.file && now.is_dir()) {
                self.gone.push(grant.parent.clone());
                continue;
            }
            let mut allowed: BitFlags<KernelFs> = grant.allowed.iter().map(|a| fs(*a)).collect();
            if !now.is_dir() {
                // A directory's right on a file is EINVAL.
                allowed &= KernelFs::from_file(ABI::V6);
            }
            if !allowed.is_empty() {
                (&mut self.created).add_rule(PathBeneath::new(file, allowed))?;
            }
        }
        Ok(())
    }

    /// Grants rights on the one object that a descriptor stands for, as far as the ruleset restricts them at all. A pipe
    /// or a socket without a path takes no rights, and needs none.
    pub fn grant(
        &mut self,
        descriptor: &BorrowedFd<'_>,
        rights: &BTreeSet<AccessFs>,
        ruleset: &Ruleset,
    ) {
        let handled = rights.intersection(&ruleset.handled_fs);
        let allowed: BitFlags<KernelFs> = handled.map(|a| fs(*a)).collect();
        if !allowed.is_empty() {
            // If the kernel takes no such rule, nothing is granted.
            let _ = (&mut self.created).add_rule(PathBeneath::new(descriptor, allowed));
        }
    }

    /// Tells the kernel to record each refusal, also after the program has started. By default it records only those of
    /// this process. Needs ABI 7.
    ///
    /// # Errors
    /// The kernel has no such records.
    pub fn logged(self) -> Result<Self, Error> {
        Ok(Self {
            created: self.created.log_new_exec(true)?,
            ..self
        })
    }

    /// Puts this thread, and what it starts from now on, into the domain. It can never leave the domain. Also sets
    /// `no_new_privs`: without it the kernel takes no ruleset from an ordinary user.
    ///
    /// # Errors
    /// The kernel refuses, or enforces less than was asked for.
    pub fn apply(self) -> Result<(), Error> {
        let status = self.created.restrict_self()?;
        if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
            Ok(())
        } else {
            Err(Error::Partial)
        }
    }
}
