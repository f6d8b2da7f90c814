//! What polc says about a start, as values. The command line chooses the words around them.

/// What holds when the program starts, and what does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Each layer that is in force.
    pub in_force: Vec<Item>,
    /// What the program can do although the policy denies it. The short words follow "the program can".
    pub not_kept: Vec<Item>,
    /// What the layers refuse although the policy allows it.
    pub stricter: Vec<Item>,
    /// What is refused, although the policy allows it, until the user does something. Each line says what to do.
    pub to_do: Vec<String>,
}

/// One thing that polc says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A few plain words, for a list of many.
    pub short: String,
    /// One line with the reason or the numbers.
    pub long: String,
}

impl Report {
    /// A layer that is in force.
    pub fn in_force(&mut self, short: impl Into<String>, long: impl Into<String>) {
        self.in_force.push(Item::new(short, long));
    }

    /// Adds something that the program can do although the policy denies it. The short words follow "the program can".
    pub fn not_kept(&mut self, short: impl Into<String>, long: impl Into<String>) {
        self.not_kept.push(Item::new(short, long));
    }

    /// Adds something that is refused until the user does what the line says.
    pub fn to_do(&mut self, line: impl Into<String>) {
        self.to_do.push(line.into());
    }

    /// Adds something that is refused although the policy allows it.
    pub fn stricter(&mut self, short: impl Into<String>, long: impl Into<String>) {
        self.stricter.push(Item::new(short, long));
    }
}

impl Item {
    fn new(short: impl Into<String>, long: impl Into<String>) -> Self {
        Self {
            short: short.into(),
            long: long.into(),
        }
    }
}
