//! Parses the objects as the agent does. The reader refuses what the agent would refuse, and every key and word that
//! the reader does not know.

use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Object {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: Spanned<String>,
    namespace: Option<String>,
    #[serde(default)]
    #[allow(dead_code, reason = "it may be there and means nothing")]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    #[allow(dead_code, reason = "it may be there and means nothing")]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    pod_selector: Option<PodSelector>,
    #[serde(default)]
    options: Vec<SpecOption>,
    #[serde(default)]
    kprobes: Vec<Spanned<Kprobe>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodSelector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecOption {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kprobe {
    call: String,
    syscall: Option<bool>,
    ignore: Option<Ignore>,
    #[allow(dead_code, reason = "it is for people")]
    message: Option<String>,
    #[serde(default)]
    #[allow(dead_code, reason = "they are for people")]
    tags: Vec<String>,
    #[serde(default)]
    args: Vec<Arg>,
    #[serde(default)]
    selectors: Vec<Spanned<Selector>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Ignore {
    #[serde(default)]
    call_not_found: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arg {
    index: u32,
    #[serde(rename = "type")]
    kind: String,
    #[allow(dead_code, reason = "it is for people")]
    label: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    match_binaries: Vec<Binaries>,
    #[serde(default)]
    match_args: Vec<Filter>,
    #[serde(default)]
    match_actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Binaries {
    operator: String,
    values: Vec<String>,
    #[serde(default)]
    follow_children: bool,
}

/// One filter of a selector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    pub index: u32,
    pub operator: Operator,
    pub values: Vec<String>,
    /// The values as intervals of addresses, ascending and disjoint: whether IPv6, first, last.
    #[serde(skip)]
    pub addresses: Vec<(bool, u128, u128)>,
    /// The values as ranges of ports.
    #[serde(skip)]
    pub ports: Vec<(u16, u16)>,
}

impl Filter {
    fn read_network(&mut self) {
        match self.operator {
            Operator::SAddr | Operator::NotSAddr => {
                let mut list: Vec<(bool, u128, u128)> = Vec::with_capacity(self.values.len());
                for block in self.values.iter().filter_map(|v| block(v)) {
                    let (first, last) = block.bounds();
                    list.push((block.address.is_ipv6(), first, last));
                }
                list.sort_unstable();
                for (v6, first, last) in list {
                    match self.addresses.last_mut() {
                        Some(own) if own.0 == v6 && first <= own.2.saturating_add(1) => {
                            own.2 = own.2.max(last);
                        }
                        _ => self.addresses.push((v6, first, last)),
                    }
                }
            }
            Operator::SPort | Operator::NotSPort => {
                self.ports = self.values.iter().filter_map(|v| ports(v)).collect();
            }
            _ => {}
        }
    }

    /// Whether one of the addresses is this one.
    pub fn has_address(&self, ip: std::net::IpAddr) -> bool {
        let key = match ip {
            std::net::IpAddr::V4(ip) => (false, u128::from(u32::from(ip))),
            std::net::IpAddr::V6(ip) => (true, u128::from(ip)),
        };
        let behind = self.addresses.partition_point(|a| (a.0, a.1) <= key);
        let found = behind.checked_sub(1).map(|at| self.addresses[at]);
        found.is_some_and(|(v6, _, last)| v6 == key.0 && key.1 <= last)
    }

    /// Whether one of the ports is this one.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.iter().any(|(a, b)| (*a..=*b).contains(&port))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Prefix,
    NotPrefix,
    Postfix,
    NotPostfix,
    Mask,
    SAddr,
    NotSAddr,
    SPort,
    NotSPort,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Action {
    action: String,
    arg_error: Option<i32>,
}

/// The kind of a hook's argument, for the filters on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Path,
    Number,
    Address,
}

/// An argument: its index, the types under which Tetragon knows it, and what it is.
type Argument = (u32, &'static [&'static str], Kind);

/// The functions that the reader knows: their arguments by index, with the types that Tetragon has for them. The
/// arguments are in include/linux/lsm_hook_defs.h of Linux 6.1 and 6.12.
const CALLS: &[(&str, &[Argument])] = &[
    (
        "security_file_permission",
        &[(0, &["file"], Kind::Path), (1, NUMBERS, Kind::Number)],
    ),
    (
        "security_mmap_file",
        &[
            (0, &["file"], Kind::Path),
            (1, NUMBERS, Kind::Number),
            (2, NUMBERS, Kind::Number),
        ],
    ),
    ("security_path_truncate", &[(0, &["path"], Kind::Path)]),
    ("security_file_truncate", &[(0, &["file"], Kind::Path)]),
    ("security_path_mknod", &[(0, &["path"], Kind::Path)]),
    ("security_path_mkdir", &[(0, &["path"], Kind::Path)]),
    ("security_path_symlink", &[(0, &["path"], Kind::Path)]),
    ("security_path_link", &[(1, &["path"], Kind::Path)]),
    (
        "security_path_rename",
        &[(0, &["path"], Kind::Path), (2, &["path"], Kind::Path)],
    ),
    ("security_path_unlink", &[(0, &["path"], Kind::Path)]),
    ("security_path_rmdir", &[(0, &["path"], Kind::Path)]),
    ("security_path_chmod", &[(0, &["path"], Kind::Path)]),
    ("security_path_chown", &[(0, &["path"], Kind::Path)]),
    ("security_bprm_check", &[(0, &["linux_binprm"], Kind::Path)]),
    (
        "security_socket_create",
        &[(0, NUMBERS, Kind::Number), (1, NUMBERS, Kind::Number)],
    ),
    (
        "security_socket_connect",
        &[(1, &["sockaddr"], Kind::Address)],
    ),
    ("security_socket_bind", &[(1, &["sockaddr"], Kind::Address)]),
];

const NUMBERS: &[&str] = &["int", "uint32", "uint64", "int32", "int64", "size_t"];

/// Functions that some kernels lack: the first exists until 6.1, the second from 6.2 on.
const NOT_EVERYWHERE: [&str; 2] = ["security_path_truncate", "security_file_truncate"];

const MAX_SELECTORS: usize = 5;
const MAX_FILTERS: usize = 5;
const MAX_ACTIONS: usize = 3;
const MAX_NUMBERS: usize = 4;
const MAX_PREFIX: usize = 256;
const MAX_POSTFIX: usize = 127;
const MAX_BINARY: usize = 255;
const MAX_FOLLOWING: usize = 64;

/// A selector. The first selector of a hook whose filters all match decides.
#[derive(Debug)]
pub(super) struct Choice {
    pub denies: bool,
    pub filters: Vec<(Filter, Kind)>,
    pub line: usize,
}

/// One function that is hooked.
#[derive(Debug)]
pub(super) struct Hook {
    pub call: String,
    pub choices: Vec<Choice>,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub hooks: Vec<Hook>,
    /// The namespace of the pods.
    pub namespace: Option<String>,
    /// The labels of the pods.
    pub labels: BTreeMap<String, String>,
    /// The programs. An empty list: all of them. `None`: there is no selector that could say.
    pub binaries: Option<Vec<String>>,
}

/// What is wrong, and the line (0: the YAML reader's message has it).
type Fault = (usize, String);

fn line<T>(node: &Spanned<T>) -> usize {
    usize::try_from(node.referenced.line()).unwrap_or(0)
}

/// Everything in the text.
pub(super) fn read(text: &str) -> Result<Document, Fault> {
    let objects: Vec<Object> =
        serde_saphyr::from_multiple(text).map_err(|e| (0, one_line(&e.to_string())))?;
    let mut out = Vec::new();
    let mut subject: Option<(Option<String>, Option<PodSelector>)> = None;
    let mut binaries: Option<Vec<Binaries>> = None;
    let mut following = 0;
    for object in &objects {
        let at = line(&object.metadata.name);
        let namespaced = match object.kind.as_str() {
            "TracingPolicy" => false,
            "TracingPolicyNamespaced" => true,
            other => return Err((at, format!("`{other}` is no object that polc reads"))),
        };
        if object.api_version != "cilium.io/v1alpha1" {
            let version = &object.api_version;
            return Err((at, format!("`{version}` is no version that polc reads")));
        }
        if namespaced != object.metadata.namespace.is_some() {
            return Err((
                at,
                "a namespace goes with TracingPolicyNamespaced, and only with that".into(),
            ));
        }
        let bound = (
            object.metadata.namespace.clone(),
            object.spec.pod_selector.clone(),
        );
        if *subject.get_or_insert_with(|| bound.clone()) != bound {
            return Err((
                at,
                "the objects bind different pods, and polc reads a policy for one subject".into(),
            ));
        }
        let mut single = false;
        for option in &object.spec.options {
            match (option.name.as_str(), option.value.as_str()) {
                ("disable-kprobe-multi", value) => single = matches!(value, "1" | "true"),
                (name, _) => return Err((at, format!("the option `{name}` is not read"))),
            }
        }
        let mut calls: Vec<&str> = Vec::new();
        for probe in &object.spec.kprobes {
            let at = line(probe);
            let probe = &probe.value;
            let hook = hook(probe, single, at)?;
            if calls.contains(&probe.call.as_str()) {
                return Err((
                    at,
                    format!("`{}` is hooked twice in one object", probe.call),
                ));
            }
            calls.push(&probe.call);
            for selector in &probe.selectors {
                let own = &selector.value.match_binaries;
                if own.iter().any(|b| b.follow_children) {
                    following += 1;
                }
                if *binaries.get_or_insert_with(|| own.clone()) != *own {
                    return Err((
                        line(selector),
                        "the selectors bind different programs, and polc reads a policy for one subject"
                            .into(),
                    ));
                }
            }
            out.push(hook);
        }
    }
    if following > MAX_FOLLOWING {
        return Err((
            0,
            format!("{following} selectors follow children, and an agent takes {MAX_FOLLOWING}"),
        ));
    }
    let (namespace, pods) = subject.unwrap_or_default();
    Ok(Document {
        hooks: out,
        namespace,
        labels: pods.map(|p| p.match_labels).unwrap_or_default(),
        // A selector has at most one list.
        binaries: binaries.map(|mut b| b.pop().map(|b| b.values).unwrap_or_default()),
    })
}

/// A message without the excerpt that the YAML reader adds.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn hook(probe: &Kprobe, single: bool, at: usize) -> Result<Hook, Fault> {
    let call = probe.call.as_str();
    let Some((_, known)) = CALLS.iter().find(|(name, _)| *name == call) else {
        return Err((at, format!("`{call}` is no function that polc reads")));
    };
    if probe.syscall != Some(false) {
        return Err((
            at,
            format!("`{call}` without `syscall: false` is taken for a system call and not loaded"),
        ));
    }
    let ignored = probe.ignore.as_ref().is_some_and(|i| i.call_not_found);
    if NOT_EVERYWHERE.contains(&call) && !ignored {
        return Err((
            at,
            format!(
                "`{call}` is not in every kernel: without `ignore: {{callNotFound: true}}` nothing is loaded"
            ),
        ));
    }
    let mut kinds: Vec<(u32, Kind)> = Vec::new();
    for arg in &probe.args {
        let found = known
            .iter()
            .find(|(index, types, _)| *index == arg.index && types.contains(&arg.kind.as_str()));
        let Some((index, _, kind)) = found else {
            return Err((
                at,
                format!(
                    "`{call}` has no argument {} of the type `{}` that polc reads",
                    arg.index, arg.kind
                ),
            ));
        };
        kinds.push((*index, *kind));
    }
    if probe.selectors.len() > MAX_SELECTORS {
        return Err((at, format!("a hook takes {MAX_SELECTORS} selectors")));
    }
    let mut choices = Vec::new();
    for selector in &probe.selectors {
        choices.push(choice(selector, &kinds, single)?);
    }
    Ok(Hook {
        call: probe.call.clone(),
        choices,
    })
}

fn choice(
    selector: &Spanned<Selector>,
    kinds: &[(u32, Kind)],
    single: bool,
) -> Result<Choice, Fault> {
    let at = line(selector);
    let wrong = |message: String| Err((at, message));
    let selector = &selector.value;
    if selector.match_binaries.len() > 1 {
        return wrong("a selector takes one `matchBinaries`".into());
    }
    for binaries in &selector.match_binaries {
        if binaries.operator != "In" {
            return wrong(format!(
                "`matchBinaries` with `{}` binds all programs but some, which is no subject of a policy",
                binaries.operator
            ));
        }
        if !binaries.follow_children {
            return wrong(
                "`matchBinaries` without `followChildren: true`: another program that is started escapes"
                    .into(),
            );
        }
        let too_long = binaries.values.iter().any(|v| v.len() > MAX_BINARY);
        if too_long || binaries.values.is_empty() {
            return wrong(format!(
                "`matchBinaries` takes paths of at most {MAX_BINARY} bytes"
            ));
        }
    }
    if selector.match_args.len() > MAX_FILTERS {
        return wrong(format!("a selector takes {MAX_FILTERS} `matchArgs`"));
    }
    let mut filters = Vec::new();
    for filter in &selector.match_args {
        let Some((_, kind)) = kinds.iter().find(|(index, _)| *index == filter.index) else {
            return wrong(format!(
                "`matchArgs` on argument {}, which is not among `args`",
                filter.index
            ));
        };
        check(filter, *kind).map_err(|message| (at, message))?;
        let mut filter = filter.clone();
        filter.read_network();
        filters.push((filter, *kind));
    }
    Ok(Choice {
        denies: denies(&selector.match_actions, single).map_err(|message| (at, message))?,
        filters,
        line: at,
    })
}

/// Whether the actions stop the call.
fn denies(actions: &[Action], single: bool) -> Result<bool, String> {
    if actions.len() > MAX_ACTIONS {
        return Err(format!("a selector takes {MAX_ACTIONS} actions"));
    }
    let mut denies = false;
    for action in actions {
        match (action.action.as_str(), action.arg_error) {
            ("Override", Some(error)) if (-4095..0).contains(&error) => {
                if !single {
                    return Err(
                        "`Override` of such a function takes the option `disable-kprobe-multi`"
                            .into(),
                    );
                }
                denies = true;
            }
            ("Override", _) => {
                return Err("`Override` takes an `argError` from -4095 to -1".into());
            }
            // This happens after the call may have happened.
            ("Sigkill" | "Post" | "NoPost", None) => {}
            (other, _) => return Err(format!("the action `{other}` is not read")),
        }
    }
    Ok(denies)
}

fn check(filter: &Filter, kind: Kind) -> Result<(), String> {
    use Operator as O;
    let name = format!("{:?}", filter.operator);
    let fits = match kind {
        Kind::Path => matches!(
            filter.operator,
            O::Equal | O::NotEqual | O::Prefix | O::NotPrefix | O::Postfix | O::NotPostfix
        ),
        Kind::Number => matches!(filter.operator, O::Equal | O::NotEqual | O::Mask),
        Kind::Address => matches!(
            filter.operator,
            O::SAddr | O::NotSAddr | O::SPort | O::NotSPort
        ),
    };
    if !fits {
        return Err(format!("`{name}` on such an argument is not read"));
    }
    if filter.values.is_empty() {
        return Err(format!("`{name}` without values"));
    }
    for value in &filter.values {
        let longest = match filter.operator {
            O::Prefix | O::NotPrefix => MAX_PREFIX,
            O::Postfix | O::NotPostfix => MAX_POSTFIX,
            _ => usize::MAX,
        };
        if value.len() > longest {
            return Err(format!("`{name}` takes at most {longest} bytes"));
        }
        if kind == Kind::Path && value.is_empty() {
            return Err(format!("`{name}` with an empty value"));
        }
        if kind == Kind::Number && number(value).is_none() {
            return Err(format!("`{value}` is no number"));
        }
        if matches!(filter.operator, O::SPort | O::NotSPort) && ports(value).is_none() {
            return Err(format!("`{value}` is neither a port nor a range of ports"));
        }
        if matches!(filter.operator, O::SAddr | O::NotSAddr) && block(value).is_none() {
            return Err(format!("`{value}` is neither an address nor a block"));
        }
    }
    if kind == Kind::Number && filter.values.len() > MAX_NUMBERS {
        return Err(format!("`{name}` takes {MAX_NUMBERS} numbers"));
    }
    Ok(())
}

pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The first and the last port.
fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

fn block(text: &str) -> Option<crate::policy::Cidr> {
    use std::net::IpAddr;
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(width);
    (prefix <= width).then_some(crate::policy::Cidr { address, prefix })
}
