//! Parameters that several operations take.

use utoipa::IntoParams;

use super::schemas::{
    Currency, Customer,
    analytics::Granularity,
    merchants::ApiKeyId,
    operations::{Consumer, MerchantId, Term},
    payment_methods::PaymentMethodId,
    payments::{PaymentId, PaymentStatus},
    people::UserId,
    refunds::{RefundId, RefundStatus},
};

/// A payment in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PaymentPath {
    /// The payment.
    pub id: PaymentId,
}

/// A refund in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RefundPath {
    /// The refund.
    pub id: RefundId,
}

/// A payment method in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PaymentMethodPath {
    /// The payment method.
    pub id: PaymentMethodId,
}

/// An API key in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ApiKeyPath {
    /// The key.
    pub id: ApiKeyId,
}

/// A user in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct UserPath {
    /// The user.
    pub id: UserId,
}

/// A customer in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct CustomerPath {
    /// Your reference.
    pub customer: Customer,
}

/// A consumer in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ConsumerPath {
    /// Whose dead letters.
    #[param(inline)]
    pub consumer: Consumer,
}

/// The header that makes a request safe to send again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyKey {
    /// 1 to 255 visible ASCII characters, quoted or bare, such as a UUID.
    /// The same key and the same fields are answered as the first time; the same key and other fields are refused.
    #[param(
        rename = "Idempotency-Key",
        pattern = r#"^([!#-~][!-~]{0,254}|"[!-~]{1,255}")$"#,
        example = "7f0c2f5e-0d5a-4f0e-9a43-0d3f3f1b8f5e"
    )]
    pub idempotency_key: String,
}

/// What a list of payments may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PaymentListing {
    /// At most so many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<i64>,
    /// The `next_cursor` of an earlier page.
    #[param(format = "payment-cursor")]
    pub cursor: Option<String>,
    /// Only those of this customer.
    pub customer: Option<Customer>,
    /// Only those that stand there.
    #[param(inline)]
    pub status: Option<PaymentStatus>,
    /// Only those in this currency.
    pub currency: Option<Currency>,
    /// Only those created then or later.
    #[param(format = DateTime)]
    pub created_from: Option<String>,
    /// Only those created then or earlier.
    #[param(format = DateTime)]
    pub created_to: Option<String>,
}

/// What a list of refunds may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RefundListing {
    /// At most so many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<i64>,
    /// The `next_cursor` of an earlier page.
    #[param(format = "refund-cursor")]
    pub cursor: Option<String>,
    /// Only those that stand there.
    #[param(inline)]
    pub status: Option<RefundStatus>,
    /// Only those in this currency.
    pub currency: Option<Currency>,
    /// Only those created then or later.
    #[param(format = DateTime)]
    pub created_from: Option<String>,
    /// Only those created then or earlier.
    #[param(format = DateTime)]
    pub created_to: Option<String>,
}

/// What a list of payment methods may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PaymentMethodListing {
    /// At most so many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<i64>,
    /// The `next_cursor` of an earlier page.
    #[param(format = "payment-method-cursor")]
    pub cursor: Option<String>,
    /// Only those of this customer.
    pub customer: Option<Customer>,
    /// Only those of the same number.
    #[param(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")]
    pub fingerprint: Option<String>,
}

/// What an export may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CustomerListing {
    /// At most so many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<i64>,
    /// The `next_cursor` of an earlier page.
    #[param(format = "export-cursor")]
    pub cursor: Option<String>,
}

/// What the audit log may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditListing {
    /// At most so many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<i64>,
    /// The `next_cursor` of an earlier page.
    #[param(format = "audit-cursor")]
    pub cursor: Option<String>,
}

/// What analytics may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AnalyticsRange {
    /// From when; 24 hours before `to` unless told.
    #[param(format = DateTime)]
    pub from: Option<String>,
    /// Until when; now unless told.
    #[param(format = DateTime)]
    pub to: Option<String>,
    /// Hours reach over 31 days at most, days over 366.
    #[param(inline)]
    pub granularity: Option<Granularity>,
    /// Only payments in this currency.
    pub currency: Option<Currency>,
}

/// What the list of what is stuck may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StuckListing {
    /// At most so many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<i64>,
}

/// Which dead letters are meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterChoice {
    /// Only those of this type, such as `payment.completed`.
    pub r#type: Option<Term>,
    /// Only those of this merchant.
    pub merchant: Option<MerchantId>,
    /// Only those with this in their reason.
    pub error: Option<Term>,
    /// Only those sent longer ago.
    #[param(minimum = 1, maximum = 1_209_600)]
    pub older_than_seconds: Option<i64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 50, default = 50)]
    pub limit: Option<i64>,
}
