//! SQS's refusals, by the names of its JSON protocol and, where they differ, of the older query protocol.

use std::fmt::Display;

use crate::error::ServiceError;

/// `QueueDoesNotExist`.
pub(super) fn no_queue(name: &str) -> ServiceError {
    ServiceError::sender("QueueDoesNotExist", format!("The specified queue does not exist: {name}"))
        .with_query_code("AWS.SimpleQueueService.NonExistentQueue")
}

/// `InvalidParameterValue`: the JSON protocol gives the shape a longer name.
pub(super) fn invalid_parameter(message: impl Into<String>) -> ServiceError {
    ServiceError::sender("InvalidParameterValueException", message).with_query_code("InvalidParameterValue")
}

/// `InvalidParameterValue` with the sentence that AWS makes of parameter, value and reason.
pub(super) fn invalid_value(parameter: &str, value: impl Display, reason: &str) -> ServiceError {
    invalid_parameter(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
}

/// `MissingParameter`.
pub(super) fn missing(parameter: &str) -> ServiceError {
    ServiceError::sender(
        "MissingRequiredParameterException",
        format!("The request must contain the parameter {parameter}."),
    )
    .with_query_code("MissingParameter")
}

/// A field of the wrong JSON type.
pub(super) fn wrong_type(parameter: &str, expected: &str) -> ServiceError {
    ServiceError::sender("SerializationException", format!("{parameter} must be {expected}"))
}

/// `InvalidAttributeName`, for attributes of queues and of messages alike.
pub(super) fn unknown_attribute(name: &str) -> ServiceError {
    ServiceError::sender("InvalidAttributeName", format!("Unknown Attribute {name}."))
}

/// `InvalidAttributeValue`.
pub(super) fn invalid_attribute_value(name: &str) -> ServiceError {
    ServiceError::sender("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

/// `ReceiptHandleIsInvalid`: text that this queue never gave out.
pub(super) fn invalid_handle(handle: &str) -> ServiceError {
    let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
    ServiceError::sender("ReceiptHandleIsInvalid", message)
}

/// What SQS has and this host has not.
pub(super) fn unsupported(what: impl Display) -> ServiceError {
    namespaced("UnsupportedOperation", format!("{what} is not supported by this host."))
}

/// `ResourceNotFoundException` of the calls about message move tasks.
pub(super) fn no_resource(message: impl Into<String>) -> ServiceError {
    ServiceError::sender("ResourceNotFoundException", message)
}

/// An error whose query code is its name behind `AWS.SimpleQueueService.`.
pub(super) fn namespaced(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::sender(code, message).with_query_code(&format!("AWS.SimpleQueueService.{code}"))
}
