//! The ways to do an operation, and the paths at which each is open.

use super::contexts::{Applies, Context, name_byte};
use super::{Loaded, base};
use crate::backend::{Allowed, Form, OnPaths};
use crate::policy::Operation;
use crate::semantics::{Classified, Dfa, PathSet, Step, TooLarge, classified};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The types on which a way needs its permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The object's type.
    Own,
    /// The type that a new object gets. Names are added to its directory.
    Made,
    /// An existing object is moved to the directory, which gets a name.
    MovedTo,
    /// The object's type. A name is removed from its directory.
    Removed,
}

/// A class, the permissions that the way needs together, and the form. The form is `Either` if the operation means
/// nothing for a directory, so that no path is left out.
#[derive(Debug)]
pub(super) struct Way {
    pub class: &'static str,
    pub permissions: &'static [&'static str],
    pub form: Form,
    pub place: Place,
}

impl Way {
    /// The name of the way.
    pub(super) fn name(&self) -> String {
        let permissions = self.permissions.join(" ");
        format!(
            "{} {permissions} {:?} {:?}",
            self.class, self.form, self.place
        )
    }

    /// Whether only the directory's type counts.
    pub(super) fn is_by_directory(&self) -> bool {
        matches!(self.place, Place::Made | Place::MovedTo)
    }

    /// The form of the object whose type counts.
    pub(super) fn judged(&self) -> Form {
        match self.is_by_directory() {
            true => Form::Directory,
            false => self.form,
        }
    }
}

/// The permissions on a directory for adding a name, and for removing one.
pub(super) const ADD: &[&str] = &["add_name", "search", "write"];
const REMOVE: &[&str] = &["remove_name", "search", "write"];

const fn way(
    class: &'static str,
    permissions: &'static [&'static str],
    form: Form,
    place: Place,
) -> Way {
    Way {
        class,
        permissions,
        form,
        place,
    }
}

const READ: &[Way] = &[
    way("file", &["open", "read"], Form::Either, Place::Own),
    way("fifo_file", &["open", "read"], Form::Either, Place::Own),
];
const LIST: &[Way] = &[way("dir", &["open", "read"], Form::Directory, Place::Own)];
const EDIT: &[Way] = &[
    way("file", &["open", "write"], Form::Either, Place::Own),
    way("file", &["open", "append"], Form::Either, Place::Own),
    way("fifo_file", &["open", "write"], Form::Either, Place::Own),
];
const CREATE: &[Way] = &[
    way("file", &["create"], Form::File, Place::Made),
    way("lnk_file", &["create"], Form::File, Place::Made),
    way("fifo_file", &["create"], Form::File, Place::Made),
    way("sock_file", &["create"], Form::File, Place::Made),
    way("dir", &["create"], Form::Directory, Place::Made),
    way("file", &["rename"], Form::File, Place::MovedTo),
    way("dir", &["rename"], Form::Directory, Place::MovedTo),
];
const DELETE: &[Way] = &[
    way("file", &["unlink"], Form::File, Place::Removed),
    way("file", &["rename"], Form::File, Place::Removed),
    way("lnk_file", &["unlink"], Form::File, Place::Removed),
    way("fifo_file", &["unlink"], Form::File, Place::Removed),
    way("sock_file", &["unlink"], Form::File, Place::Removed),
    way("dir", &["rmdir"], Form::Directory, Place::Removed),
    way("dir", &["rename"], Form::Directory, Place::Removed),
    way("dir", &["rename"], Form::Moved, Place::Removed),
];
const METADATA: &[Way] = &[
    way("file", &["setattr"], Form::File, Place::Own),
    way("file", &["write"], Form::File, Place::Own),
    way("dir", &["setattr"], Form::Directory, Place::Own),
    way("dir", &["write"], Form::Directory, Place::Own),
];
const EXECUTE: &[Way] = &[way(
    "file",
    &["execute", "execute_no_trans", "open", "read"],
    Form::Either,
    Place::Own,
)];

/// The ways to do an operation.
pub(super) fn ways(operation: Operation) -> &'static [Way] {
    match operation {
        Operation::Read => READ,
        Operation::List => LIST,
        Operation::Edit => EDIT,
        Operation::Create => CREATE,
        Operation::Delete => DELETE,
        Operation::Metadata => METADATA,
        Operation::Execute => EXECUTE,
        _ => &[],
    }
}

impl Applies {
    /// Whether a context is for objects of a form.
    pub(super) fn to(self, form: Form) -> bool {
        match self {
            Self::Everything => true,
            Self::Files => !matches!(form, Form::Directory | Form::Moved),
            Self::Directories => matches!(form, Form::Directory | Form::Moved),
        }
    }
}

/// The pattern for the entries of the directories that a pattern matches.
fn inside(steps: &[Step]) -> Vec<Step> {
    let mut out = steps.to_vec();
    // `/a/*/**`, and not `/a/**/*`: with the first, everything deeper is one state of the automaton.
    let tree = out.pop_if(|s| *s == Step::AnyDepth);
    out.extend([
        Step::Byte(b'/'),
        Step::Set(name_byte()),
        Step::Star(name_byte()),
    ]);
    out.extend(tree);
    out
}

/// An entry of the file contexts, with paths.
type Entry<'c> = (Cow<'c, [Vec<Step>]>, &'c Context);

/// For each type, whether a way is open.
type Open<'l> = BTreeMap<&'l str, bool>;

/// Whether the set is about directories, whether it is about their entries, and which types are open, in order.
pub(super) type SetKey = (bool, bool, Vec<bool>);

fn key(form: Form, open: &Open<'_>, above: bool) -> SetKey {
    let as_directory = above || matches!(form, Form::Directory | Form::Moved);
    (as_directory, above, open.values().copied().collect())
}

/// A set. Whoever asks first makes it.
type Slot = Arc<OnceLock<Result<PathSet, TooLarge>>>;

/// The sets that were made so far.
pub(super) struct Made<K>(Mutex<BTreeMap<K, Slot>>);

impl<K: Ord> Default for Made<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Made<K> {
    fn of(
        &self,
        key: K,
        make: impl FnOnce() -> Result<PathSet, TooLarge>,
    ) -> Result<PathSet, TooLarge> {
        let set = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(key).or_default())
        };
        set.get_or_init(make).clone()
    }
}

/// Operations that are open on nearly the same types share an automaton: the base policy's files can be read, and none
/// can be changed. Starting programs is in neither list, because programs are told apart by their names wherever they
/// lie.
pub(super) const ALIKE: [&[Operation]; 2] = [
    &[Operation::Read, Operation::List],
    &[
        Operation::Edit,
        Operation::Create,
        Operation::Delete,
        Operation::Metadata,
    ],
];

/// One automaton for the types of all paths. Types that no way tells apart form one class.
pub(super) struct Typed {
    /// The class of each type.
    classes: BTreeMap<String, usize>,
    /// By view: a path as a file, as a directory, and as an entry of a directory.
    views: [Result<Dfa, TooLarge>; 3],
}

/// Whether some path may match both entries: their texts up to the first wildcard agree.
fn may_intersect(one: &Context, other: &Context) -> bool {
    let literal = |steps: &[Step], at: usize| match steps.get(at) {
        Some(Step::Byte(b)) => Some(*b),
        _ => None,
    };
    let begin = |x: &Vec<Step>, y: &Vec<Step>| {
        let mut at = 0;
        loop {
            match (literal(x, at), literal(y, at)) {
                (Some(a), Some(b)) if a == b => at += 1,
                (Some(_), Some(_)) => return false,
                _ => return true,
            }
        }
    };
    let mut pairs = one.patterns.iter();
    pairs.any(|x| other.patterns.iter().any(|y| begin(x, y)))
}

/// The views, one bit each.
const FILE: u16 = 1;
const DIRECTORY: u16 = 2;
const ABOVE: u16 = 4;

/// Where a way is open: by the object's type, and by its directory's type.
struct Where<'l> {
    form: Form,
    ways: Vec<String>,
    own: Option<Open<'l>>,
    above: Option<Open<'l>>,
}

impl Loaded {
    /// The types that paths can have.
    pub(super) fn labels(&self) -> BTreeSet<&str> {
        let labels = self.contexts.iter().filter_map(|c| c.label.as_deref());
        labels.chain([base::OTHER]).collect()
    }

    /// The paths of a form whose type, or whose directory's type, is open. The set is made once, as most operations are
    /// open on the same types.
    fn by_type(
        &self,
        operation: Operation,
        form: Form,
        open: &Open<'_>,
        above: bool,
    ) -> Result<PathSet, TooLarge> {
        let make = || match self.of_classes(operation, form, open, above) {
            Some(set) => Ok(set),
            None => self.made_by_type(form, open, above),
        };
        self.sets.of(key(form, open, above), make)
    }

    /// The paths of a form whose own type and whose directory's type are open.
    fn by_both(
        &self,
        operation: Operation,
        form: Form,
        own: &Open<'_>,
        above: &Open<'_>,
    ) -> Result<PathSet, TooLarge> {
        let above = self.by_type(operation, form, above, true)?;
        self.by_type(operation, form, own, false)?
            .intersection(&above)
    }

    /// The set from the automaton of all types. `None`: that automaton is too large, or one of its classes is open in
    /// part.
    fn of_classes(
        &self,
        operation: Operation,
        form: Form,
        open: &Open<'_>,
        above: bool,
    ) -> Option<PathSet> {
        let group = ALIKE.iter().position(|g| g.contains(&operation))?;
        let typed = self.typed[group].get_or_init(|| self.typed(ALIKE[group]));
        let view = match (above, form) {
            (true, _) => ABOVE,
            (false, Form::Directory | Form::Moved) => DIRECTORY,
            (false, _) => FILE,
        };
        let dfa = typed.views[view.trailing_zeros() as usize].as_ref().ok()?;
        let mut holds: Vec<Option<bool>> = vec![None; typed.classes.len()];
        for (label, class) in &typed.classes {
            let own = open.get(label.as_str()).copied()?;
            if *holds[*class].get_or_insert(own) != own {
                return None;
            }
        }
        Some(PathSet::from_dfa(dfa, |class| {
            holds[class as usize] == Some(true)
        }))
    }

    /// Puts types into classes by the ways of some operations that are open on them.
    fn typed(&self, operations: &[Operation]) -> Typed {
        let labels = self.labels();
        let movable = |class: &str| labels.iter().any(|l| self.may(l, class, &["rename"]));
        let mut open: BTreeMap<&str, Vec<bool>> = labels.iter().map(|l| (*l, vec![])).collect();
        let mut inner = false;
        for way in operations.iter().flat_map(|o| ways(*o)) {
            let Where { own, above, .. } = self.open(way, &labels, movable);
            inner |= above.is_some();
            for (label, may) in own.into_iter().chain(above).flatten() {
                open.entry(label).or_default().push(may);
            }
        }
        let mut numbers: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
        let classes: BTreeMap<String, usize> = open
            .into_iter()
            .map(|(label, ways)| {
                let fresh = numbers.len();
                (label.to_owned(), *numbers.entry(ways).or_insert(fresh))
            })
            .collect();
        let class = |label: &Option<String>| {
            let label = label.as_deref().unwrap_or(base::OTHER);
            classes.get(label).copied().unwrap_or_default() as u32
        };
        let other = class(&None);
        // The default class needs no entry. An entry of that class counts only within a less specific entry that
        // counts.
        let mut telling: Vec<&Context> = Vec::new();
        for context in self.contexts.iter().rev() {
            let tells = class(&context.label) != other;
            if tells || telling.iter().any(|c| may_intersect(c, context)) {
                telling.push(context);
            }
        }
        // The root is in no directory. It exists, so only its own type counts.
        let root = self.context(Form::Directory, b"/");
        let root = class(&root.and_then(|c| c.label.clone()));
        let mut patterns = Vec::new();
        if inner {
            patterns.push((ABOVE, vec![Vec::new()], root));
        }
        for context in telling.into_iter().rev() {
            let class = class(&context.label);
            let directory = context.applies.to(Form::Directory);
            let file = context.applies.to(Form::File);
            let views = (u16::from(file) * FILE) | (u16::from(directory) * DIRECTORY);
            patterns.push((views, context.patterns.clone(), class));
            if directory && inner {
                let patterns_inside = context.patterns.iter().map(|p| inside(p)).collect();
                patterns.push((ABOVE, patterns_inside, class));
            }
        }
        let cases: Vec<Classified<'_, Vec<Step>>> = patterns
            .iter()
            .map(|(views, include, class)| Classified {
                include,
                except: &[],
                views: *views,
                class: *class,
            })
            .collect();
        let views = classified(&cases, other);
        Typed { classes, views }
    }

    /// The entries for objects of a form, the strongest first. Each has the paths of its objects or, with `inner`, the
    /// paths in its directories.
    pub(super) fn entries(&self, form: Form, inner: bool) -> Vec<Entry<'_>> {
        // The root is in no directory. It exists, so only its own type counts.
        let root = self.context(Form::Directory, b"/").filter(|_| inner);
        let root = root.map(|c| (Cow::Owned(vec![Vec::new()]), c));
        let own = self.contexts.iter().filter(|c| c.applies.to(form));
        let own = own.map(|c| match inner {
            true => (c.patterns.iter().map(|p| inside(p)).collect(), c),
            false => (Cow::Borrowed(c.patterns.as_slice()), c),
        });
        root.into_iter().chain(own).collect()
    }

    fn made_by_type(&self, form: Form, open: &Open<'_>, above: bool) -> Result<PathSet, TooLarge> {
        let may = |label: &Option<String>| {
            let label = label.as_deref().unwrap_or(base::OTHER);
            open.get(label).copied().unwrap_or(false)
        };
        let form = if above { Form::Directory } else { form };
        let mut entries = self.entries(form, above);
        // If the base policy gives nothing, its contexts would only make the automaton larger.
        let of_base = |c: &Context| c.line == 0;
        let mut base = entries.iter().filter(|(_, c)| of_base(c));
        if !may(&None) && !base.any(|(_, c)| may(&c.label)) {
            entries.retain(|(_, c)| !of_base(c));
        }
        let cases = entries
            .iter()
            .map(|(paths, c)| (&**paths, [].as_slice(), may(&c.label)));
        PathSet::first_match_except(cases, may(&None))
    }

    /// The type of an object that the domain makes in a directory of a type.
    fn made<'l>(&'l self, directory: &'l str, class: &str) -> &'l str {
        let mut all = self.module.transitions.iter();
        let found = all.find(|[source, target, of, _]| {
            *source == self.domain && target == directory && of == class
        });
        found.map_or(directory, |[.., new]| new)
    }

    fn open<'l>(
        &'l self,
        way: &Way,
        labels: &BTreeSet<&'l str>,
        movable: impl Fn(&str) -> bool,
    ) -> Where<'l> {
        let each = |may: &dyn Fn(&str) -> bool| labels.iter().map(|l| (*l, may(l))).collect();
        let own: Open<'l> = each(&|l| {
            // A permission that files have and fifos lack refuses nothing that a policy names.
            let fifo = way.class == "fifo_file" && self.may(l, "file", way.permissions);
            fifo || self.may(l, way.class, way.permissions)
        });
        let names = |permissions| each(&|l| self.may(l, "dir", permissions));
        let (own, above) = match way.place {
            Place::Own => (Some(own), None),
            Place::Removed => (Some(own), Some(names(REMOVE))),
            Place::MovedTo if movable(way.class) => (None, Some(names(ADD))),
            // If nothing can be moved, only making an object adds a name.
            Place::Made | Place::MovedTo => {
                let made = each(&|l| {
                    let new = self.made(l, way.class);
                    self.may(l, "dir", ADD) && self.may(new, way.class, &["create"])
                });
                (None, Some(made))
            }
        };
        Where {
            form: way.form,
            ways: vec![way.name()],
            own,
            above,
        }
    }

    /// What the module and the base policy let the domain do.
    pub(super) fn answer(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        if operation == Operation::Connect {
            // A policy's objects are the sockets of others, not those of the domain itself.
            return Ok(OnPaths::either(PathSet::empty()));
        }
        let labels = self.labels();
        let movable = |class: &str| labels.iter().any(|l| self.may(l, class, &["rename"]));
        let mut known: Vec<Where<'_>> = Vec::new();
        for way in ways(operation) {
            let open = self.open(way, &labels, movable);
            let same = |k: &&mut Where<'_>| {
                (k.form, &k.own, &k.above) == (open.form, &open.own, &open.above)
            };
            match known.iter_mut().find(same) {
                Some(k) => k.ways.extend(open.ways),
                None => known.push(open),
            }
        }
        let mut out = Vec::new();
        for Where {
            form,
            ways,
            own,
            above,
        } in known
        {
            let paths = match (own, above) {
                (Some(own), Some(above)) => self.by_both(operation, form, &own, &above)?,
                (Some(own), None) => self.by_type(operation, form, &own, false)?,
                (None, Some(above)) => self.by_type(operation, form, &above, true)?,
                (None, None) => PathSet::all(),
            };
            out.push(Allowed { form, ways, paths });
        }
        Ok(OnPaths::Allows(out))
    }
}
