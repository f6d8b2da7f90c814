//! Front-ends: from a file to a [`crate::policy::Policy`].
//!
//! A front-end knows nothing of back-ends. Each has a folder here.
