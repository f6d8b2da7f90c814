//! The README's table is what the compiler says. `POLC_BLESS=1 cargo test --test readme` writes it anew.

use polc::backend::{self, Target};
use polc::fidelity::Fidelity;
use polc::frontend::{LoadOptions, load_builtin};
use polc::semantics::Meaning;

#[test]
fn the_coverage_table_is_current() {
    let policy = load_builtin("coding-agent", &LoadOptions::default())
        .unwrap()
        .policy;
    let meaning = Meaning::new(&policy);
    let kinds = [
        Fidelity::Exact,
        Fidelity::Stricter,
        Fidelity::Looser,
        Fidelity::Mixed,
        Fidelity::Unenforced,
    ];
    let mut table = String::from(
        "| target | exact | stricter | looser | mixed | unenforced |\n|---|---|---|---|---|---|\n",
    );
    for b in backend::all() {
        let ledger = b.compile(&meaning, &Target::default()).unwrap().ledger;
        let counts: Vec<String> = kinds.iter().map(|k| ledger.count(*k).to_string()).collect();
        table.push_str(&format!("| {} | {} |\n", b.id(), counts.join(" | ")));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- coverage -->\n").unwrap();
    let (shown, after) = rest.split_once("<!-- /coverage -->").unwrap();
    if std::env::var_os("POLC_BLESS").is_some() {
        std::fs::write(
            path,
            format!("{before}<!-- coverage -->\n{table}<!-- /coverage -->{after}"),
        )
        .unwrap();
        return;
    }
    assert!(
        shown == table,
        "README.md has\n{shown}\nand the compiler says\n{table}"
    );
}
