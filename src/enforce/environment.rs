//! The program's environment: what the policy passes on and sets, and [one variable](MARK) of polc's own.

use crate::policy::Environment;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The variable that says to the program and its children that polc confines them. Its value is `1`.
pub const MARK: &str = "POLC_SANDBOX";

/// Whether the policy passes a variable of this name on.
#[must_use]
pub fn passes(environment: &Environment, name: &OsStr) -> bool {
    match &environment.pass {
        None => true,
        Some(list) => list.iter().any(|p| match p.strip_suffix('*') {
            Some(start) => name.as_bytes().starts_with(start.as_bytes()),
            None => name.as_bytes() == p.as_bytes(),
        }),
    }
}

/// Gives the program a variable that polc sets. It replaces a variable with that name. Options of the JVM are appended
/// to those that the user has given.
pub fn give(variables: &mut Vec<(OsString, OsString)>, name: &str, value: &str) {
    let mut value = OsString::from(value);
    if name == JVM_OPTIONS
        && let Some((_, own)) = variables.iter().find(|(n, _)| n == name)
    {
        let mut all = own.clone();
        all.push(" ");
        all.push(&value);
        value = all;
    }
    variables.retain(|(n, _)| n != name);
    variables.push((OsString::from(name), value));
}

/// The variable in which the JVM finds options. The JVM ignores the variables that name a proxy.
pub const JVM_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// The variables for the program, chosen from those of this process.
pub fn reduced(
    environment: &Environment,
    own: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let set = |name: &OsStr| environment.set.iter().any(|(n, _)| OsStr::new(n) == name);
    let mut out: Vec<_> = own
        .into_iter()
        .filter(|(name, _)| passes(environment, name) && !set(name) && name != MARK)
        .collect();
    let own_mark = (MARK.to_owned(), "1".to_owned());
    let set = environment.set.iter().filter(|(n, _)| n != MARK);
    out.extend(
        set.chain([&own_mark])
            .map(|(n, v)| (OsString::from(n), OsString::from(v))),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_jvm_are_added_and_other_variables_replaced() {
        let own = [
            ("JAVA_TOOL_OPTIONS", "-Xmx1g"),
            ("HTTP_PROXY", "http://old"),
        ];
        let mut all: Vec<_> = own.map(|(n, v)| (n.into(), v.into())).to_vec();
        give(&mut all, "JAVA_TOOL_OPTIONS", "-Dx=y");
        give(&mut all, "HTTP_PROXY", "http://new");
        let want = [
            ("JAVA_TOOL_OPTIONS", "-Xmx1g -Dx=y"),
            ("HTTP_PROXY", "http://new"),
        ];
        assert_eq!(all, want.map(|(n, v)| (n.into(), v.into())));
    }

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
        let pairs = |all: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
            all.iter().map(|(a, b)| (a.into(), b.into())).collect()
        };
        let want = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("HOME", "/h"),
            (MARK, "1"),
        ];
        assert_eq!(got, pairs(&want));
        let mut all = own.to_vec();
        all.extend(pairs(&[(MARK, "1")]));
        assert_eq!(reduced(&Environment::default(), own.clone()), all);
        // Neither the caller nor the policy can remove the mark.
        let lying = Environment {
            pass: None,
            set: vec![(MARK.into(), String::new())],
        };
        assert_eq!(
            reduced(&lying, pairs(&[(MARK, "0")])),
            pairs(&[(MARK, "1")])
        );
        let nothing = Environment {
            pass: Some(vec![]),
            set: vec![],
        };
        assert_eq!(reduced(&nothing, own), pairs(&[(MARK, "1")]));
    }
}
