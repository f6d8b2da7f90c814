//! SELinux: the module is built, linked with Debian's reference policy, and the linked policy asked.

mod base;
mod link;
pub mod meaning;
mod own;

pub use link::*;
