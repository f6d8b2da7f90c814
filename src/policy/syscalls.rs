//! Stub until the table lands.
pub fn all() -> impl Iterator<Item = &'static str> {
    ["read"].into_iter()
}
pub fn known(_: &str) -> bool {
    true
}
pub fn group(_: &str) -> Option<&'static [&'static str]> {
    None
}
pub fn ordinary(_: &str) -> bool {
    true
}
