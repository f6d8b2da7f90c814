//! Small values: names, sizes, durations, numbers, capabilities.

use super::node::{Node, Type};
use super::reader::{Report, fields, list, nearest, nonempty, quoted, text, texts, word};
use crate::diagnostics::{Diagnostic, codes};
use crate::policy::{CreateMissing, Environment, Limits, Platform, Platforms, Rate, Subject};
use std::rc::Rc;

/// The capabilities of Linux 6.12 (include/uapi/linux/capability.h), without `CAP_`.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// Whether a text is a valid name for a policy, a rule or a set.
#[must_use]
pub fn is_name(t: &str) -> bool {
    t.len() <= 63
        && t.starts_with(|c: char| c.is_ascii_alphanumeric())
        && t.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A name of a policy, a rule or a set.
pub(crate) fn name<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n str> {
    let t = nonempty(node, what, report)?;
    if is_name(t) {
        return Some(t);
    }
    let mut d = Diagnostic::error(codes::BAD_NAME, format!("{} cannot be {what}", quoted(t)))
        .at(node.span, "not a name")
        .help("a name begins with a letter or digit, goes on with those, `.`, `_` and `-`, and has 63 bytes at most");
    let mended: String = t
        .trim()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let mended = mended.trim_matches(['-', '.', '_']);
    if t.is_ascii() && is_name(mended) && mended != t {
        d = d.suggest(node.span, mended, "such as");
    }
    report.push(d);
    None
}

fn whole(node: &Node, what: &str, max: u64, report: &mut Report) -> Option<u64> {
    let number = node
        .scalar()
        .filter(|s| s.plain && !s.text.is_empty() && s.text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|s| s.text.parse::<u64>().ok())
        .filter(|n| (1..=max).contains(n));
    if number.is_none() {
        report.error(
            codes::BAD_NUMBER,
            format!("`{what}` is a whole number from 1 to {max}"),
            node.span,
            "not one",
            "",
        );
    }
    number
}

/// The text of a scalar that YAML may take for a number (`2`, `30`).
fn raw<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n str> {
    match node.scalar() {
        Some(s) if matches!(s.resolve(), Type::Text | Type::Number) => Some(&s.text),
        _ => text(node, what, report),
    }
}

fn split_unit(t: &str) -> (&str, &str) {
    let at = t
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(t.len());
    (&t[..at], &t[at..])
}

/// A number with at most `places` decimals, times `10^places`.
fn decimal(t: &str, places: u32) -> Option<u64> {
    let (whole, fraction) = t.split_once('.').unwrap_or((t, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > places as usize {
        return None;
    }
    if !whole
        .bytes()
        .chain(fraction.bytes())
        .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let scale = 10u64.checked_pow(places)?;
    let fraction = format!("{fraction:0<width$}", width = places as usize)
        .parse::<u64>()
        .ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(scale)?
        .checked_add(fraction)
}

fn size(node: &Node, what: &str, report: &mut Report) -> Option<u64> {
    let t = raw(node, &format!("`{what}`"), report)?;
    let (number, unit) = split_unit(t);
    let shift = match unit {
        "B" => Some(0u32),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        "TiB" => Some(40),
        _ => None,
    };
    let bytes = shift.and_then(|s| {
        let thousandths = decimal(number, 3)?;
        let bytes = u128::from(thousandths) * (1u128 << s);
        bytes.is_multiple_of(1000).then_some(bytes / 1000)
    });
    // Kernels count bytes in signed 64-bit numbers.
    if let Some(b) = bytes
        .and_then(|b| u64::try_from(b).ok())
        .filter(|b| (1..=i64::MAX as u64).contains(b))
    {
        return Some(b);
    }
    let mut d = Diagnostic::error(codes::BAD_SIZE, format!("{} is not a size", quoted(t)))
        .at(node.span, "not a size");
    let meant = match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        "" | "b" | "bytes" | "byte" if !number.contains('.') => Some("B"),
        _ => None,
    };
    d = match meant.filter(|m| *m != unit && decimal(number, 3).is_some_and(|n| n > 0)) {
        Some(m) => d.suggest(node.span, format!("{number}{m}"), "a size has a unit"),
        None => d.help(
            "a number and `B`, `KiB`, `MiB`, `GiB` or `TiB`, such as `512MiB`; more than nothing",
        ),
    };
    report.push(d);
    None
}

/// Seconds of `1h30m`.
pub(crate) fn seconds(t: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = t;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let at = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match rest.as_bytes()[at] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        // Each unit appears once, and larger units come first: `1h30m`.
        if unit >= last {
            return None;
        }
        last = unit;
        total = total.checked_add(rest[..at].parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = &rest[at + 1..];
    }
    (1..=u64::from(u32::MAX)).contains(&total).then_some(total)
}

fn duration(node: &Node, what: &str, report: &mut Report) -> Option<u64> {
    let t = raw(node, &format!("`{what}`"), report)?;
    if let Some(s) = seconds(t) {
        return Some(s);
    }
    let mut d = Diagnostic::error(
        codes::BAD_DURATION,
        format!("{} is not a duration", quoted(t)),
    )
    .at(node.span, "not a duration");
    d = if !t.is_empty()
        && t.bytes().all(|b| b.is_ascii_digit())
        && seconds(&format!("{t}s")).is_some()
    {
        d.suggest(node.span, format!("{t}s"), "a duration has a unit")
    } else {
        d.help("a number and `s`, `m`, `h` or `d`, such as `30s` or `1h30m`; more than nothing")
    };
    report.push(d);
    None
}

pub(crate) const LIMIT_KEYS: [&str; 7] = [
    "memory",
    "cpus",
    "processes",
    "open_files",
    "cpu_time",
    "wall_time",
    "file_size",
];

/// `limits`.
pub(crate) fn limits(node: &Rc<Node>, report: &mut Report) -> Limits {
    let mut out = Limits::default();
    let Some(f) = fields(node, "`limits`", &LIMIT_KEYS, report) else {
        return out;
    };
    out.memory = f.get("memory").and_then(|n| size(n, "memory", report));
    out.file_size = f
        .get("file_size")
        .and_then(|n| size(n, "file_size", report));
    out.processes = f
        .get("processes")
        .and_then(|n| whole(n, "processes", 4_194_304, report));
    out.open_files = f
        .get("open_files")
        .and_then(|n| whole(n, "open_files", 2_147_483_584, report));
    out.cpu_time = f
        .get("cpu_time")
        .and_then(|n| duration(n, "cpu_time", report));
    out.wall_time = f
        .get("wall_time")
        .and_then(|n| duration(n, "wall_time", report));
    out.cpus = f.get("cpus").and_then(|n| {
        let found = n
            .scalar()
            .filter(|s| s.plain)
            .and_then(|s| decimal(&s.text, 3))
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| (1..=1_000_000).contains(n));
        if found.is_none() {
            report.error(
                codes::BAD_NUMBER,
                "`cpus` is a number from 0.001 to 1000, with three decimals at most",
                n.span,
                "not one",
                "",
            );
        }
        found
    });
    out
}

/// `environment`.
pub(crate) fn environment(node: &Rc<Node>, subject: &Subject, report: &mut Report) -> Environment {
    use super::expand::{Mode, expand_node};
    let mut out = Environment::default();
    let Some(f) = fields(node, "`environment`", &["pass", "set"], report) else {
        return out;
    };
    if let Some(pass) = f.get("pass")
        && let Some(items) = texts(pass, "`pass`", true, report)
    {
        let mut names = Vec::new();
        for (n, t) in items {
            if variable(t.strip_suffix('*').unwrap_or(t), t.ends_with('*')) {
                if !names.iter().any(|k| k == t) {
                    names.push(t.to_owned());
                }
            } else {
                bad_variable(n, t, report);
            }
        }
        out.pass = Some(names);
    }
    if let Some(set) = f.get("set")
        && let Some(entries) = pairs(set, "`set`", report)
    {
        for (key, name, value) in entries {
            if !variable(name, false) {
                bad_variable(key, name, report);
                continue;
            }
            let Some(t) = text(value, &format!("the value of {}", quoted(name)), report) else {
                continue;
            };
            let Some(e) = expand_node(value, t, subject, Mode::Text, report) else {
                continue;
            };
            if e.text.contains('\0') {
                report.error(
                    codes::BAD_VARIABLE_NAME,
                    "a NUL byte, which no variable can hold",
                    value.span,
                    "",
                    "",
                );
                continue;
            }
            out.set.push((name.to_owned(), e.text));
        }
    }
    out
}

fn variable(t: &str, wildcard: bool) -> bool {
    (wildcard || !t.is_empty())
        && !t.starts_with(|c: char| c.is_ascii_digit())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn bad_variable(node: &Node, t: &str, report: &mut Report) {
    report.error(
        codes::BAD_VARIABLE_NAME,
        format!("{} is not the name of an environment variable", quoted(t)),
        node.span,
        "not a name",
        "letters, digits and `_`, not beginning with a digit; in `pass` a name may end in `*`",
    );
}

/// The entries of a mapping with free keys, each once.
pub(crate) fn pairs<'n>(
    node: &'n Rc<Node>,
    what: &str,
    report: &mut Report,
) -> Option<Vec<(&'n Node, &'n str, &'n Rc<Node>)>> {
    let super::node::Kind::Map(entries) = &node.kind else {
        report.error(
            codes::WRONG_TYPE,
            format!("{what} is a mapping, not {}", node.type_name()),
            node.span,
            "expected `NAME: value`",
            "",
        );
        return None;
    };
    let mut seen = rustc_hash::FxHashMap::default();
    let mut out = Vec::new();
    for (k, v) in entries {
        let Some(name) = text(k, &format!("a key of {what}"), report) else {
            continue;
        };
        if let Some(first) = seen.insert(name, k.span) {
            report.push(
                Diagnostic::error(
                    codes::DUPLICATE_KEY,
                    format!("the key {} is written twice", quoted(name)),
                )
                .at(k.span, "again")
                .and_at(first, "first here"),
            );
            continue;
        }
        out.push((&**k, name, v));
    }
    Some(out)
}

/// `capabilities`.
pub(crate) fn capabilities(node: &Node, report: &mut Report) -> Vec<String> {
    let mut out = Vec::new();
    for (n, t) in texts(node, "`capabilities`", true, report).unwrap_or_default() {
        let upper = t.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if CAPABILITIES.contains(&bare) {
            out.push(format!("CAP_{bare}"));
            continue;
        }
        let mut d = Diagnostic::error(
            codes::UNKNOWN_CAPABILITY,
            format!("{} is not a Linux capability", quoted(t)),
        )
        .at(n.span, "unknown");
        d = match nearest(bare, CAPABILITIES) {
            Some(near) => d.suggest(
                n.span,
                format!("CAP_{near}"),
                format!("did you mean `CAP_{near}`?"),
            ),
            None if bare == "ALL" => d.help("name each one that the program needs"),
            None => d.help("capabilities(7) has the list, such as `CAP_NET_BIND_SERVICE`"),
        };
        report.push(d);
    }
    out.sort();
    out.dedup();
    out
}

/// `rate: 10/1m`.
pub(crate) fn rate(node: &Node, report: &mut Report) -> Option<Rate> {
    let t = text(node, "`rate`", report)?;
    let parsed = t.split_once('/').and_then(|(n, per)| {
        // `10/m` means ten in one minute.
        let seconds = seconds(per).or_else(|| seconds(&format!("1{per}")))?;
        let calls = n
            .parse::<u32>()
            .ok()
            .filter(|c| *c > 0 && n.bytes().all(|b| b.is_ascii_digit()))?;
        Some(Rate {
            calls,
            seconds: u32::try_from(seconds).ok()?,
        })
    });
    if parsed.is_none() {
        report.error(
            codes::BAD_RATE,
            format!("{} is not a rate", quoted(t)),
            node.span,
            "not a rate",
            "how many in which time, such as `10/1m`",
        );
    }
    parsed
}

/// `true` or `false`.
pub(crate) fn boolean(node: &Node, what: &str, report: &mut Report) -> Option<bool> {
    match node.scalar().filter(|s| s.resolve() == Type::Bool) {
        Some(s) if s.text == "true" => Some(true),
        Some(s) if s.text == "false" => Some(false),
        _ => {
            let message = format!("{what} is `true` or `false`");
            report.error(
                codes::UNKNOWN_VALUE,
                message,
                node.span,
                "neither",
                "the default is `false`",
            );
            None
        }
    }
}

/// `create_missing`: a boolean, or the programs that what is made is for.
pub(crate) fn create_missing(node: &Node, report: &mut Report) -> Option<CreateMissing> {
    if let Some(s) = node.scalar().filter(|s| s.resolve() == Type::Bool) {
        match s.text.as_str() {
            "true" => return Some(CreateMissing::Always),
            "false" => return Some(CreateMissing::No),
            _ => {}
        }
    }
    if let super::node::Kind::List(_) = &node.kind {
        let mut out = Vec::new();
        for (n, t) in texts(node, "`create_missing`", false, report)? {
            if t.is_empty() || t.contains('/') || t.contains('\0') {
                report.error(
                    codes::UNKNOWN_VALUE,
                    format!("{} is not the name of a program", quoted(t)),
                    n.span,
                    "not a name",
                    "write the name by which it is found in PATH, such as `npm`",
                );
            } else {
                out.push(t.to_owned());
            }
        }
        return Some(CreateMissing::For(out));
    }
    report.error(
        codes::UNKNOWN_VALUE,
        "`create_missing` is `true`, `false` or a list of programs",
        node.span,
        "none of them",
        "with a list, something is made where one of the programs is installed",
    );
    None
}

/// The platforms that a rule may be for.
const PLATFORMS: [(&str, Platform); 2] = [("linux", Platform::Linux), ("macos", Platform::MacOs)];

/// `platforms`.
pub(crate) fn platforms(node: &Node, report: &mut Report) -> Option<Platforms> {
    let all = list(node, "`platforms`", false, report)?;
    let known = all
        .iter()
        .filter_map(|n| word(n, "platform", codes::UNKNOWN_VALUE, &PLATFORMS, report));
    Platforms::of(known)
}

/// `allow_lints`.
pub(crate) fn lints(node: &Node, report: &mut Report) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for item in list(node, "`allow_lints`", false, report).unwrap_or_default() {
        let Some(f) = fields(
            item,
            "an entry of `allow_lints`",
            &["code", "reason"],
            report,
        ) else {
            continue;
        };
        let code = f.require("code", "an entry of `allow_lints`", report);
        let reason = f.require("reason", "an entry of `allow_lints`", report);
        let (Some(code), Some(reason)) = (code, reason) else {
            continue;
        };
        let (Some(c), Some(r)) = (
            text(code, "`code`", report),
            nonempty(reason, "`reason`", report),
        ) else {
            continue;
        };
        let lint =
            c.len() == 4 && c.starts_with('L') && c.bytes().skip(1).all(|b| b.is_ascii_digit());
        let lints: Vec<&str> = codes::ALL
            .iter()
            .map(|k| k.code)
            .filter(|k| k.starts_with('L'))
            .collect();
        if !lint || (!lints.is_empty() && !lints.contains(&c)) {
            let mut d = Diagnostic::error(
                codes::BAD_LINT,
                format!("{} is not the code of a lint", quoted(c)),
            )
            .at(code.span, "not a lint");
            d = match nearest(c, lints) {
                Some(near) => d.suggest(code.span, near, format!("did you mean `{near}`?")),
                None => d.help("codes of lints begin with `L`; errors cannot be allowed"),
            };
            report.push(d);
            continue;
        }
        out.push((c.to_owned(), r.to_owned()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (t, s) in [
            ("30s", Some(30)),
            ("1h30m", Some(5400)),
            ("2d", Some(172_800)),
            ("0s", None),
            ("", None),
            ("1", None),
            ("h", None),
            ("30m1h", None),
            ("1h1h", None),
            ("-1s", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("9999999d", None),
        ] {
            assert_eq!(seconds(t), s, "{t}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal("0.5", 3), Some(500));
        assert_eq!(decimal("2", 3), Some(2000));
        assert_eq!(decimal("1.005", 3), Some(1005));
        for bad in [
            "1.0005",
            ".5",
            "5.",
            "1e3",
            "",
            "+1",
            "99999999999999999999",
        ] {
            assert_eq!(decimal(bad, 3), None, "{bad}");
        }
    }
}
