//! The environment of the program: what the policy passes on and sets, and nothing else.

use crate::policy::Environment;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The variables that the program starts with, of those that this process has.
pub fn reduced(
    environment: &Environment,
    own: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let passes = |name: &OsStr| match &environment.pass {
        None => true,
        Some(list) => list.iter().any(|p| match p.strip_suffix('*') {
            Some(start) => name.as_bytes().starts_with(start.as_bytes()),
            None => name.as_bytes() == p.as_bytes(),
        }),
    };
    let set = |name: &OsStr| environment.set.iter().any(|(n, _)| OsStr::new(n) == name);
    let mut out: Vec<_> = own
        .into_iter()
        .filter(|(name, _)| passes(name) && !set(name))
        .collect();
    out.extend(
        environment
            .set
            .iter()
            .map(|(n, v)| (OsString::from(n), OsString::from(v))),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_passes_and_what_is_set_wins() {
        let own = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("TOKEN", "x"),
            ("HOME", "/root"),
        ];
        let own = own.map(|(a, b)| (OsString::from(a), OsString::from(b)));
        let policy = Environment {
            pass: Some(vec!["PATH".into(), "LC_*".into(), "HOME".into()]),
            set: vec![("HOME".into(), "/h".into())],
        };
        let got = reduced(&policy, own.clone());
        let want = [("PATH", "/bin"), ("LC_ALL", "C"), ("HOME", "/h")];
        assert_eq!(got, want.map(|(a, b)| (a.into(), b.into())));
        assert_eq!(reduced(&Environment::default(), own.clone()), own);
        let nothing = Environment {
            pass: Some(vec![]),
            set: vec![],
        };
        assert!(reduced(&nothing, own).is_empty());
    }
}
