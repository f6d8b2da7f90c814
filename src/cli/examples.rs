//! The examples at the end of each command's help. `tests/cli.rs` runs them.

/// Of `polc` itself.
pub const START: &str = "\
First steps:
  polc run -p builtin:coding-agent -- bash   a shell in the built-in policy
  polc init                                  write a policy of your own
  polc check                                 check it for mistakes
  polc explain read ~/.ssh/id_ed25519        ask which rule decides
  polc emit apparmor                         compile the policy for AppArmor";

/// Of `polc init`.
pub const INIT: &str = "\
Examples:
  polc init                       a few lines that extend builtin:coding-agent
  polc init data-analyst --full   another built-in policy, written out
  polc init --list                what there is";

/// Of `polc check`.
pub const CHECK: &str = "\
Examples:
  polc check
  polc check team.yaml web.yaml --strict
  polc check --no-host --format sarif > polc.sarif";

/// Of `polc emit`.
pub const EMIT: &str = "\
Examples:
  polc emit apparmor > agent.apparmor
  polc emit all -o made/
  polc emit all -o made/ --check       exit 1 if the files are not the policy's";

/// Of `polc enforce`.
pub const ENFORCE: &str = "\
Examples:
  polc enforce landlock --dry-run
  polc enforce landlock -- git status";

/// Of `polc trust`.
pub const TRUST: &str = "\
Examples:
  polc trust            the polc.yaml here or above, after showing what it allows
  polc trust --show     all of that, or all that changed; trusts nothing
  polc trust --list
  polc trust --revoke";

/// Of `polc run`.
pub const RUN: &str = "\
Examples:
  polc run -- bash
  polc run -p builtin:coding-agent --explain -- npm test
  polc run --no-network -- make";

/// Of `polc explain`.
pub const EXPLAIN: &str = "\
Examples:
  polc explain read ~/.ssh/id_ed25519
  polc explain edit src/main.rs
  polc explain connect example.org:443
  polc explain run git push origin main
  polc explain P305";

/// Of `polc coverage`.
pub const COVERAGE: &str = "\
Examples:
  polc coverage
  polc coverage --layers landlock,seccomp --require safe
  polc coverage --format html -o coverage.html";

/// Of `polc verify`.
pub const VERIFY: &str = "\
Examples:
  polc verify /etc/apparmor.d/agent
  polc verify made/ --format json";

/// Of `polc diff`.
pub const DIFF: &str = "\
Examples:
  polc diff builtin:coding-agent polc.yaml
  polc diff old.yaml new.yaml --fail-on newly-allowed
  polc diff polc.yaml /etc/apparmor.d/agent";

/// Of `polc why`.
pub const WHY: &str = "\
Examples:
  journalctl -k | polc why -
  polc why /var/log/audit/audit.log --format json";

/// Of `polc test`.
pub const TEST: &str = "\
Examples:
  polc test
  polc test --layers all --lost
  polc test --no-host team.yaml";

/// Of `polc targets`.
pub const TARGETS: &str = "\
Example:
  polc targets";

/// Of `polc schema`.
pub const SCHEMA: &str = "\
Example:
  polc schema > polc.schema.json";

/// Of `polc completions`.
pub const COMPLETIONS: &str = "\
Example:
  polc completions bash > ~/.local/share/bash-completion/completions/polc";

/// Of `polc man`.
pub const MAN: &str = "\
Example:
  polc man > polc.1";
