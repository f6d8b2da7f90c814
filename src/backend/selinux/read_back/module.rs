//! Parses the module's text as checkmodule does, as far as one domain needs it.

use std::collections::{BTreeMap, BTreeSet};

/// What is wrong, and the line.
pub(super) type Fault = (usize, String);

/// One allow rule for one class.
#[derive(Debug)]
pub(super) struct Allow {
    pub source: String,
    pub target: String,
    pub class: String,
    pub permissions: BTreeSet<String>,
    pub line: usize,
}

/// A module.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Types that it declares, with their attributes.
    pub types: BTreeMap<String, BTreeSet<String>>,
    pub required_types: BTreeSet<String>,
    pub attributes: BTreeSet<String>,
    pub required_roles: BTreeSet<String>,
    /// The classes that it requires, with their permissions.
    pub classes: BTreeMap<String, BTreeSet<String>>,
    /// Roles, with the types that they may have.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    pub allows: Vec<Allow>,
    /// Assertions. They take nothing away: a build that breaks one fails.
    pub nevers: Vec<Allow>,
    /// Source, target, class, new type.
    pub transitions: Vec<[String; 4]>,
}

impl Module {
    /// Checks that everything that rules use is required or declared, as checkmodule does.
    fn in_scope(&self) -> Result<(), Fault> {
        let rules = || self.allows.iter().chain(&self.nevers);
        let known = |name: &String| {
            self.types.contains_key(name)
                || self.required_types.contains(name)
                || self.attributes.contains(name)
        };
        for rule in rules() {
            let strange = [&rule.source, &rule.target]
                .into_iter()
                .find(|n| *n != "self" && !known(n));
            if let Some(name) = strange {
                return Err((rule.line, format!("`{name}` is declared nowhere")));
            }
            let required = self.classes.get(&rule.class);
            let missing = rule
                .permissions
                .iter()
                .find(|p| required.is_none_or(|r| !r.contains(*p)));
            if let Some(permission) = missing {
                let class = &rule.class;
                return Err((
                    rule.line,
                    format!("`{permission}` of `{class}` is not in `require`"),
                ));
            }
        }
        for [source, target, class, new] in &self.transitions {
            if let Some(name) = [source, target, new].into_iter().find(|n| !known(n)) {
                return Err((1, format!("`{name}` is declared nowhere")));
            }
            if !self.classes.contains_key(class) {
                return Err((1, format!("the class `{class}` is not in `require`")));
            }
        }
        for (name, attributes) in &self.types {
            if let Some(a) = attributes.iter().find(|a| !self.attributes.contains(*a)) {
                return Err((
                    1,
                    format!("`{a}`, an attribute of `{name}`, is not in `require`"),
                ));
            }
        }
        for (role, types) in &self.roles {
            if !self.required_roles.contains(role) {
                return Err((1, format!("the role `{role}` is not in `require`")));
            }
            if let Some(name) = types.iter().find(|t| !known(t)) {
                return Err((1, format!("`{name}` is declared nowhere")));
            }
        }
        Ok(())
    }
}

struct Token<'t> {
    text: &'t str,
    line: usize,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Fault> {
    let mut out = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line_number = number + 1;
        let code = line.split('#').next().unwrap_or_default();
        let mut rest = code.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$');
            let end = if word(first) {
                rest.find(|c| !word(c)).unwrap_or(rest.len())
            } else if matches!(first, '{' | '}' | ';' | ':' | ',') {
                1
            } else {
                return Err((
                    line_number,
                    format!("`{}` is nothing that polc reads", first.escape_debug()),
                ));
            };
            out.push(Token {
                text: &rest[..end],
                line: line_number,
            });
            rest = rest[end..].trim_start();
        }
    }
    Ok(out)
}

struct Reader<'t> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token<'t>>>,
    line: usize,
}

pub(super) fn read(text: &str) -> Result<Module, Fault> {
    let mut reader = Reader {
        tokens: tokens(text)?.into_iter().peekable(),
        line: 1,
    };
    let mut module = Module::default();
    let mut first = true;
    while let Some(token) = reader.tokens.next() {
        reader.line = token.line;
        if first != (token.text == "module") {
            return Err((
                token.line,
                "a module begins with `module NAME VERSION;`".into(),
            ));
        }
        first = false;
        match token.text {
            "module" => {
                reader.word()?;
                reader.word()?;
                reader.expect(";")?;
            }
            "require" => reader.require(&mut module)?,
            word => reader.statement(word, &mut module)?,
        }
    }
    if first {
        return Err((1, "there is no module in it".into()));
    }
    module.in_scope()?;
    Ok(module)
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<&'t str, Fault> {
        match self.tokens.next() {
            Some(token) => {
                self.line = token.line;
                Ok(token.text)
            }
            None => Err((self.line, "it ends too early".into())),
        }
    }

    fn word(&mut self) -> Result<String, Fault> {
        let text = self.next()?;
        if matches!(text, "{" | "}" | ";" | ":" | ",") {
            return Err((self.line, format!("a name, not `{text}`")));
        }
        Ok(text.to_owned())
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Fault> {
        let text = self.next()?;
        if text == wanted {
            Ok(())
        } else {
            Err((self.line, format!("`{wanted}`, not `{text}`")))
        }
    }

    /// Takes the next word if it is this one. Returns whether it was.
    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.tokens.peek().is_some_and(|t| t.text == wanted);
        if found {
            self.tokens.next();
        }
        found
    }

    /// One name, or several in braces.
    fn names(&mut self) -> Result<Vec<String>, Fault> {
        if !self.takes("{") {
            return Ok(vec![self.word()?]);
        }
        let mut out = Vec::new();
        while !self.takes("}") {
            out.push(self.word()?);
        }
        Ok(out)
    }

    fn require(&mut self, module: &mut Module) -> Result<(), Fault> {
        self.expect("{")?;
        while !self.takes("}") {
            let kind = self.word()?;
            match kind.as_str() {
                "type" => module.required_types.extend(self.list()?),
                "attribute" => module.attributes.extend(self.list()?),
                "role" => module.required_roles.extend(self.list()?),
                "class" => {
                    let class = module.classes.entry(self.word()?).or_default();
                    class.extend(self.names()?);
                    self.expect(";")?;
                }
                other => {
                    return Err((self.line, format!("`{other}` in `require` is not read")));
                }
            }
        }
        self.takes(";");
        Ok(())
    }

    /// `a, b;`
    fn list(&mut self) -> Result<Vec<String>, Fault> {
        let mut out = vec![self.word()?];
        while self.takes(",") {
            out.push(self.word()?);
        }
        self.expect(";")?;
        Ok(out)
    }

    fn statement(&mut self, word: &str, module: &mut Module) -> Result<(), Fault> {
        let line = self.line;
        match word {
            "type" => {
                let name = self.word()?;
                let own = module.types.entry(name).or_default();
                if self.takes(",") {
                    own.extend(self.list()?);
                } else {
                    self.expect(";")?;
                }
            }
            "typeattribute" => {
                let name = self.word()?;
                let more = self.list()?;
                match module.types.get_mut(&name) {
                    Some(own) => own.extend(more),
                    None => return Err((line, format!("`{name}` is no type of this module"))),
                }
            }
            "role" => {
                let role = self.word()?;
                if self.word()? != "types" {
                    return Err((line, "`role` is read as `role ROLE types TYPE;`".into()));
                }
                module.roles.entry(role).or_default().extend(self.names()?);
                self.expect(";")?;
            }
            "type_transition" => {
                let (sources, targets) = (self.names()?, self.names()?);
                self.expect(":")?;
                let classes = self.names()?;
                let new = self.word()?;
                self.expect(";")?;
                for source in &sources {
                    for target in &targets {
                        for class in &classes {
                            let rule = [source, target, class, &new].map(Clone::clone);
                            module.transitions.push(rule);
                        }
                    }
                }
            }
            // A neverallow is an assertion that is checked when the module is built. It takes nothing away.
            "allow" | "neverallow" => {
                let (sources, targets) = (self.names()?, self.names()?);
                self.expect(":")?;
                let (classes, permissions) = (self.names()?, self.names()?);
                self.expect(";")?;
                let rules = match word {
                    "neverallow" => &mut module.nevers,
                    _ => &mut module.allows,
                };
                for source in &sources {
                    for target in &targets {
                        for class in &classes {
                            rules.push(Allow {
                                source: source.clone(),
                                target: target.clone(),
                                class: class.clone(),
                                permissions: permissions.iter().cloned().collect(),
                                line,
                            });
                        }
                    }
                }
            }
            other => return Err((line, format!("`{other}` is no statement that polc reads"))),
        }
        Ok(())
    }
}
