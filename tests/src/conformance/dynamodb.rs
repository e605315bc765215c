//! What Florin relies on of DynamoDB.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result};
use aws_sdk_dynamodb::{
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, Put, ReturnValuesOnConditionCheckFailure::AllOld, ScalarAttributeType, TransactWriteItem,
        Update,
    },
};

use super::{
    Case, Context, case,
    check::{becomes, refused, same},
    context::ARRIVAL,
};

const PUT: &str = "DynamoDB API Reference, PutItem";
const UPDATE: &str = "DynamoDB API Reference, UpdateItem";
const TRANSACT: &str = "DynamoDB API Reference, TransactWriteItems";
const INDEXES: &str = "DynamoDB Developer Guide, Take advantage of sparse indexes";
const QUERY: &str = "DynamoDB Developer Guide, Paginating table query results";
const TYPES: &str = "DynamoDB Developer Guide, Supported data types and naming rules";

pub(super) fn cases() -> Vec<Case> {
    CASES.to_vec()
}

const CASES: &[Case] = &[
    case!(
        dynamodb,
        refused_put_gives_old_item,
        PUT,
        "ReturnValuesOnConditionCheckFailure ALL_OLD gives the item that is there"
    ),
    case!(dynamodb, refused_update_gives_old_item, UPDATE, "The same for an update"),
    case!(
        dynamodb,
        transaction_says_why,
        TRANSACT,
        "A transaction that is cancelled has a reason for each of its actions"
    ),
    case!(
        dynamodb,
        cancelled_transaction_writes_nothing,
        TRANSACT,
        "A transaction that is cancelled leaves every item as it was"
    ),
    case!(dynamodb, transaction_is_idempotent, TRANSACT, "The same ClientRequestToken again has no second effect"),
    case!(
        dynamodb,
        transaction_token_is_of_one_request,
        TRANSACT,
        "The same token with another request: IdempotentParameterMismatch"
    ),
    case!(dynamodb, index_is_sparse, INDEXES, "An item without the index's key is not in the index"),
    case!(dynamodb, query_in_pages, QUERY, "Limit ends a page, LastEvaluatedKey goes on behind it"),
    case!(dynamodb, updates_at_once_are_all_counted, UPDATE, "ADD is atomic: every one of many at once counts"),
    case!(dynamodb, numbers_have_38_digits, TYPES, "A number keeps 38 digits"),
    case!(dynamodb, numbers_have_no_more_digits, TYPES, "A number of more than 38 digits is refused"),
    case!(dynamodb, empty_key_is_refused, TYPES, "A key attribute is not empty; another one may be"),
];

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// A table with `pk` and `sk`, and an index by `due` of those items that have it.
async fn table(context: &Context) -> Result<String> {
    let name = context.name();
    let attribute =
        |name: &str| AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build();
    let key = |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let index = GlobalSecondaryIndex::builder()
        .index_name("due")
        .key_schema(key("due", KeyType::Hash)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build());
    let request = context.dynamodb.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    let request = request.attribute_definitions(attribute("pk")?).attribute_definitions(attribute("sk")?);
    let request = request.attribute_definitions(attribute("due")?).global_secondary_indexes(index.build()?);
    request.key_schema(key("pk", KeyType::Hash)?).key_schema(key("sk", KeyType::Range)?).send().await?;
    context.forget_table_later(&name);
    becomes("the table's status", Duration::from_secs(60), Some("ACTIVE".to_owned()), async || {
        let described = context.dynamodb.describe_table().table_name(&name).send().await?;
        Ok(described.table().and_then(|table| table.table_status()).map(|status| status.as_str().to_owned()))
    })
    .await?;
    Ok(name)
}

async fn put(context: &Context, table: &str, sk: &str, more: &[(&str, AttributeValue)]) -> Result<()> {
    let request = context.dynamodb.put_item().table_name(table).item("pk", text("p")).item("sk", text(sk));
    let request = more.iter().fold(request, |request, (name, value)| request.item(*name, value.clone()));
    request.send().await?;
    Ok(())
}

async fn get(context: &Context, table: &str, sk: &str) -> Result<Option<HashMap<String, AttributeValue>>> {
    let request = context.dynamodb.get_item().table_name(table).key("pk", text("p")).key("sk", text(sk));
    Ok(request.consistent_read(true).send().await?.item)
}

async fn refused_put_gives_old_item(context: Context) -> Result<()> {
    let table = table(&context).await?;
    put(&context, &table, "s", &[("v", text("old"))]).await?;
    let request = context.dynamodb.put_item().table_name(&table).item("pk", text("p")).item("sk", text("s"));
    let request = request.condition_expression("attribute_not_exists(pk)").item("v", text("new"));
    let error = request.return_values_on_condition_check_failure(AllOld).send().await.err().context("accepted")?;
    let Some(PutItemError::ConditionalCheckFailedException(refusal)) = error.as_service_error() else {
        return Err(error.into());
    };
    let old = refusal.item().and_then(|item| item.get("v"));
    same("the item of the refusal", old, Some(&text("old")))
}

async fn refused_update_gives_old_item(context: Context) -> Result<()> {
    use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
    let table = table(&context).await?;
    put(&context, &table, "s", &[("v", AttributeValue::N("3".to_owned()))]).await?;
    let request = context.dynamodb.update_item().table_name(&table).key("pk", text("p")).key("sk", text("s"));
    let request = request.update_expression("SET v = :new").condition_expression("v = :old");
    let request = request.expression_attribute_values(":new", AttributeValue::N("4".to_owned()));
    let request = request.expression_attribute_values(":old", AttributeValue::N("2".to_owned()));
    let error = request.return_values_on_condition_check_failure(AllOld).send().await.err().context("accepted")?;
    let Some(UpdateItemError::ConditionalCheckFailedException(refusal)) = error.as_service_error() else {
        return Err(error.into());
    };
    let old = refusal.item().and_then(|item| item.get("v"));
    same("the item of the refusal", old, Some(&AttributeValue::N("3".to_owned())))
}

/// Puts an item that must not exist.
fn new_item(table: &str, sk: &str) -> Result<TransactWriteItem> {
    let put = Put::builder().table_name(table).item("pk", text("p")).item("sk", text(sk));
    let put = put.condition_expression("attribute_not_exists(pk)").return_values_on_condition_check_failure(AllOld);
    Ok(TransactWriteItem::builder().put(put.build()?).build())
}

/// Adds one to a counter.
fn count(table: &str, sk: &str) -> Result<TransactWriteItem> {
    let update = Update::builder().table_name(table).key("pk", text("p")).key("sk", text(sk));
    let update =
        update.update_expression("ADD n :one").expression_attribute_values(":one", AttributeValue::N("1".into()));
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

async fn transaction_says_why(context: Context) -> Result<()> {
    let table = table(&context).await?;
    put(&context, &table, "taken", &[("v", text("old"))]).await?;
    let request = context.dynamodb.transact_write_items().transact_items(count(&table, "counter")?);
    let request = request.transact_items(new_item(&table, "taken")?).transact_items(new_item(&table, "free")?);
    let error = request.send().await.err().context("accepted")?;
    let Some(TransactWriteItemsError::TransactionCanceledException(refusal)) = error.as_service_error() else {
        return Err(error.into());
    };
    let reasons = refusal.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap_or_default()).collect();
    same("the reasons", codes, ["None", "ConditionalCheckFailed", "None"])?;
    let item = reasons.get(1).and_then(|reason| reason.item()?.get("v"));
    same("the item of the second reason", item, Some(&text("old")))
}

async fn cancelled_transaction_writes_nothing(context: Context) -> Result<()> {
    let table = table(&context).await?;
    put(&context, &table, "taken", &[]).await?;
    let request = context.dynamodb.transact_write_items().transact_items(count(&table, "counter")?);
    let answer = request.transact_items(new_item(&table, "taken")?).send().await;
    refused(answer, &["TransactionCanceledException"])?;
    same("the counter", get(&context, &table, "counter").await?, None)
}

async fn transaction_is_idempotent(context: Context) -> Result<()> {
    let (table, token) = (table(&context).await?, context.name());
    for _ in 0..3 {
        let request = context.dynamodb.transact_write_items().transact_items(count(&table, "counter")?);
        request.client_request_token(&token).send().await?;
    }
    let item = get(&context, &table, "counter").await?.context("nothing was written")?;
    same("the counter", item.get("n"), Some(&AttributeValue::N("1".to_owned())))
}

async fn transaction_token_is_of_one_request(context: Context) -> Result<()> {
    let table = table(&context).await?;
    let request = context.dynamodb.transact_write_items().client_request_token(context.name());
    request.clone().transact_items(count(&table, "a")?).send().await?;
    let answer = request.transact_items(count(&table, "b")?).send().await;
    refused(answer, &["IdempotentParameterMismatchException"])
}

async fn index_is_sparse(context: Context) -> Result<()> {
    let table = table(&context).await?;
    put(&context, &table, "in", &[("due", text("shard"))]).await?;
    put(&context, &table, "out", &[]).await?;
    let listed = async || {
        let request = context.dynamodb.query().table_name(&table).index_name("due");
        let request = request.key_condition_expression("due = :d").expression_attribute_values(":d", text("shard"));
        let items = request.send().await?.items.unwrap_or_default();
        Ok(items.iter().filter_map(|item| item.get("sk")?.as_s().ok().cloned()).collect::<Vec<_>>())
    };
    becomes("the index", ARRIVAL, vec!["in".to_owned()], listed).await?;
    let request = context.dynamodb.update_item().table_name(&table).key("pk", text("p")).key("sk", text("in"));
    request.update_expression("REMOVE due").send().await?;
    becomes("the index after the key was removed", ARRIVAL, Vec::new(), listed).await
}

async fn query_in_pages(context: Context) -> Result<()> {
    let table = table(&context).await?;
    for sk in ["a", "b", "c"] {
        put(&context, &table, sk, &[]).await?;
    }
    let request = context.dynamodb.query().table_name(&table).key_condition_expression("pk = :p").limit(2);
    let request = request.expression_attribute_values(":p", text("p"));
    let first = request.clone().send().await?;
    let next = first.last_evaluated_key.clone().context("the first page has no LastEvaluatedKey")?;
    let second = request.set_exclusive_start_key(Some(next)).send().await?;
    let sort_keys = |items: &[HashMap<String, AttributeValue>]| -> Vec<AttributeValue> {
        items.iter().filter_map(|item| item.get("sk").cloned()).collect()
    };
    same("the first page", sort_keys(first.items()), [text("a"), text("b")])?;
    same("the second page", sort_keys(second.items()), [text("c")])?;
    same("LastEvaluatedKey of the last page", second.last_evaluated_key(), None)
}

async fn updates_at_once_are_all_counted(context: Context) -> Result<()> {
    const UPDATES: usize = 40;
    let table = table(&context).await?;
    let one = AttributeValue::N("1".to_owned());
    let updates = (0..UPDATES).map(|_| {
        let request = context.dynamodb.update_item().table_name(&table).key("pk", text("p")).key("sk", text("s"));
        request.update_expression("ADD n :one").expression_attribute_values(":one", one.clone()).send()
    });
    futures::future::try_join_all(updates).await?;
    let item = get(&context, &table, "s").await?.context("nothing was written")?;
    same("the counter", item.get("n"), Some(&AttributeValue::N(UPDATES.to_string())))
}

async fn numbers_have_38_digits(context: Context) -> Result<()> {
    const NUMBER: &str = "12345678901234567890123456789012345678";
    let table = table(&context).await?;
    put(&context, &table, "s", &[("n", AttributeValue::N(NUMBER.to_owned()))]).await?;
    let item = get(&context, &table, "s").await?.context("nothing was written")?;
    same("the number", item.get("n"), Some(&AttributeValue::N(NUMBER.to_owned())))
}

async fn numbers_have_no_more_digits(context: Context) -> Result<()> {
    let table = table(&context).await?;
    let request = context.dynamodb.put_item().table_name(&table).item("pk", text("p")).item("sk", text("s"));
    let answer = request.item("n", AttributeValue::N("1".repeat(39))).send().await;
    refused(answer, &["ValidationException"])
}

async fn empty_key_is_refused(context: Context) -> Result<()> {
    let table = table(&context).await?;
    put(&context, &table, "s", &[("v", text(""))]).await?;
    let answer = context.dynamodb.put_item().table_name(&table).item("pk", text("p")).item("sk", text("")).send().await;
    refused(answer, &["ValidationException"])
}
