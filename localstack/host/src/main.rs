//! `florin-host`: runs a template on this machine.

fn main() {}
