//! The tables' keys and indexes, for tests that make their own. `template.yaml` is what is deployed; a test compares
//! the two.

/// A table's shape.
#[derive(Debug)]
pub struct Table {
    /// Its name without the stack's, and the name of its environment variable without `_TABLE`, in lower case.
    pub name: &'static str,
    /// Partition key.
    pub hash: &'static str,
    /// Sort key.
    pub range: Option<&'static str>,
    /// The attribute that holds the moment of expiry, in seconds.
    pub ttl: Option<&'static str>,
    /// Global secondary indexes.
    pub indexes: &'static [Index],
}

/// A global secondary index whose sort key is a number.
#[derive(Debug)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Partition key.
    pub hash: &'static str,
    /// Sort key.
    pub range: &'static str,
    /// Attributes it carries besides the keys.
    pub include: &'static [&'static str],
}

/// What a payment method consists of, besides keys.
const PAYMENT_METHOD: &[&str] = &["b", "l", "e", "h", "f", "cu", "md", "t", "g"];

/// Every table.
pub const TABLES: [Table; 7] = [
    Table {
        name: "payments",
        hash: "pk",
        range: None,
        ttl: None,
        indexes: &[
            Index { name: "by_merchant", hash: "m", range: "ca", include: &["c"] },
            Index { name: "by_customer", hash: "cu", range: "ca", include: &["c"] },
            Index { name: "due", hash: "ds", range: "da", include: &[] },
        ],
    },
    Table {
        name: "merchants",
        hash: "pk",
        range: Some("sk"),
        ttl: Some("ttl"),
        indexes: &[
            Index { name: "payment_methods", hash: "pm", range: "ca", include: PAYMENT_METHOD },
            Index { name: "payment_methods_of_customer", hash: "pc", range: "ca", include: PAYMENT_METHOD },
        ],
    },
    Table { name: "webhooks", hash: "pk", range: Some("sk"), ttl: Some("ttl"), indexes: &[] },
    Table { name: "analytics", hash: "pk", range: Some("sk"), ttl: None, indexes: &[] },
    Table { name: "idempotency", hash: "pk", range: None, ttl: Some("ttl"), indexes: &[] },
    Table { name: "audit", hash: "pk", range: Some("sk"), ttl: Some("ttl"), indexes: &[] },
    Table { name: "gateway", hash: "pk", range: Some("sk"), ttl: Some("ttl"), indexes: &[] },
];
