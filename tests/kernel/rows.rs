//! What is tried, what should happen, and what did happen.

use crate::ways::{FURTHER, LONG, ON_DIRECTORIES, ROUND, WAYS, allies, free, ways_of};
use polc::fidelity::{Entry, Fidelity, Ledger, Object, show_bytes};
use polc::policy::{Address, HostSpec, Operation, Policy, Protocol, RuleId};
use polc::semantics::{Decision, Meaning, decide};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The way to try an operation on a network address.
fn way_on_hosts(operation: Operation, protocol: Protocol) -> &'static str {
    match (operation, protocol) {
        (Operation::Bind, Protocol::Tcp) => "tcp-bind",
        (Operation::Bind, Protocol::Udp) => "udp-bind",
        (_, Protocol::Tcp) => "tcp-connect",
        (_, Protocol::Udp) => "udp-connect",
    }
}

/// Whether a way is about a network address, so that no object has to be made.
pub fn is_on_host(way: &str) -> bool {
    way.starts_with("tcp-") || way.starts_with("udp-")
}

/// Stands for a name. No layer of the kernel knows names, so any address can stand for one. This one belongs to nobody
/// (RFC 5737).
const STAND_IN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// One of the ports that a kernel gives out by itself (`ip_local_port_range`). SELinux asks for no right on these.
const EPHEMERAL: u16 = 40_000;

/// One attempt.
#[derive(Debug, Clone)]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// The way to try it, as a word of the probe.
    pub way: &'static str,
    /// The object: a path, or an address with its port.
    pub path: Vec<u8>,
    /// The other path that the way needs.
    pub ally: Option<Vec<u8>>,
    /// What the policy says.
    pub decision: Decision,
    /// Whether the decision is the same for everything beneath. To remove or move a directory is to remove all of it.
    pub whole: bool,
    /// What the ledger says about the deciding rule, and in which words.
    pub claim: (Fidelity, String),
}

/// A witness of the ledger. One of the rows must show it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Which rows try it.
    pub rows: Vec<usize>,
    /// What the layer does, according to the ledger.
    pub allows: bool,
    /// The entry, for a message.
    pub words: String,
}

/// All rows of a policy under one layer.
pub struct Sheet {
    /// The policy's file.
    pub policy: String,
    /// The rows, in the order of the plan.
    pub rows: Vec<Row>,
    /// The ledger's witnesses.
    pub shown: Vec<Shown>,
    /// The name of each rule.
    names: Vec<String>,
}

/// Objects near one that matches: a longer name, a path beneath, a path above.
fn near(path: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![path.to_vec()];
    if path != b"/" {
        all.push([path, b"x"].concat());
        if let Some(at) = path.iter().rposition(|b| *b == b'/') {
            all.push(if at == 0 {
                b"/".to_vec()
            } else {
                path[..at].to_vec()
            });
        }
    }
    all.push(if path == b"/" {
        b"/x".to_vec()
    } else {
        [path, b"/x"].concat()
    });
    all
}

fn is_stricter(fidelity: Fidelity) -> bool {
    matches!(fidelity, Fidelity::Stricter | Fidelity::Mixed)
}

fn entry(ledger: &Ledger, rule: Option<RuleId>, operation: Operation) -> Option<&Entry> {
    ledger
        .entries
        .iter()
        .find(|e| e.rule == rule && e.operation == operation)
}

impl Sheet {
    /// For every rule and operation: an object that it decides, objects near that, and the ledger's witnesses. `skips`
    /// says which questions the layer's artifact cannot answer.
    pub fn new(
        name: &str,
        meaning: &Meaning<'_>,
        ledger: &Ledger,
        skips: impl Fn(&str, &[u8]) -> bool,
    ) -> Self {
        let policy: &Policy = meaning.policy();
        let mut sheet = Self {
            policy: name.to_owned(),
            rows: Vec::new(),
            shown: Vec::new(),
            names: policy.rules.iter().map(|r| r.name.clone()).collect(),
        };
        let mut known: HashMap<(Operation, Vec<u8>), Vec<usize>> = HashMap::new();
        let long = policy.rules.len() > LONG;
        let free = if long { None } else { free(meaning) };
        for (operation, ways) in WAYS {
            let further = if long {
                &[]
            } else {
                ways_of(&FURTHER, operation)
            };
            let decisions = meaning.decisions(operation).unwrap();
            let beneath = decisions
                .dfa()
                .all_beneath(|label| decisions.permits(label));
            let deletable = |path: &[u8]| {
                let state = decisions.dfa().run(path);
                state.is_none_or(|s| beneath[s.index()])
            };
            let rules = policy
                .rules
                .iter()
                .filter(|r| r.operations.contains(operation))
                .map(|r| Some(r.id));
            let mut paths = BTreeSet::new();
            for rule in rules.chain([None]) {
                if let Some(witness) = decisions.decided_by(rule).witness() {
                    paths.extend(near(&witness));
                }
            }
            let entries: Vec<&Entry> = ledger
                .entries
                .iter()
                .filter(|e| e.operation == operation)
                .collect();
            for witness in entries.iter().flat_map(|e| &e.witnesses) {
                if let Object::Path(path) = &witness.object {
                    paths.insert(path.clone());
                }
            }
            for path in paths {
                // The fixture makes names longer, and a name has at most 255 bytes.
                if path.split(|b| *b == b'/').any(|c| c.len() > 240) || path.len() > 3000 {
                    continue;
                }
                let decision = decide(policy, operation, &Object::Path(path.clone()));
                let Some(entry) = entry(ledger, decision.rule, operation) else {
                    panic!("{name}: no entry for {operation} {}", show_bytes(&path));
                };
                // A way that opens the file that it makes needs both rights.
                let edit = decide(policy, Operation::Edit, &Object::Path(path.clone()));
                let edit = (edit.action, self::entry(ledger, edit.rule, Operation::Edit));
                let ways = ways.iter().chain(further);
                for way in ways.filter(|w| !skips(w, &path)) {
                    let mut claim = (entry.fidelity, entry.reason.to_string());
                    if *way == "creat" && decision.action.permits() {
                        match edit {
                            (action, _) if !action.permits() => continue,
                            (_, Some(e)) if is_stricter(e.fidelity) => {
                                claim = (e.fidelity, e.reason.to_string());
                            }
                            _ => {}
                        }
                    }
                    known
                        .entry((operation, path.clone()))
                        .or_default()
                        .push(sheet.rows.len());
                    sheet.rows.push(Row {
                        operation,
                        way,
                        path: path.clone(),
                        ally: None,
                        decision,
                        whole: operation != Operation::Delete || deletable(&path),
                        claim,
                    });
                }
                if long || decision.action.permits() || path == b"/" {
                    continue;
                }
                for way in ways_of(&ROUND, operation) {
                    if skips(way, &path) {
                        continue;
                    }
                    // If a directory can be moved with its contents, the ledger says so at the rule that lets it be
                    // moved.
                    let above = path.iter().rposition(|b| *b == b'/').filter(|at| *at > 0);
                    let above = above
                        .filter(|_| way.starts_with("rename-above"))
                        .map(|at| decide(policy, operation, &Object::Path(path[..at].to_vec())));
                    let above = above.and_then(|d| self::entry(ledger, d.rule, operation));
                    let told = above.filter(|e| e.fidelity.leaks()).unwrap_or(entry);
                    for ally in allies(way, &path, free.as_deref()) {
                        sheet.rows.push(Row {
                            operation,
                            way,
                            path: path.clone(),
                            ally,
                            decision,
                            whole: true,
                            claim: (told.fidelity, told.reason.to_string()),
                        });
                    }
                }
            }
            for entry in entries {
                for witness in &entry.witnesses {
                    let Object::Path(path) = &witness.object else {
                        continue;
                    };
                    sheet.shown.push(Shown {
                        rows: known
                            .get(&(operation, path.clone()))
                            .cloned()
                            .unwrap_or_default(),
                        allows: witness.layer_allows,
                        words: format!(
                            "{} {operation} {}",
                            sheet.rule(entry.rule),
                            show_bytes(path)
                        ),
                    });
                }
            }
        }
        for operation in [Operation::Connect, Operation::Bind] {
            sheet.hosts(meaning, ledger, operation);
        }
        sheet
    }

    /// Rows for the ends of every region of addresses and ports that the policy tells apart, and for every witness.
    fn hosts(&mut self, meaning: &Meaning<'_>, ledger: &Ledger, operation: Operation) {
        let mut specs = BTreeSet::new();
        for region in meaning.hosts(operation).regions() {
            let (first, last) = (region.ports.first.max(1), region.ports.last);
            let inside = |port: &u16| (first..=last).contains(port);
            specs.extend(
                [first, last, EPHEMERAL]
                    .into_iter()
                    .filter(inside)
                    .map(|port| HostSpec {
                        port,
                        ..region.sample.clone()
                    }),
            );
        }
        let entries = || ledger.entries.iter().filter(|e| e.operation == operation);
        for witness in entries().flat_map(|e| &e.witnesses) {
            if let Object::Host(spec) = &witness.object {
                specs.insert(spec.clone());
            }
        }
        let mut known: HashMap<HostSpec, Vec<usize>> = HashMap::new();
        // All names have the same stand-in. So one name is tried for each rule that decides.
        let mut tried: HashMap<(&str, SocketAddr, Option<RuleId>), usize> = HashMap::new();
        for spec in specs {
            let decision = decide(meaning.policy(), operation, &Object::Host(spec.clone()));
            let Some(entry) = entry(ledger, decision.rule, operation) else {
                panic!("{}: no entry for {operation} {spec}", self.policy);
            };
            let ip = match &spec.address {
                Address::Ip(ip) => *ip,
                Address::Name(_) => STAND_IN,
            };
            let protocols = Protocol::ALL
                .into_iter()
                .filter(|p| spec.protocol.is_none_or(|own| own == *p));
            let address = SocketAddr::new(ip, spec.port);
            for protocol in protocols {
                let way = way_on_hosts(operation, protocol);
                let row = tried
                    .entry((way, address, decision.rule))
                    .or_insert(self.rows.len());
                known.entry(spec.clone()).or_default().push(*row);
                if *row == self.rows.len() {
                    self.rows.push(Row {
                        operation,
                        way,
                        path: address.to_string().into_bytes(),
                        ally: None,
                        decision,
                        whole: true,
                        claim: (entry.fidelity, entry.reason.to_string()),
                    });
                }
            }
        }
        for entry in entries() {
            for witness in &entry.witnesses {
                if let Object::Host(spec) = &witness.object {
                    let words = format!("{} {operation} {spec}", self.rule(entry.rule));
                    self.shown.push(Shown {
                        rows: known.get(spec).cloned().unwrap_or_default(),
                        allows: witness.layer_allows,
                        words,
                    });
                }
            }
        }
    }

    fn rule(&self, rule: Option<RuleId>) -> &str {
        rule.map_or("the default", |id| &self.names[id.0 as usize])
    }

    /// The rows as the probe reads them.
    pub fn plan(&self, out: &mut String) {
        for row in &self.rows {
            let hex = hex(&row.path);
            write!(out, "row {} {hex}", row.way).unwrap();
            if let Some(ally) = &row.ally {
                write!(out, " {}", self::hex(ally)).unwrap();
            }
            out.push('\n');
        }
    }
}

/// Bytes in the form of a plan.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The result of a row on a kernel: error numbers, and 0 for success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Confined.
    pub confined: i32,
    /// The result unconfined. `None`: not tried, because it worked confined.
    pub unconfined: Option<i32>,
}

/// The status of an attempt that was not confined (`sys::NOT_CONFINED` of the probe).
const NOT_CONFINED: i32 = 253;

impl Cell {
    /// Whether the attempt ran confined.
    pub fn started(self) -> bool {
        self.confined != NOT_CONFINED
    }

    /// Whether the result says anything.
    pub fn usable(self) -> bool {
        self.confined == 0 || self.unconfined == Some(0)
    }

    /// Whether the attempt succeeded.
    pub fn allowed(self) -> bool {
        self.confined == 0
    }
}

/// The numbers of results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Results in which kernel, policy and ledger agree.
    pub agree: usize,
    /// Results in which they do not.
    pub differs: usize,
    /// Attempts that also fail unconfined.
    pub unusable: usize,
}

/// The lines of the probe, by policy and row.
pub fn read(console: &str) -> Result<BTreeMap<(usize, usize), Cell>, String> {
    let mut cells = BTreeMap::new();
    for line in console.lines() {
        if let Some(words) = line.strip_prefix("@fail ") {
            return Err(words.to_owned());
        }
        let Some(words) = line.strip_prefix("@row ") else {
            continue;
        };
        let parts: Vec<&str> = words.split(' ').collect();
        let number = |at: usize| parts.get(at).and_then(|w| w.parse::<i32>().ok());
        let (Some(policy), Some(row), Some(confined)) = (number(0), number(1), number(2)) else {
            return Err(format!("not understood: {line}"));
        };
        let cell = Cell {
            confined,
            unconfined: number(3),
        };
        cells.insert((policy as usize, row as usize), cell);
    }
    Ok(cells)
}

/// Compares a sheet with what the kernel did. Returns the numbers, and a line for each difference.
pub fn judge(sheet: &Sheet, cells: &[Cell], place: &str) -> (Counts, Vec<String>) {
    let (mut counts, mut faults) = (Counts::default(), Vec::new());
    assert_eq!(
        sheet.rows.len(),
        cells.len(),
        "{place}: {} rows are not all tried",
        sheet.policy
    );
    for (row, cell) in sheet.rows.iter().zip(cells) {
        if !cell.usable() {
            counts.unusable += 1;
            continue;
        }
        let permits = row.decision.action.permits();
        let (fidelity, reason) = &row.claim;
        let stricter = is_stricter(*fidelity);
        let moves = row.way.starts_with("rename");
        let fine = match (permits, cell.allowed()) {
            (true, true) | (false, false) => true,
            (false, true) => fidelity.leaks(),
            // These ways need the decision for everything beneath, or another right.
            (true, false) if ON_DIRECTORIES.contains(&row.way) && !row.whole || moves => true,
            (true, false) => stricter,
        } && cell.started();
        if fine {
            counts.agree += 1;
            continue;
        }
        counts.differs += 1;
        let kernel = match cell.confined {
            0 => "allows".to_owned(),
            NOT_CONFINED => "could not be made to confine".to_owned(),
            error => format!("denies ({})", std::io::Error::from_raw_os_error(error)),
        };
        let ally = row.ally.as_ref();
        let ally = ally.map_or(String::new(), |a| format!(" with {}", show_bytes(a)));
        faults.push(format!(
            "{} on {place}: {} ({}) {}{ally}: the policy says {} (`{}`), the kernel {kernel}, the ledger {fidelity}{}",
            sheet.policy,
            row.operation,
            row.way,
            show_bytes(&row.path),
            row.decision.action,
            sheet.rule(row.decision.rule),
            if reason.is_empty() { String::new() } else { format!(": {reason}") },
        ));
    }
    for shown in &sheet.shown {
        let tried: Vec<Cell> = shown
            .rows
            .iter()
            .map(|r| cells[*r])
            .filter(|c| c.usable())
            .collect();
        if tried.is_empty() || tried.iter().any(|c| c.allowed() == shown.allows) {
            continue;
        }
        counts.differs += 1;
        faults.push(format!(
            "{} on {place}: {}: the ledger's witness says that the layer {}, and no way of trying shows it",
            sheet.policy,
            shown.words,
            if shown.allows { "allows" } else { "denies" },
        ));
    }
    (counts, faults)
}
