//! What the artefacts mean, read back from their bytes, against the policies that they were made of.

mod corpus;
mod ledgers;
mod mutants;
mod random;
mod together;
