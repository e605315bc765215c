//! `florin dead-letters`: messages that used up their receives.

mod act;
mod filter;
mod show;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::Client;
use clap::{Args, Subcommand, builder::PossibleValuesParser, value_parser};
use florin_messaging::dead_letters::{DeadLetters, DeadLettersError, Records};
use florin_platform::clock::Clock;
use florin_store::{
    audit::{Audit, ENTRIES_PER_PAGE_MAX},
    failures::Failures,
};

use self::{
    act::{Action, How},
    filter::Meant,
};
use crate::{
    local_env::LocalEnv,
    place::{Place, StateDir},
    stack::{self, CONSUMERS},
};

/// The stack's name in AWS, unless told otherwise.
const STACK_NAME: &str = "florin";
/// One try of a call.
const ATTEMPT_TIMEOUT_S: u64 = 10;
/// Pages of table names that are looked through: an account has 2,500 tables unless it asks for more.
const TABLE_PAGES_MAX: usize = 100;
/// Dead letters that one look shows: more are a matter of filters.
const PEEK_MESSAGES_MAX: u32 = 100;

/// What `florin dead-letters` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Which queues: those of the stack that --state-dir names; else, with --stack-name or AWS_ENDPOINT_URL given, those of \
that stack where the AWS configuration of your shell leads; else those of the local stack in .florin, if one runs; else \
those of the stack `florin` in AWS. The first line of the output says it.
Its tables are found by the names that CloudFormation gives them; FLORIN_IDEMPOTENCY_TABLE and FLORIN_AUDIT_TABLE name \
others.
Credentials in AWS come from the environment or a profile; for SSO run
  eval \"$(aws configure export-credentials --format env)\"")]
pub(crate) struct Options {
    /// Name of the CloudFormation stack, from which the queues' names derive [default: florin]
    #[arg(long, env = "FLORIN_STACK_NAME", global = true)]
    stack_name: Option<String>,
    /// Folder of a local stack's state [default: .florin]
    #[arg(long, env = "FLORIN_STATE_DIR", global = true)]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows how many dead letters each queue has
    List,
    /// Shows dead letters, why they failed last, and leaves them where they are
    Peek {
        /// Whose dead letters
        #[arg(value_parser = consumers())]
        consumer: String,
        #[command(flatten)]
        meant: Meant,
        /// How many at most
        #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=i64::from(PEEK_MESSAGES_MAX)))]
        limit: u32,
    },
    /// Puts dead letters back into their queue; a consumer acts once per event, so twice is harmless
    Replay {
        /// Whose dead letters
        #[arg(value_parser = consumers())]
        consumer: String,
        #[command(flatten)]
        how: How,
    },
    /// Deletes dead letters for good; the audit keeps what they were about
    Discard {
        /// Whose dead letters
        #[arg(value_parser = consumers())]
        consumer: String,
        #[command(flatten)]
        how: How,
    },
    /// Shows who replayed or discarded what, newest first
    Audit {
        /// How many entries at most
        #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=i64::from(ENTRIES_PER_PAGE_MAX)))]
        limit: u32,
    },
}

fn consumers() -> PossibleValuesParser {
    PossibleValuesParser::new(CONSUMERS.map(|consumer| consumer.name))
}

/// Runs `florin dead-letters`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let stack = Stack::find(options).await?;
    say!("stack {} at {}", stack.name, stack.address());
    say!("");
    match &options.what {
        What::List => show::list(&stack).await,
        What::Peek { consumer, meant, limit } => {
            show::peek(&stack, consumer, &meant.filter(Clock::System.now()), *limit).await
        }
        What::Replay { consumer, how } => act::run(&stack, Action::Replay, consumer, how).await,
        What::Discard { consumer, how } => act::run(&stack, Action::Discard, consumer, how).await,
        What::Audit { limit } => show::audit(&stack, *limit).await,
    }
}

/// The stack whose queues are looked after.
struct Stack {
    name: String,
    sdk: SdkConfig,
    /// Of a local stack.
    env: Option<LocalEnv>,
}

impl Stack {
    async fn find(options: &Options) -> Result<Self> {
        if let Some(env) = local(options)? {
            let name = match &options.stack_name {
                Some(name) => name.clone(),
                None => env.required("FLORIN_STACK_NAME")?.to_owned(),
            };
            return Ok(Self { name, sdk: stack::sdk(&env).await?, env: Some(env) });
        }
        let attempt = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(ATTEMPT_TIMEOUT_S));
        let sdk = aws_config::defaults(BehaviorVersion::latest()).timeout_config(attempt.build()).load().await;
        Ok(Self { name: options.stack_name.clone().unwrap_or_else(|| STACK_NAME.to_owned()), sdk, env: None })
    }

    fn address(&self) -> String {
        let region = self.sdk.region().map_or("of no name (set AWS_REGION)", |region| region.as_ref());
        self.sdk.endpoint_url().map_or_else(|| format!("AWS, region {region}"), str::to_owned)
    }

    async fn letters(&self, consumer: &str) -> Result<DeadLetters> {
        let records = self.records(consumer).await?;
        match DeadLetters::find(Client::new(&self.sdk), &self.name, consumer, records).await {
            Err(error @ DeadLettersError::NoQueue(_)) => {
                bail!("{error}; is it another stack (--stack-name), region or account?")
            }
            found => Ok(found?),
        }
    }

    /// Why messages failed, and what operators did.
    async fn records(&self, consumer: &str) -> Result<Records> {
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.sdk);
        let now = || Clock::System.now();
        let idempotency = self.table(&dynamodb, "Idempotency").await?;
        let audit = Audit::new(dynamodb.clone(), self.table(&dynamodb, "Audit").await?);
        Ok(Records { failures: Failures::new(dynamodb, idempotency, consumer, now), audit, now })
    }

    /// The name of a table: told, in `local.env`, or as CloudFormation makes it from the stack's and the template's.
    async fn table(&self, dynamodb: &aws_sdk_dynamodb::Client, name: &str) -> Result<String> {
        let variable = format!("FLORIN_{}_TABLE", name.to_uppercase());
        if let Some(env) = &self.env {
            return env.required(&variable).map(str::to_owned);
        }
        if let Ok(told) = std::env::var(&variable) {
            return Ok(told);
        }
        let prefix = format!("{}-{name}Table-", self.name);
        let mut pages = dynamodb.list_tables().into_paginator().send();
        let mut found = Vec::new();
        for _ in 0..TABLE_PAGES_MAX {
            let Some(page) = pages.next().await else { break };
            let names = page.with_context(|| format!("cannot look for the table; name it in {variable}"))?.table_names;
            found.extend(names.unwrap_or_default().into_iter().filter(|table| table.starts_with(&prefix)));
        }
        // A table outlives its stack, so there may be one of an earlier stack of the same name.
        match found.as_slice() {
            [table] => Ok(table.clone()),
            [] => bail!("there is no table {prefix}…; is it another stack (--stack-name), region or account?"),
            _ => bail!("which table is it: {}? Name it in {variable}", found.join(", ")),
        }
    }
}

/// The local stack, if it is the one that is meant.
fn local(options: &Options) -> Result<Option<LocalEnv>> {
    if let Some(state_dir) = &options.state_dir {
        let place = Place::find(&StateDir { state_dir: state_dir.clone() })?;
        return stack::described(&place).map(Some);
    }
    if options.stack_name.is_some() || std::env::var_os("AWS_ENDPOINT_URL").is_some() {
        return Ok(None);
    }
    // Outside the project there is no local stack.
    match Place::find(&StateDir { state_dir: PathBuf::from(".florin") }) {
        Ok(place) => LocalEnv::read(&place.local_env()),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.options)
    }

    #[test]
    fn options_have_limits() {
        for line in [
            "x list",
            "x peek webhook --limit 100",
            "x replay analytics --limit 10000 --rate-per-second 500 --stack-name shop --yes",
            "x discard webhook --type payment.failed --type payment.completed --error 503 --older-than 2h --yes",
            "x peek webhook --newer-than 10m --message a --message b",
            "x audit --limit 100",
            "x --stack-name shop --state-dir elsewhere replay processing",
        ] {
            parse(line).unwrap();
        }
        for line in [
            "x",
            "x peek",
            "x peek ledger",
            "x peek webhook --limit 0",
            "x peek webhook --limit 101",
            "x replay webhook --limit 0",
            "x discard ledger",
            "x peek webhook --older-than soon",
            "x peek webhook --merchant shop",
            "x audit --limit 101",
            "x replay webhook --limit 10001",
            "x replay webhook --rate-per-second 0",
            "x replay webhook --rate-per-second 501",
            "x replay webhook --rate-per-second -1",
        ] {
            parse(line).unwrap_err();
        }
    }

    #[tokio::test]
    async fn a_named_local_stack_is_the_one_that_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("x list --state-dir {}", folder.path().display());
        assert!(Stack::find(&parse(&line).unwrap()).await.is_err(), "none runs there");

        let mut env = LocalEnv::default();
        env.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        for (name, value) in [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")] {
            env.set(name, value);
        }
        env.set("FLORIN_STACK_NAME", "florin-there");
        env.write(&folder.path().join("local.env")).unwrap();
        // The name comes from the file, whatever the shell that runs this test has set.
        let options = Options { stack_name: None, ..parse(&line).unwrap() };
        let stack = Stack::find(&options).await.unwrap();
        assert_eq!((stack.name.as_str(), stack.address().as_str()), ("florin-there", "http://127.0.0.1:9"));
    }
}
