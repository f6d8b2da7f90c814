//! The parts of a TracingPolicy that this back-end uses, under the CRD's names.

use crate::backend::Options;
use crate::backend::header;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::Ledger;
use crate::policy::{Component, Policy, Sequence, Token};
use crate::semantics::{Case, PathSet, TooLarge};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::cmp::Reverse;
use std::fmt::Write;

/// One object.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingPolicy {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub metadata: ObjectMeta,
    pub spec: Spec,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    pub options: Vec<SpecOption>,
    pub kprobes: Vec<Kprobe>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SpecOption {
    pub name: &'static str,
    pub value: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct Kprobe {
    pub call: &'static str,
    pub syscall: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Ignore>,
    pub message: String,
    pub args: Vec<Arg>,
    /// Never empty, because an action without a selector would apply to every process of the node.
    pub selectors: Vec<Selector>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ignore {
    pub call_not_found: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Arg {
    pub index: u32,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_binaries: Vec<MatchBinaries>,
    pub match_args: Vec<MatchArg>,
    pub match_actions: Vec<MatchAction>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchBinaries {
    pub operator: &'static str,
    pub values: Vec<String>,
    pub follow_children: bool,
}

/// The operators of the CRD that polc uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Operator {
    Equal,
    NotEqual,
    Prefix,
    NotPrefix,
    Mask,
    SAddr,
    NotSPort,
}

#[derive(Debug, Clone, Serialize)]
pub struct MatchArg {
    pub index: u32,
    pub operator: Operator,
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchAction {
    pub action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arg_error: Option<i32>,
}

/// What is denied of an operation, as trees inside trees. The tree `/a` contains what lies beneath `/a`. `/a` itself is
/// an object of the tree around it. Paths have no last `/`, and the root is `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nest {
    /// Whether paths outside all trees are denied.
    pub denied: bool,
    /// By depth: trees whose answer is the opposite of the answer around them.
    pub levels: Vec<Vec<Vec<u8>>>,
    /// By depth (0: in no tree): objects that are allowed although the tree around them is denied.
    pub allowed_objects: Vec<Vec<Vec<u8>>>,
    /// Objects that are denied although the tree around them is allowed.
    pub denied_objects: Vec<Vec<u8>>,
}

/// How the paths of a filter relate to the object of the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sees {
    /// The hook sees the object's own path.
    Object,
    /// The hook sees the directory that holds it.
    Parent,
}

/// The objects that the filters of each nest allow. The root matches no filter, whatever the filter says.
///
/// # Errors
/// The automaton is too large.
pub fn allowed<const N: usize>(nests: [(&Nest, Sees); N]) -> Result<[PathSet; N], TooLarge> {
    // The order of decisions: the root, objects, the innermost trees, the trees around them. Each entry also has
    // whether it allows and what it matches (an object, or what lies beneath it). Its value: the nests that have it.
    type Ranked<'p> = (Reverse<usize>, bool, Sees, bool, &'p [u8]);
    let mut ranked: FxHashMap<Ranked<'_>, u16> = FxHashMap::default();
    for (i, (nest, sees)) in nests.into_iter().enumerate() {
        let mut add = |rank: usize, allows, sees, beneath, path| {
            let of = (Reverse(rank), allows, sees, beneath, path);
            *ranked.entry(of).or_default() |= 1 << i;
        };
        add(usize::MAX, true, Sees::Object, false, b"/".as_slice());
        if sees == Sees::Parent {
            add(usize::MAX, true, sees, false, b"/");
        }
        for path in &nest.denied_objects {
            add(usize::MAX - 1, false, sees, false, path);
        }
        for path in nest.allowed_objects.iter().flatten() {
            add(usize::MAX - 2, true, sees, false, path);
        }
        for (depth, trees) in nest.levels.iter().enumerate() {
            let allows = nest.denied == (depth % 2 == 0);
            for path in trees {
                add(depth + 1, allows, sees, true, path);
            }
        }
        if !nest.denied {
            // Everything.
            add(0, true, Sees::Object, true, b"/");
        }
    }
    let mut ranked: Vec<_> = ranked.into_iter().collect();
    ranked.sort_unstable_by_key(|((rank, allows, sees, beneath, path), nests)| {
        (*rank, *allows, *nests, *path, *sees, *beneath)
    });
    let cases: Vec<(u16, bool, Vec<Sequence>)> = ranked
        .chunk_by(|((a, x, ..), i), ((b, y, ..), j)| (a, x, i) == (b, y, j))
        .map(|alike| {
            let ((_, allows, ..), nests) = alike[0];
            let sequence = |((Reverse(rank), _, sees, beneath, path), _): &(Ranked<'_>, u16)| {
                if *rank == 0 {
                    return Sequence::default().tree();
                }
                let mut s = Sequence::literal(path);
                let names = usize::from(*sees == Sees::Parent) + usize::from(*beneath);
                let name = || Component::Name([Token::Star].into());
                s.components
                    .extend(std::iter::repeat_with(name).take(names));
                if *beneath { s.tree() } else { s }
            };
            (nests, allows, alike.iter().map(sequence).collect())
        })
        .collect();
    let cases = cases.iter().map(|(sets, allows, include)| Case {
        include,
        except: &[],
        sets: *sets,
        allows: *allows,
    });
    PathSet::family(cases, false)
}

impl Nest {
    /// Whether anything is denied.
    pub fn denies(&self) -> bool {
        self.denied || !self.levels.is_empty() || !self.denied_objects.is_empty()
    }

    /// The selectors' filters on the path argument `index`. Each list belongs to one selector.
    pub fn filters(&self, index: u32) -> Vec<Vec<MatchArg>> {
        let text = |p: &[u8]| String::from_utf8_lossy(p).into_owned();
        let objects = |list: &[Vec<u8>]| list.iter().map(|p| text(p)).collect::<Vec<_>>();
        let trees = |list: &[Vec<u8>]| {
            list.iter()
                .map(|p| {
                    if p == b"/" {
                        "/".to_owned()
                    } else {
                        text(p) + "/"
                    }
                })
                .collect::<Vec<_>>()
        };
        let none = Vec::new();
        let mut out = Vec::new();
        for depth in 0..=self.levels.len() {
            // Depth 0 is outside all trees. Depth n is in a tree of level n - 1.
            if (depth % 2 == 0) != self.denied {
                continue;
            }
            // Also a prefix for "everywhere", because a selector without a filter would have no condition.
            let within = if depth == 0 {
                vec!["/".to_owned()]
            } else {
                trees(&self.levels[depth - 1])
            };
            let but_trees = trees(self.levels.get(depth).unwrap_or(&none));
            let but_objects = objects(self.allowed_objects.get(depth).unwrap_or(&none));
            out.push(
                [
                    (Operator::Prefix, within),
                    (Operator::NotPrefix, but_trees),
                    (Operator::NotEqual, but_objects),
                ]
                .into_iter()
                .filter(|(_, values)| !values.is_empty())
                .map(|(operator, values)| MatchArg {
                    index,
                    operator,
                    values,
                })
                .collect(),
            );
        }
        if !self.denied_objects.is_empty() {
            out.push(vec![MatchArg {
                index,
                operator: Operator::Equal,
                values: objects(&self.denied_objects),
            }]);
        }
        out
    }
}

/// The objects as one YAML stream behind a header of comments.
pub fn render(
    policy: &Policy,
    objects: Vec<TracingPolicy>,
    ledger: &Ledger,
    options: &Options,
) -> Result<String, Diagnostics> {
    let mut out = String::new();
    let usage = [
        "load: kubectl apply -f THIS-FILE; applied is not loaded: `tetra tracingpolicy list` shows load errors",
        "try: tetra tracingpolicy set-mode NAME monitor, for each policy in that list (it only logs)",
        "undo: kubectl delete -f THIS-FILE",
    ];
    for line in header::lines(policy, ledger, options, usage.map(str::to_owned)) {
        let _ = writeln!(out, "# {line}");
    }
    for object in objects {
        out.push_str("---\n");
        write_object(&mut out, object).map_err(|e| {
            Diagnostic::error(
                "E112",
                format!("the TracingPolicy cannot be written as YAML: {e}"),
            )
        })?;
    }
    Ok(out)
}

fn yaml(object: &TracingPolicy) -> Result<String, serde_saphyr::ser::Error> {
    let mut options = serde_saphyr::SerializerOptions::default();
    // The form of a folded or literal block would depend on the text. One quoted line does not.
    options.prefer_block_scalars = false;
    serde_saphyr::to_string_with_options(object, options)
}

/// Stands for a list of paths until it is written. The values of filters are paths, numbers and networks.
const LIST: &str = "list ";

/// One object. It has thousands of paths, and most need no quotes for any YAML reader. This function writes lists of
/// such paths itself. The serialiser sees one item in place of each list.
fn write_object(
    out: &mut String,
    mut object: TracingPolicy,
) -> Result<(), serde_saphyr::ser::Error> {
    let selectors = object
        .spec
        .kprobes
        .iter_mut()
        .flat_map(|k| &mut k.selectors);
    let mut args: Vec<&mut MatchArg> = selectors.flat_map(|s| &mut s.match_args).collect();
    let mut values = args.iter().flat_map(|a| &a.values);
    let mistaken = values.any(|v| v.starts_with(LIST));
    let mut lists: Vec<Vec<String>> = Vec::new();
    for arg in args.iter_mut().filter(|_| !mistaken) {
        if !arg.values.is_empty() && arg.values.iter().all(|v| plain(v)) {
            let stand_in = vec![format!("{LIST}{}", lists.len())];
            lists.push(std::mem::replace(&mut arg.values, stand_in));
        }
    }
    let text = yaml(&object)?;
    for line in text.trim_start_matches("---\n").lines() {
        let item = line.trim_start_matches(' ');
        let number = item.strip_prefix("- ").and_then(|i| i.strip_prefix(LIST));
        let list = number.and_then(|n| {
            let indent = &line[..line.len() - item.len()];
            Some((indent, lists.get(n.parse::<usize>().ok()?)?))
        });
        match list {
            Some((indent, values)) => {
                for value in values {
                    out.extend([indent, "- ", value, "\n"]);
                }
            }
            None => out.extend([line, "\n"]),
        }
    }
    Ok(())
}

/// Whether a value is a path that needs no quotes: every YAML schema reads it as text.
fn plain(value: &str) -> bool {
    let rest = value.strip_prefix('/');
    rest.is_some_and(|r| {
        r.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output must be what the serialiser would have written.
    #[test]
    fn lists_are_as_the_serialiser_writes_them() {
        let mut lists: Vec<&[&str]> = vec![
            &["/"],
            &["/a/b.c_d-e/", "/home/agent/.cache/-/..", "/1.5e3", "/null"],
            &["/a b", "/plain"],
            &["/a: b", "/a #b", "/\n\t\"", "/é", "/list 0", "- list 0"],
            &["4", "::/0", "10.0.0.0/8", "8000:8080"],
            &["/a\n      - list 1"],
            &["/x,y", "/{a}", "/[a]", "/*a", "/&a"],
        ];
        let long = "/long".repeat(50);
        let long = [long.as_str()];
        lists.push(&long);
        written_as_by_the_serialiser(&lists);
        lists.push(&["list 0"]);
        written_as_by_the_serialiser(&lists);
    }

    fn written_as_by_the_serialiser(lists: &[&[&str]]) {
        let arg = |values: &&[&str]| MatchArg {
            index: 0,
            operator: Operator::Prefix,
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        let selector = Selector {
            match_binaries: Vec::new(),
            match_args: lists.iter().map(arg).collect(),
            match_actions: Vec::new(),
        };
        let object = TracingPolicy {
            api_version: "cilium.io/v1alpha1",
            kind: "TracingPolicy",
            metadata: ObjectMeta::default(),
            spec: Spec {
                pod_selector: None,
                options: Vec::new(),
                kprobes: vec![Kprobe {
                    call: "security_path_mknod",
                    syscall: false,
                    ignore: None,
                    message: "polc: list 0".to_owned(),
                    args: Vec::new(),
                    selectors: vec![selector.clone(), selector],
                }],
            },
        };
        let whole = yaml(&object).unwrap();
        let mut written = String::new();
        write_object(&mut written, object).unwrap();
        assert_eq!(written, whole.trim_start_matches("---\n"));
    }
}
