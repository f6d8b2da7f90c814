//! AvaKill's policy files, recognised by their `policies` key.

use super::native::node::Node;
use super::native::reader::Report;
use super::{LoadOptions, Loaded};
use crate::diagnostics::{Diagnostics, codes};
use crate::policy::FileId;
use std::rc::Rc;

/// Whether the file is one of AvaKill's.
pub(crate) fn recognises(root: &Node) -> bool {
    root.get("policies").is_some() && root.get("rules").is_none()
}

/// Reads one.
pub(crate) fn load(
    root: &Rc<Node>,
    _file: FileId,
    _options: &LoadOptions,
    mut report: Report,
) -> Result<Loaded, Diagnostics> {
    report.error(
        codes::UNKNOWN_KEY,
        "AvaKill's policy files cannot be read yet",
        root.span,
        "",
        "",
    );
    Err(report.finish())
}
