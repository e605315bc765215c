//! `florin stuck`: payments and refunds that wait for a person.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use florin_domain::{
    ids::{PaymentId, RefundId},
    journal::NOTE_CHARACTERS_MAX,
};
use serde_json::{Value, json};

use crate::{
    operations::{AllStuck, KEY_VARIABLE, Operations, Stuck},
    place::{Place, StateDir},
    stack, table,
};

/// What `florin stuck` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Which API: that of the local stack that --state-dir names; else that of --api-url or FLORIN_API_URL, with the operator \
key in FLORIN_OPERATOR_KEY; else that of the local stack in .florin. The first line of the output says it.
Exit codes: 0 done, 1 refused or not reached, 2 wrong arguments.")]
pub(crate) struct Options {
    /// Folder of a local stack's state [default: .florin]
    #[arg(long, env = "FLORIN_STATE_DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// Address of the API, as the stack's output ApiUrl has it
    #[arg(long, env = "FLORIN_API_URL", global = true)]
    api_url: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists what is stuck, and why
    List,
    /// Has it tried once more, as if the last try had not been used up
    Retry {
        /// The payment or refund
        id: Id,
        #[command(flatten)]
        by: By,
    },
    /// Ends it by hand, after the gateway's own records have been looked at
    Settle {
        /// The payment or refund
        id: Id,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        by: By,
    },
}

/// What an operator found out at the gateway.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct End {
    /// The money has moved; the gateway's name for that (pi_…, re_…)
    #[arg(long, value_name = "REFERENCE")]
    completed: Option<String>,
    /// No money has moved, or it was given back; a code that the merchant sees, such as card_declined
    #[arg(long, value_name = "CODE")]
    failed: Option<String>,
}

/// Who decides, and why: both are kept.
#[derive(Debug, Args)]
struct By {
    /// Why, for the timeline and the audit; no card numbers
    #[arg(long, value_parser = note)]
    note: String,
    /// Who does it, for the audit
    #[arg(long, env = "FLORIN_ACTOR")]
    actor: Option<String>,
}

/// There may be something stuck behind it.
const OVERDUE: &str = "Nothing stuck was found, but more is overdue than is looked through: look again later.";

/// What can be stuck.
#[derive(Debug, Clone)]
enum Id {
    Payment(PaymentId),
    Refund(RefundId),
}

impl std::str::FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refund = || text.parse().map(Self::Refund);
        text.parse().map(Self::Payment).or_else(|_| refund()).map_err(|_| "neither a payment's id nor a refund's")
    }
}

impl Id {
    fn path(&self, what: &str) -> String {
        match self {
            Self::Payment(id) => format!("/v1/ops/payments/{id}/{what}"),
            Self::Refund(id) => format!("/v1/ops/refunds/{id}/{what}"),
        }
    }
}

fn note(text: &str) -> Result<String, String> {
    match text.trim().chars().count() {
        0 => Err("a reason is needed".to_owned()),
        characters if characters > NOTE_CHARACTERS_MAX => Err(format!("longer than {NOTE_CHARACTERS_MAX} characters")),
        _ => Ok(text.trim().to_owned()),
    }
}

/// Runs `florin stuck`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let api = api(options)?;
    say!("API {}", api.address());
    say!("");
    let lines = match &options.what {
        What::List => listed(&api.stuck().await?),
        What::Retry { id, by } => retry(&api, id, by).await?,
        What::Settle { id, end, by } => settle(&api, id, end, by).await?,
    };
    lines.iter().for_each(|line| say!("{line}"));
    Ok(())
}

/// The API that is meant.
fn api(options: &Options) -> Result<Operations> {
    match (&options.state_dir, &options.api_url) {
        (None, Some(url)) => Operations::at(url, std::env::var(KEY_VARIABLE).ok().as_deref()),
        (state_dir, _) => {
            let state_dir = state_dir.as_deref().unwrap_or(Path::new(".florin")).to_path_buf();
            Operations::of(&stack::described(&Place::find(&StateDir { state_dir })?)?)
        }
    }
}

fn listed(stuck: &AllStuck) -> Vec<String> {
    if stuck.data.is_empty() {
        return vec![if stuck.has_more { OVERDUE.to_owned() } else { "Nothing is stuck.".to_owned() }];
    }
    let row = |stuck: &Stuck| {
        let Stuck { id, merchant_id, reason, since } = stuck;
        vec![since.clone(), id.clone(), merchant_id.clone(), format!("{}: {}", reason.code, reason.message)]
    };
    let rows: Vec<Vec<String>> = stuck.data.iter().map(row).collect();
    let mut lines = table::lines(&["since", "id", "merchant", "reason"], 4, &rows);
    lines.extend([
        String::new(),
        format!("{} in all", stuck.count()),
        "retry:   florin stuck retry ID --note WHY".to_owned(),
        "settle:  florin stuck settle ID --completed REFERENCE | --failed CODE --note WHY".to_owned(),
    ]);
    lines
}

async fn retry(api: &Operations, id: &Id, by: &By) -> Result<Vec<String>> {
    let body = json!({ "actor": by.actor()?, "note": by.note });
    Ok(vec![became(&api.order(&id.path("retry"), &body).await?)])
}

async fn settle(api: &Operations, id: &Id, end: &End, by: &By) -> Result<Vec<String>> {
    let (actor, note) = (by.actor()?, &by.note);
    let body = match (&end.completed, &end.failed) {
        (Some(reference), None) => {
            json!({ "actor": actor, "note": note, "outcome": "completed", "reference": reference })
        }
        (None, Some(code)) => json!({ "actor": actor, "note": note, "outcome": "failed", "code": code }),
        _ => bail!("either --completed or --failed"),
    };
    Ok(vec![became(&api.order(&id.path("settle"), &body).await?)])
}

impl By {
    fn actor(&self) -> Result<String> {
        let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        self.actor.clone().or_else(user).context("say who you are: --actor or FLORIN_ACTOR")
    }
}

/// What a payment or refund is after a decision.
fn became(resource: &Value) -> String {
    let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let still = if resource.get("stuck") == Some(&Value::Bool(true)) { ", and stuck" } else { "" };
    format!("{} is {}{still}", text("id"), text("status"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::operations::fake;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(words: &[&str]) -> Result<What, clap::Error> {
        let line = std::iter::once("x").chain(words.iter().copied());
        Line::try_parse_from(line).map(|line| line.options.what)
    }

    fn payment() -> String {
        PaymentId::derive(&["p"]).to_string()
    }

    fn refund() -> String {
        RefundId::derive(&["r"]).to_string()
    }

    #[test]
    fn a_decision_needs_an_id_an_end_and_a_reason() {
        let (payment, long) = (payment(), "x".repeat(NOTE_CHARACTERS_MAX + 1));
        parse(&["list"]).unwrap();
        parse(&["retry", &payment, "--note", "asked the bank"]).unwrap();
        parse(&["settle", &refund(), "--failed", "not_refunded", "--note", "asked the bank"]).unwrap();
        for wrong in [
            &["retry", &payment][..],
            &["retry", &payment, "--note", " "],
            &["retry", &payment, "--note", &long],
            &["retry", "mer_1", "--note", "x"],
            &["settle", &payment, "--note", "x"],
            &["settle", &payment, "--completed", "pi_1", "--failed", "card_declined", "--note", "x"],
        ] {
            parse(wrong).unwrap_err();
        }
    }

    #[tokio::test]
    async fn what_is_stuck_is_listed_with_its_reason() {
        let answer = r#"{"object":"list","data":[{"id":"pay_1","object":"payment","merchant_id":"mer_1",
            "status":"processing","reason":{"code":"outcome_unknown","message":"Nobody says."},
            "since":"2026-11-21T09:00:00.000Z"}],"has_more":true}"#;
        let (api, asked) = fake::api(200, answer).await;
        let lines = listed(&api.stuck().await.unwrap()).join("\n");
        for part in
            ["2026-11-21T09:00:00.000Z", "pay_1", "mer_1", "outcome_unknown: Nobody says.", "more than 1 in all"]
        {
            assert!(lines.contains(part), "{part} in {lines}");
        }
        assert_eq!(listed(&AllStuck::default()), ["Nothing is stuck."]);
        assert_eq!(listed(&AllStuck { data: Vec::new(), has_more: true }), [OVERDUE]);
        let bearer = format!("Bearer {}", fake::KEY);
        assert_eq!(*asked.lock().unwrap(), [("GET /v1/ops/stuck".to_owned(), bearer, String::new())]);
    }

    #[tokio::test]
    async fn decisions_are_sent_with_who_and_why_and_their_outcome_is_told() {
        let (api, asked) = fake::api(200, r#"{"id":"pay_1","status":"failed","stuck":false}"#).await;
        let (payment, refund) = (payment(), refund());
        let by = ["--note", "asked the bank", "--actor", "ada"];
        for (words, path, body) in [
            (vec!["retry", &payment], format!("payments/{payment}/retry"), json!({})),
            (vec!["retry", &refund], format!("refunds/{refund}/retry"), json!({})),
            (
                vec!["settle", &payment, "--completed", "pi_1"],
                format!("payments/{payment}/settle"),
                json!({ "outcome": "completed", "reference": "pi_1" }),
            ),
            (
                vec!["settle", &refund, "--failed", "not_refunded"],
                format!("refunds/{refund}/settle"),
                json!({ "outcome": "failed", "code": "not_refunded" }),
            ),
        ] {
            let told = match parse(&[&words[..], &by[..]].concat()).unwrap() {
                What::Retry { id, by } => retry(&api, &id, &by).await.unwrap(),
                What::Settle { id, end, by } => settle(&api, &id, &end, &by).await.unwrap(),
                What::List => Vec::new(),
            };
            assert_eq!(told, ["pay_1 is failed"]);
            let (line, bearer, sent) = asked.lock().unwrap().pop().unwrap();
            assert_eq!((line, bearer), (format!("POST /v1/ops/{path}"), format!("Bearer {}", fake::KEY)));
            let mut expected = json!({ "actor": "ada", "note": "asked the bank" });
            expected.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), expected);
        }
    }
}
