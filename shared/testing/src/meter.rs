//! Counts AWS calls and DynamoDB write units as the price list does: it asks for the consumed capacity of every write.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::{
    operation::{
        put_item::{PutItemInput, PutItemOutput},
        transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput},
        update_item::{UpdateItemInput, UpdateItemOutput},
    },
    types::{ConsumedCapacity, ReturnConsumedCapacity},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeSerializationInterceptorContextMut, FinalizerInterceptorContextRef},
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

/// Units of a write that was refused: DynamoDB bills at least one.
const REFUSED_WRITE_UNITS: f64 = 1.0;

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Calls by operation.
    pub calls: BTreeMap<String, u64>,
    /// Write units by table.
    pub write_units: BTreeMap<String, f64>,
}

/// An SDK interceptor that counts.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Counts>>);

impl Meter {
    /// What was counted since the last reset.
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap().clone()
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        *self.0.lock().unwrap() = Counts::default();
    }

    fn add(&self, capacity: &ConsumedCapacity) {
        let table = capacity.table_name().unwrap_or("?").to_owned();
        *self.0.lock().unwrap().write_units.entry(table).or_default() += capacity.capacity_units().unwrap_or_default();
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let wanted = Some(ReturnConsumedCapacity::Total);
        let input = context.input_mut();
        if let Some(put) = input.downcast_mut::<PutItemInput>() {
            put.return_consumed_capacity = wanted;
        } else if let Some(update) = input.downcast_mut::<UpdateItemInput>() {
            update.return_consumed_capacity = wanted;
        } else if let Some(transaction) = input.downcast_mut::<TransactWriteItemsInput>() {
            transaction.return_consumed_capacity = wanted;
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("?", Metadata::name).to_owned();
        *self.0.lock().unwrap().calls.entry(operation.clone()).or_default() += 1;
        match context.output_or_error() {
            Some(Ok(output)) => {
                if let Some(put) = output.downcast_ref::<PutItemOutput>() {
                    put.consumed_capacity().into_iter().for_each(|capacity| self.add(capacity));
                } else if let Some(update) = output.downcast_ref::<UpdateItemOutput>() {
                    update.consumed_capacity().into_iter().for_each(|capacity| self.add(capacity));
                } else if let Some(transaction) = output.downcast_ref::<TransactWriteItemsOutput>() {
                    transaction.consumed_capacity().iter().for_each(|capacity| self.add(capacity));
                }
            }
            _ if matches!(operation.as_str(), "PutItem" | "UpdateItem" | "TransactWriteItems") => {
                *self.0.lock().unwrap().write_units.entry("refused".to_owned()).or_default() += REFUSED_WRITE_UNITS;
            }
            _ => {}
        }
        Ok(())
    }
}
