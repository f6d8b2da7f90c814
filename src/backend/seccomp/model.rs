//! A filter as it is written: rules over system calls by name, with masked comparisons.
//!
//! One kind of comparison is enough here: `argument & mask == value`. An `int` argument is compared in its lower 32
//! bits only, because the kernel ignores the rest of the register.

use crate::policy::syscalls::Arch;
use serde::Serialize;

/// The error of a refused call.
pub const EPERM: u16 = 1;
/// The error of a call that does not exist. C libraries and language runtimes then try an older one.
pub const ENOSYS: u16 = 38;
/// Compares an `int`: the lower half of the register.
pub const INT: u64 = 0xffff_ffff;

/// What a filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It happens.
    Allow,
    /// It fails with this error.
    Errno(u16),
}

/// `argument & mask == value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    /// Which argument, from 0.
    pub index: u8,
    /// The bits that count.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
}

impl Condition {
    /// The `int` argument has this value.
    #[must_use]
    pub fn is(index: u8, value: u64) -> Self {
        Self {
            index,
            mask: INT,
            value,
        }
    }

    /// Of the bits of `mask`, exactly those of `value` are set.
    #[must_use]
    pub fn masked(index: u8, mask: u64, value: u64) -> Self {
        Self { index, mask, value }
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        arguments
            .get(usize::from(self.index))
            .is_some_and(|a| a & self.mask == self.value)
    }
}

/// System calls, and what happens to them if all conditions hold.
///
/// INVARIANT: a name has either one rule without conditions, or only rules with conditions. Rules with different
/// verdicts do not overlap, and no rule compares an argument twice. (Otherwise libseccomp and seccompiler let one rule
/// swallow the other, and runc reads a repeated index as "or".)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Sorted.
    pub names: Vec<&'static str>,
    /// What happens.
    pub verdict: Verdict,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// A whole filter. A call that no rule decides fails with [`ENOSYS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The architectures. Calls of any other architecture kill the process.
    pub arches: Vec<Arch>,
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Profile {
    /// What happens with a call.
    #[must_use]
    pub fn verdict(&self, name: &str, arguments: &[u64; 6]) -> Verdict {
        self.rules_for(name)
            .find(|r| r.conditions.iter().all(|c| c.holds(arguments)))
            .map_or(Verdict::Errno(ENOSYS), |r| r.verdict)
    }

    /// Whether a call is allowed with some arguments.
    #[must_use]
    pub fn may_allow(&self, name: &str) -> bool {
        self.rules_for(name).any(|r| r.verdict == Verdict::Allow)
    }

    /// The rules of one call.
    pub fn rules_for<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rule> + 'a {
        self.rules.iter().filter(move |r| r.names.contains(&name))
    }

    /// As OCI JSON: the `linux.seccomp` section of a container's configuration. `--security-opt seccomp=FILE` and a
    /// `Localhost` profile of Kubernetes take the same format.
    ///
    /// # Errors
    /// It never fails in practice, but serde's type demands it.
    pub fn to_oci(&self) -> Result<Vec<u8>, serde_json::Error> {
        let oci = Oci {
            default_action: "SCMP_ACT_ERRNO",
            default_errno_ret: ENOSYS,
            architectures: self.arches.iter().map(|a| scmp_arch(*a)).collect(),
            syscalls: self.rules.iter().map(OciRule::of).collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&oci)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn scmp_arch(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "SCMP_ARCH_X86_64",
        Arch::Aarch64 => "SCMP_ARCH_AARCH64",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Oci<'a> {
    default_action: &'static str,
    default_errno_ret: u16,
    architectures: Vec<&'static str>,
    syscalls: Vec<OciRule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciRule<'a> {
    names: &'a [&'static str],
    action: &'static str,
    /// Only with `SCMP_ACT_ERRNO`, because crun refuses it elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<OciArg>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciArg {
    index: u8,
    value: u64,
    value_two: u64,
    op: &'static str,
}

impl<'a> OciRule<'a> {
    fn of(rule: &'a Rule) -> Self {
        let (action, errno_ret) = match rule.verdict {
            Verdict::Allow => ("SCMP_ACT_ALLOW", None),
            Verdict::Errno(e) => ("SCMP_ACT_ERRNO", Some(e)),
        };
        let args = rule.conditions.iter().map(|c| OciArg {
            index: c.index,
            // The mask comes first.
            value: c.mask,
            value_two: c.value,
            op: "SCMP_CMP_MASKED_EQ",
        });
        Self {
            names: &rule.names,
            action,
            errno_ret,
            args: args.collect(),
        }
    }
}
