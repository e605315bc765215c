//! `florin faults`: what may go wrong in AWS, made to happen on the local host.

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum, value_parser};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    control::Control,
    place::{Place, StateDir},
    stack, table,
};

/// The longest delay that the host takes, in milliseconds.
const DELAY_MS_MAX: u64 = 900_000;
/// A rule that is to last longer can be cleared instead.
const FOR_SECONDS_MAX: u64 = 86_400;

/// What `florin faults` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
The tenth write of the processor is refused as too many:
  florin faults add --service dynamodb --operation UpdateItem --function processor --nth 10 --kind throttle
Every tenth call of the queues fails after it was done, for a minute:
  florin faults add --service sqs --probability 0.1 --for-seconds 60 --kind error-after
Webhook senders are killed as they answer, three times:
  florin faults add --service function --resource webhook --times 3 --kind kill-after")]
pub(crate) struct Options {
    #[command(flatten)]
    state: StateDir,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Puts a rule in force and prints its number
    Add(Rule),
    /// Shows the rules in force, and how often each has hit
    List,
    /// Takes a rule out of force, or all of them
    Clear {
        /// Its number; without it all
        id: Option<u64>,
    },
}

/// Which calls are hit, and what happens to them. Without any of the middle options every call of the service is.
#[derive(Debug, Args)]
struct Rule {
    /// The service that is called; `function` means invocations
    #[arg(long)]
    service: Service,
    /// Its operation, such as PutItem; Invoke of functions, the method of HTTP APIs
    #[arg(long)]
    operation: Option<String>,
    /// A part of the name of the table, queue, topic, function or API
    #[arg(long)]
    resource: Option<String>,
    /// A part of the calling function's name; `poller` for what feeds queues to functions, `client` for everybody else
    #[arg(long)]
    function: Option<String>,
    /// Only the nth call that the rule is about, from 1
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    nth: Option<u64>,
    /// This share of the calls, such as 0.1
    #[arg(long, value_parser = share)]
    probability: Option<f64>,
    /// Another number makes the share other calls; the same number the same calls in every run
    #[arg(long, requires = "probability")]
    seed: Option<u64>,
    /// So many times at most
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    times: Option<u64>,
    /// For so many seconds
    #[arg(long, value_parser = value_parser!(u64).range(1..=FOR_SECONDS_MAX))]
    for_seconds: Option<u64>,
    /// What happens
    #[arg(long)]
    kind: Kind,
    /// How long, for `delay` and `delay-after`
    #[arg(long, value_parser = value_parser!(u64).range(1..=DELAY_MS_MAX))]
    delay_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Service {
    Dynamodb,
    Sqs,
    Sns,
    Http,
    Function,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Refused as too many; nothing is done
    Throttle,
    /// Fails (500); nothing is done
    ErrorBefore,
    /// Is done, then answered as failed (500)
    ErrorAfter,
    /// Is done later
    Delay,
    /// Is done at once, answered later
    DelayAfter,
    /// Refused because of another transaction (dynamodb)
    Conflict,
    /// Is done; the connection ends without an answer
    DropReply,
    /// The calling function is killed; nothing is done. An invoked function is killed as it gets the event
    KillBefore,
    /// Is done; the calling function is killed before it hears of it. An invoked function is killed as it answers
    KillAfter,
    /// The service is away (503); nothing is done
    Outage,
    /// What is received comes once more (sqs)
    Duplicate,
    /// What is received comes in random order (sqs)
    Reorder,
}

/// A share that hits something.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("above 0 and at most 1".to_owned()),
    }
}

impl Rule {
    /// As the host takes it; a rule that could never do what it says is refused by the option's name.
    fn to_json(&self) -> Result<Value> {
        let takes_delay = matches!(self.kind, Kind::Delay | Kind::DelayAfter);
        if takes_delay && self.delay_ms.is_none() {
            bail!("--kind delay needs --delay-ms");
        }
        if !takes_delay && self.delay_ms.is_some() {
            bail!("--delay-ms goes with --kind delay or delay-after");
        }
        let only = |service: Service| -> Result<()> {
            if self.service != service {
                bail!("this --kind goes with --service {}", name(&json!(service)));
            }
            Ok(())
        };
        match self.kind {
            Kind::Conflict => only(Service::Dynamodb)?,
            Kind::Duplicate | Kind::Reorder => only(Service::Sqs)?,
            Kind::DropReply if self.service == Service::Function => {
                bail!("--kind drop-reply goes with services, not with --service function")
            }
            _ => {}
        }
        if self.nth.is_some() && self.probability.is_some() {
            bail!("--nth hits one call and --probability a share: give one of them");
        }
        let fields = json!({
            "service": self.service, "operation": self.operation, "resource": self.resource, "function": self.function,
            "nth": self.nth, "probability": self.probability, "seed": self.seed, "times": self.times,
            "for_seconds": self.for_seconds, "fault": without_nulls(json!({ "kind": self.kind, "delay_ms": self.delay_ms })),
        });
        Ok(without_nulls(fields))
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}

/// A JSON value as people write it.
fn name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[derive(Debug, Deserialize)]
struct Added {
    id: u64,
}

#[derive(Debug, Deserialize)]
struct List {
    faults: Vec<Listed>,
}

/// A rule in force. What this tool does not know of it is shown as the host says it.
#[derive(Debug, Deserialize)]
struct Listed {
    id: u64,
    fired: u64,
    #[serde(flatten)]
    rule: serde_json::Map<String, Value>,
}

/// Runs `florin faults`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let place = Place::find(&options.state)?;
    let control = Control::of(&stack::described(&place)?)?;
    match &options.what {
        What::Add(rule) => {
            let Added { id } = add(&control, rule).await?;
            say!("Fault {id} is in force; `florin faults clear {id}` ends it, and so does `florin down`.");
        }
        What::List => {
            let list: List = control.get("/faults").await?;
            lines(&list.faults).iter().for_each(|line| say!("{line}"));
        }
        What::Clear { id: Some(id) } => {
            control.delete(&format!("/faults/{id}")).await?;
            say!("Fault {id} is cleared.");
        }
        What::Clear { id: None } => {
            control.delete("/faults").await?;
            say!("No faults are in force.");
        }
    }
    Ok(())
}

async fn add(control: &Control, rule: &Rule) -> Result<Added> {
    control.post("/faults", &rule.to_json()?).await
}

fn lines(faults: &[Listed]) -> Vec<String> {
    if faults.is_empty() {
        return vec!["No faults are in force.".to_owned()];
    }
    let row = |listed: &Listed| {
        let field = |name: &str| listed.rule.get(name).map_or_else(|| "any".to_owned(), self::name);
        let mut row: Vec<String> = ["service", "operation", "resource", "function"].map(field).into();
        row.extend([hits(&listed.rule), happens(&listed.rule), listed.id.to_string(), table::thousands(listed.fired)]);
        row
    };
    let headings = ["service", "operation", "resource", "caller", "which", "fault", "id", "fired"];
    table::lines(&headings, 6, &faults.iter().map(row).collect::<Vec<_>>())
}

/// Which of the calls.
fn hits(rule: &serde_json::Map<String, Value>) -> String {
    let texts = [("nth", "call "), ("probability", "share "), ("times", "at most "), ("for_seconds", "seconds ")];
    let given = texts.iter().filter_map(|(field, text)| Some(format!("{text}{}", rule.get(*field)?)));
    let given: Vec<_> = given.collect();
    if given.is_empty() { "all".to_owned() } else { given.join(", ") }
}

fn happens(rule: &serde_json::Map<String, Value>) -> String {
    let field = |name: &str| rule.get("fault").and_then(|fault| fault.get(name));
    let kind = field("kind").map_or_else(|| "?".to_owned(), name);
    field("delay_ms").map_or(kind.clone(), |delay| format!("{kind} {delay} ms"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::control::fake;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn rule(line: &str) -> Result<Value> {
        let line = format!("faults add {line}");
        match Line::try_parse_from(line.split(' '))?.options.what {
            What::Add(rule) => rule.to_json(),
            What::List | What::Clear { .. } => bail!("no rule"),
        }
    }

    #[test]
    fn a_rule_is_written_as_the_host_reads_it() {
        assert_eq!(
            rule("--service dynamodb --operation UpdateItem --kind throttle --probability 0.1 --seed 42").unwrap(),
            json!({ "service": "dynamodb", "operation": "UpdateItem", "probability": 0.1, "seed": 42,
                    "fault": { "kind": "throttle" } })
        );
        assert_eq!(
            rule("--service sqs --resource api --function client --nth 3 --times 1 --for-seconds 20 --kind delay-after --delay-ms 500")
                .unwrap(),
            json!({ "service": "sqs", "resource": "api", "function": "client", "nth": 3, "times": 1,
                    "for_seconds": 20, "fault": { "kind": "delay_after", "delay_ms": 500 } })
        );
    }

    #[test]
    fn a_rule_that_makes_no_sense_names_its_option() {
        for (line, named) in [
            ("--service s3 --kind throttle", "--service"),
            ("--service sqs --kind explode", "--kind"),
            ("--service sqs", "--kind"),
            ("--service sqs --kind throttle --probability 1.5", "--probability"),
            ("--service sqs --kind throttle --probability 0", "--probability"),
            ("--service sqs --kind throttle --nth 0", "--nth"),
            ("--service sqs --kind throttle --nth 2 --probability 0.5", "--nth"),
            ("--service sqs --kind throttle --times 0", "--times"),
            ("--service sqs --kind throttle --for-seconds 0", "--for-seconds"),
            ("--service sqs --kind throttle --seed 1", "--probability"),
            ("--service sqs --kind delay", "--delay-ms"),
            ("--service sqs --kind delay --delay-ms 900001", "--delay-ms"),
            ("--service sqs --kind throttle --delay-ms 5", "--delay-ms"),
            ("--service sqs --kind conflict", "--service dynamodb"),
            ("--service sns --kind reorder", "--service sqs"),
            ("--service function --kind drop-reply", "--service function"),
        ] {
            let error = rule(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[tokio::test]
    async fn a_rule_is_posted_and_its_number_told() {
        let (env, asked) = fake::host(200, r#"{"id":7}"#).await;
        let parsed = Line::try_parse_from(["faults", "add", "--service", "sqs", "--kind", "outage"]).unwrap();
        let What::Add(rule) = &parsed.options.what else { panic!("no rule") };
        assert_eq!(add(&Control::of(&env).unwrap(), rule).await.unwrap().id, 7);
        let asked = asked.lock().unwrap().clone();
        let wanted = r#"{"fault":{"kind":"outage"},"service":"sqs"}"#;
        assert_eq!(asked, [("POST /_host/faults".to_owned(), wanted.to_owned())]);
    }

    #[test]
    fn rules_are_listed_as_a_table() {
        let list: List = serde_json::from_str(
            r#"{"faults":[{"id":1,"fired":1200,"service":"sqs","seed":0,"fault":{"kind":"outage"}},
                {"id":12,"fired":0,"service":"dynamodb","operation":"PutItem","probability":0.5,"seed":0,"times":3,
                 "fault":{"kind":"delay","delay_ms":500}}]}"#,
        )
        .unwrap();
        assert_eq!(
            lines(&list.faults),
            [
                "service   operation  resource  caller  which                 fault         id  fired",
                "sqs       any        any       any     all                   outage         1  1,200",
                "dynamodb  PutItem    any       any     share 0.5, at most 3  delay 500 ms  12      0",
            ]
        );
        assert_eq!(lines(&[]), ["No faults are in force."]);
    }
}
