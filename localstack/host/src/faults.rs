//! Faults on purpose, by rule.
