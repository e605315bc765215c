//! What emulators are known to do otherwise than AWS documents. The suite keeps this list true.

use std::collections::BTreeMap;

/// A case that fails there.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// `host` or `ministack`, as `FLORIN_EMULATOR` names it.
    pub emulator: &'static str,
    /// The case's name.
    pub case: &'static str,
    /// What the emulator does instead.
    pub does: &'static str,
    /// It does so in some runs and not in others: the case may pass.
    pub at_times: bool,
}

const fn ministack(case: &'static str, does: &'static str) -> Difference {
    Difference { emulator: "ministack", case, does, at_times: false }
}

const fn ministack_at_times(case: &'static str, does: &'static str) -> Difference {
    Difference { at_times: true, ..ministack(case, does) }
}

/// Every known difference: of MiniStack 1.5.33, and of the host, which has none.
pub const DIFFERENCES: &[Difference] = &[
    ministack("mappings.environment", "sets no AWS_LAMBDA_LOG_GROUP_NAME"),
    ministack("mappings.record_attributes", "leaves out the empty lists stringListValues and binaryListValues"),
    ministack("mappings.batch_of_more_than_ten", "never makes a batch of more than ten"),
    ministack("mappings.window_fills", "stores the window and does not wait for it"),
    ministack_at_times("mappings.complete_success", "at times takes a null list for a failure of the batch"),
    ministack("mappings.complete_failure", "deletes the batch when the answer is no object or has an empty identifier"),
    ministack("mappings.unknown_identifier", "deletes the batch"),
    ministack("http_api.event_shape", "leaves out requestContext.domainPrefix"),
    ministack("http_api.cookies", "leaves them in the cookie header; there is no list"),
    ministack("http_api.failing_function", "answers 502"),
    ministack("sns.publish_to_no_arn", "answers NotFound"),
    ministack("sns.empty_message_is_refused", "takes it"),
    ministack("sns.subject_is_checked", "takes any subject"),
    ministack("sns.attribute_values_are_checked", "takes empty values and unknown types"),
    ministack("sns.message_by_protocol_needs_default", "publishes it without"),
    ministack("sns.envelope_has_attributes", "loses the bytes of binary attributes"),
    ministack("sns.raw_takes_ten_attributes", "delivers them all"),
    ministack("sns.discarded_raw_message_is_dead_letter", "delivers it"),
    ministack("sns.deleted_queue_leads_to_dead_letters", "stores the redrive policy and loses the message"),
    ministack("sns.batch_is_empty", "answers InvalidParameterException"),
    ministack("sns.batch_ids_are_checked", "takes any id"),
    ministack("sns.batch_size_is_summed", "takes any size"),
    ministack("sns.filter_numbers", "takes the text of a String attribute for a number"),
    ministack("sns.filter_body_arrays", "does not take a body with the null that the policy lists"),
    ministack("sns.filter_policies_are_checked", "takes any text as a policy"),
    ministack("sns.filter_policies_are_small", "takes any number of combinations"),
    ministack("sns.names_are_checked", "takes any name"),
    ministack("sns.subscribe_conflicts", "gives the ARN of the subscription that is there"),
    ministack("sns.unknown_protocol_is_refused", "takes any protocol"),
    ministack("sns.unknown_attribute_is_refused", "takes any attribute"),
    ministack("sns.subscription_is_described", "leaves out FilterPolicyScope where it is the default"),
    ministack("sqs.visibility_change_is_bounded", "takes more than 43,200 s"),
    ministack("sqs.visibility_of_visible_message", "changes it"),
    ministack("sqs.visibility_of_deleted_message", "answers ReceiptHandleIsInvalid"),
    ministack("sqs.trace_header_travels", "answers without MD5OfMessageSystemAttributes"),
    ministack("sqs.delay_is_bounded", "takes any delay"),
    ministack("sqs.attributes_count_in_size", "counts the body alone"),
    ministack("sqs.ten_attributes_at_most", "takes more"),
    ministack("sqs.attribute_names_are_checked", "takes any name"),
    ministack("sqs.attribute_types_are_checked", "takes any type"),
    ministack("sqs.attribute_values_are_checked", "takes empty values"),
    ministack("sqs.wait_is_bounded", "waits as long as it is asked to"),
    ministack("sqs.receive_visibility_is_bounded", "takes any time-out"),
    ministack("sqs.message_is_deleted_twice", "answers ReceiptHandleIsInvalid"),
    ministack("sqs.older_handle_deletes_nothing", "answers ReceiptHandleIsInvalid"),
    ministack("sqs.redrive_denied_to_all", "stores the permission and does not ask it"),
    ministack("sqs.redrive_allowed_by_queue", "stores the permission and does not ask it"),
    ministack("sqs.redrive_allows_ten_queues", "takes any permission"),
    ministack("sqs.source_queues_are_listed", "answers InvalidAction"),
    ministack("sqs.purge_once_a_minute", "purges again"),
    ministack("sqs.move_back_to_sources", "answers InvalidAction"),
    ministack("sqs.move_to_destination", "answers InvalidAction"),
    ministack("sqs.move_is_listed", "answers InvalidAction"),
    ministack("sqs.move_needs_dead_letter_queue", "answers InvalidAction"),
    ministack("sqs.move_of_absent_queue", "answers InvalidAction"),
    ministack("sqs.move_rate_is_bounded", "answers InvalidAction"),
    ministack("sqs.cancel_needs_a_task", "answers InvalidAction"),
    ministack("sqs.names_are_checked", "takes any name"),
    ministack("sqs.unknown_attributes_are_refused", "stores any attribute"),
];

/// Those of one emulator, by case.
pub fn of(emulator: &str) -> BTreeMap<&'static str, Difference> {
    let of_it = DIFFERENCES.iter().filter(|difference| difference.emulator == emulator);
    of_it.map(|difference| (difference.case, *difference)).collect()
}
