//! `/v1/ops/dead_letters/{consumer}`: what a consumer could not handle, and why; `replay` and `discard` act on it.
//! Bodies of messages are never shown: whoever sent one may have put anything in.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use florin_domain::{ids::MerchantId, journal::NOTE_CHARACTERS_MAX, time::Timestamp};
use florin_messaging::{
    dead_letters::{Action, DeadLetters, Fate, Filter, Order, Seen},
    mask,
};
use florin_platform::random;
use serde_json::{Value, json};

use super::{ACTOR_CHARACTERS_MAX, queues::in_time};
use crate::{
    Api,
    auth::Operator,
    body::{self, Fields, is_plain_line},
    path::Name,
    problem::Problem,
    query::Parameters,
};

/// Dead letters that one request shows, replays or discards; also the default.
const LETTERS_MAX: u32 = 50;
/// Longest age that can be asked for, in seconds: SQS keeps a message for 14 days.
const AGE_SECONDS_MAX: u32 = 14 * 24 * 60 * 60;
/// Longest type or part of a reason that can be asked for, in characters.
const TEXT_CHARACTERS_MAX: usize = 100;

/// Which dead letters are meant.
struct Meant {
    filter: Filter,
    limit: u32,
}

/// Who wants what done, and why.
struct Request {
    actor: String,
    note: Option<String>,
    confirm: bool,
    meant: Meant,
}

/// Lists what a consumer could not handle, and leaves it where it is.
#[utoipa::path(
    get, path = "/v1/ops/dead_letters/{consumer}", operation_id = "list_dead_letters", tag = "Operations",
    params(crate::openapi::params::ConsumerPath, crate::openapi::params::DeadLetterChoice),
    responses(
        (status = 200, description = "The dead letters.", body = crate::openapi::schemas::operations::DeadLetterList),
        (status = 400, description = "type_invalid merchant_invalid error_invalid older_than_seconds_invalid limit_out_of_range"),
        (status = 404, description = "consumer_not_found"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    _: Operator,
    Name(consumer): Name,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let Meant { filter, limit } = read_query(&uri, api.dependencies.clock.now())?;
    in_time(async {
        let selection = api.dependencies.queues.of(&consumer).await?.select(&filter, limit).await?;
        Ok(Json(json!({
            "object": "list",
            "data": selection.seen.iter().map(shown).collect::<Vec<_>>(),
            "has_more": selection.more,
        })))
    })
    .await
}

/// Puts dead letters back into their queue.
///
/// Without `confirm` nothing is done, and the answer is what would be. A request works for at most eight seconds,
/// then it says so; the same request goes on with what is left.
#[utoipa::path(
    post, path = "/v1/ops/dead_letters/{consumer}/replay", operation_id = "replay_dead_letters", tag = "Operations",
    params(crate::openapi::params::ConsumerPath),
    request_body = crate::openapi::schemas::operations::DeadLetterOrder,
    responses(
        (status = 200, description = "What was, or would be, done.", body = crate::openapi::schemas::operations::DeadLetterAnswer),
        (status = 404, description = "consumer_not_found"),
        (status = 422, description = "actor_missing actor_invalid note_invalid confirm_invalid message_ids_invalid type_invalid \
            merchant_invalid error_invalid older_than_seconds_invalid limit_out_of_range card_number_in_text"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn replay(
    State(api): State<Arc<Api>>,
    _: Operator,
    Name(consumer): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    act(&api, &consumer, Action::Replay, &headers, body).await
}

/// Deletes dead letters for good.
///
/// Without `confirm` nothing is done, and the answer is what would be.
#[utoipa::path(
    post, path = "/v1/ops/dead_letters/{consumer}/discard", operation_id = "discard_dead_letters", tag = "Operations",
    params(crate::openapi::params::ConsumerPath),
    request_body = crate::openapi::schemas::operations::DeadLetterOrder,
    responses(
        (status = 200, description = "What was, or would be, done.", body = crate::openapi::schemas::operations::DeadLetterAnswer),
        (status = 404, description = "consumer_not_found"),
        (status = 422, description = "actor_missing actor_invalid note_invalid confirm_invalid message_ids_invalid type_invalid \
            merchant_invalid error_invalid older_than_seconds_invalid limit_out_of_range card_number_in_text"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn discard(
    State(api): State<Arc<Api>>,
    _: Operator,
    Name(consumer): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    act(&api, &consumer, Action::Discard, &headers, body).await
}

async fn act(
    api: &Api,
    consumer: &str,
    action: Action,
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    body::check_content_type(headers)?;
    let request = read_body(Fields::new(body::object(body, headers).await?, ""), api.dependencies.clock.now())?;
    in_time(async {
        let letters = api.dependencies.queues.of(consumer).await?;
        let answer = if request.confirm {
            carry_out(&letters, action, &request).await?
        } else {
            rehearse(&letters, action, &request.meant).await?
        };
        let about = [
            ("object", "dead_letter_run".into()),
            ("consumer", consumer.into()),
            ("confirmed", request.confirm.into()),
        ];
        Ok(Json(with(answer, about)))
    })
    .await
}

/// What would be done.
async fn rehearse(letters: &DeadLetters, action: Action, meant: &Meant) -> Result<Value, Problem> {
    let selection = letters.select(&meant.filter, meant.limit).await?;
    let outcome = match action {
        Action::Replay => "would_be_replayed",
        Action::Discard => "would_be_discarded",
    };
    Ok(json!({
        "meant": selection.seen.len(),
        "examined": selection.examined,
        "has_more": selection.more,
        "messages": selection.seen.iter().map(|seen| fated(seen, outcome, None)).collect::<Vec<_>>(),
    }))
}

async fn carry_out(letters: &DeadLetters, action: Action, request: &Request) -> Result<Value, Problem> {
    let run = random::hex128();
    let order = Order {
        filter: &request.meant.filter,
        limit: request.meant.limit,
        per_second: None,
        actor: &request.actor,
        note: request.note.as_deref(),
        run: &run,
    };
    let mut messages = Vec::new();
    let (tally, end) = letters
        .run(action, &order, |_, fates| {
            messages.extend(fates.iter().map(|(seen, fate)| {
                let outcome = match fate {
                    Fate::Sent(_) => "replayed",
                    Fate::Undeleted(..) => "replayed_not_deleted",
                    Fate::Discarded => "discarded",
                    Fate::Failed(_) => "failed",
                };
                fated(seen, outcome, fate.error().map(ToString::to_string))
            }));
        })
        .await?;
    Ok(json!({
        "run": run,
        "end": end.to_string(),
        "done": tally.done,
        "not_deleted": tally.undeleted,
        "failed": tally.failed,
        "came_back": tally.came_back,
        "passed_over": tally.passed_over,
        "messages": messages,
    }))
}

fn fated(seen: &Seen, outcome: &str, error: Option<String>) -> Value {
    let value = with(shown(seen), [("outcome", outcome.into())]);
    with(value, error.map(|error| ("error", error.into())))
}

/// The object with these members too.
fn with(mut value: Value, members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    if let Value::Object(object) = &mut value {
        object.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    value
}

fn shown(seen: &Seen) -> Value {
    let letter = &seen.letter;
    let event = letter.event().ok();
    json!({
        "object": "dead_letter",
        "message_id": mask::id(letter.message_id()),
        "event_id": event.as_ref().map(|event| event.id.to_string()),
        "type": letter.type_name(),
        "subject": event.as_ref().map(|event| mask::id(&event.subject)),
        "merchant_id": letter.merchant(),
        "sent_at": letter.sent_at(),
        "receives": letter.receives(),
        "reason": seen.reason(),
        "failed_at": seen.failure.as_ref().map(|failure| failure.at),
    })
}

fn read_query(uri: &Uri, now: Timestamp) -> Result<Meant, Problem> {
    let mut parameters = Parameters::read(uri);
    let text = |text: &str| is_plain_line(text, TEXT_CHARACTERS_MAX).then(|| text.to_owned());
    let number =
        |range: RangeInclusive<u32>| move |text: &str| text.parse::<u32>().ok().filter(|number| range.contains(number));
    let types = parameters.take("type", "type_invalid", TEXT_RULE, text);
    let merchant = parameters.take("merchant", "merchant_invalid", MERCHANT_RULE, merchant);
    let error = parameters.take("error", "error_invalid", TEXT_RULE, text);
    let ages = number(1..=AGE_SECONDS_MAX);
    let age = parameters.take("older_than_seconds", "older_than_seconds_invalid", "From 1 to 1,209,600.", ages);
    let limit = parameters.take("limit", "limit_out_of_range", "A whole number from 1 to 50.", number(1..=LETTERS_MAX));
    parameters.finish()?;
    let filter = Filter {
        types: types.into_iter().collect(),
        merchant,
        error,
        sent_before: age.map(|age| before(now, age)),
        ..Filter::default()
    };
    Ok(Meant { filter, limit: limit.unwrap_or(LETTERS_MAX) })
}

fn read_body(mut fields: Fields, now: Timestamp) -> Result<Request, Problem> {
    let actor = fields.line("actor", ACTOR_CHARACTERS_MAX, "actor_missing", "actor_invalid");
    let note = fields.line_if_any("note", NOTE_CHARACTERS_MAX, "note_invalid");
    let confirm = fields.read("confirm", "confirm_invalid", "The field confirm is true or false.", Value::as_bool);
    let rule = "The message ids are 1 to 50 of those that the dead letters have.";
    let messages = fields.read("message_ids", "message_ids_invalid", rule, message_ids);
    let types = fields.line_if_any("type", TEXT_CHARACTERS_MAX, "type_invalid");
    let merchant = fields.read("merchant", "merchant_invalid", MERCHANT_RULE, |value| merchant(value.as_str()?));
    let error = fields.line_if_any("error", TEXT_CHARACTERS_MAX, "error_invalid");
    let rule = "A whole number from 1 to 1,209,600.";
    let ages = |value: &Value| whole(value, 1..=AGE_SECONDS_MAX);
    let age = fields.read("older_than_seconds", "older_than_seconds_invalid", rule, ages);
    let limits = |value: &Value| whole(value, 1..=LETTERS_MAX);
    let limit = fields.read("limit", "limit_out_of_range", "A whole number from 1 to 50.", limits);
    let errors = fields.finish();
    let Some(actor) = actor.filter(|_| errors.is_empty()) else {
        return Err(Problem::Fields(errors));
    };
    let filter = Filter {
        types: types.into_iter().collect(),
        merchant,
        error,
        sent_before: age.map(|age| before(now, age)),
        messages: messages.unwrap_or_default(),
        ..Filter::default()
    };
    let meant = Meant { filter, limit: limit.unwrap_or(LETTERS_MAX) };
    Ok(Request { actor, note, confirm: confirm.unwrap_or(false), meant })
}

const TEXT_RULE: &str = "1 to 100 printable characters, and no card number.";
const MERCHANT_RULE: &str = "The id of a merchant, such as mer_….";

fn merchant(text: &str) -> Option<String> {
    text.parse().ok().map(|id: MerchantId| id.to_string())
}

/// What `shown` shows of an id is the id itself, or it could not be asked for.
fn message_ids(value: &Value) -> Option<BTreeSet<String>> {
    let values = value.as_array().filter(|values| !values.is_empty())?;
    if values.len() > usize::try_from(LETTERS_MAX).ok()? {
        return None;
    }
    let id = |value: &Value| value.as_str().filter(|id| !id.is_empty() && mask::id(id) == *id).map(str::to_owned);
    values.iter().map(id).collect()
}

fn whole(value: &Value, range: RangeInclusive<u32>) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number))
}

fn before(now: Timestamp, seconds: u32) -> Timestamp {
    now.plus_ms(-i64::from(seconds) * 1_000)
}
