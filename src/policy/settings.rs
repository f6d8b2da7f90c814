//! Limits and environment.

/// Resource limits. `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processors, in thousandths (2 processors are 2000).
    pub cpus: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open descriptors of a process.
    pub open_files: Option<u64>,
    /// Processor time of a process, in seconds.
    pub cpu_time: Option<u64>,
    /// Elapsed time of the whole run, in seconds.
    pub wall_time: Option<u64>,
    /// The size of each written file, in bytes.
    pub file_size: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The environment of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The variables that the program gets, in the order of the policy. A name may end in `*`. `None`: all of them.
    pub pass: Option<Vec<String>>,
    /// The variables that polc sets, in the order of the policy.
    pub set: Vec<(String, String)>,
}
