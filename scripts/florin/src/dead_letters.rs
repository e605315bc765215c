//! `florin dead-letters`: messages that used up their receives.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::Client;
use clap::{Args, Subcommand, builder::PossibleValuesParser, value_parser};
use florin_messaging::{
    dead_letters::{
        DeadLetter, DeadLetters, DeadLettersError, Depth, End, PEEK_MESSAGES_MAX, REPLAY_HIDDEN_S, REPLAY_MESSAGES_MAX,
        REPLAY_PER_SECOND_MAX, Replayed,
    },
    mask::excerpt,
};

use crate::{
    local_env::LocalEnv,
    place::{Place, StateDir},
    progress,
    stack::{self, CONSUMERS},
};

/// The stack's name in AWS, unless told otherwise.
const STACK_NAME: &str = "florin";
/// One try of a call.
const ATTEMPT_TIMEOUT_S: u64 = 10;
/// Between two looks at a move that SQS does by itself.
const LOOK_EVERY_S: u64 = 2;
/// Looks at it: for ten minutes. A longer one goes on without us.
const LOOKS_MAX: u32 = 300;
/// A sign of life for every so many messages.
const SIGN_OF_LIFE_EVERY: u32 = 100;

/// What `florin dead-letters` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Which queues: those of the stack that --state-dir names; else, with --stack-name or AWS_ENDPOINT_URL given, those of \
that stack where the AWS configuration of your shell leads; else those of the local stack in .florin, if one runs; else \
those of the stack `florin` in AWS. The first line of the output says it.
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
    /// Shows dead letters and leaves them where they are
    Peek {
        /// Whose dead letters
        #[arg(value_parser = consumers())]
        consumer: String,
        /// How many at most
        #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=i64::from(PEEK_MESSAGES_MAX)))]
        limit: u32,
    },
    /// Puts dead letters back into their queue; a consumer acts once per event, so twice is harmless
    Replay {
        /// Whose dead letters
        #[arg(value_parser = consumers())]
        consumer: String,
        /// How many at most; without it all, moved by SQS itself where it can
        #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(REPLAY_MESSAGES_MAX)))]
        limit: Option<u32>,
        /// How many a second at most, so that the consumer keeps up
        #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(REPLAY_PER_SECOND_MAX)))]
        rate_per_second: Option<u32>,
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
        What::List => list(&stack).await,
        What::Peek { consumer, limit } => peek(&stack, consumer, *limit).await,
        What::Replay { consumer, limit, rate_per_second } => {
            let letters = stack.letters(consumer).await?;
            // SQS moves all or nothing: a number is ours to count.
            if limit.is_none() && letters.start_move(*rate_per_second).await? {
                return follow(&letters, consumer).await;
            }
            replay(&letters, consumer, limit.unwrap_or(REPLAY_MESSAGES_MAX), *rate_per_second).await
        }
    }
}

/// The stack whose queues are looked after.
struct Stack {
    name: String,
    sdk: SdkConfig,
}

impl Stack {
    async fn find(options: &Options) -> Result<Self> {
        if let Some(env) = local(options)? {
            let name = match &options.stack_name {
                Some(name) => name.clone(),
                None => env.required("FLORIN_STACK_NAME")?.to_owned(),
            };
            return Ok(Self { name, sdk: stack::sdk(&env).await? });
        }
        let attempt = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(ATTEMPT_TIMEOUT_S));
        let sdk = aws_config::defaults(BehaviorVersion::latest()).timeout_config(attempt.build()).load().await;
        Ok(Self { name: options.stack_name.clone().unwrap_or_else(|| STACK_NAME.to_owned()), sdk })
    }

    fn address(&self) -> String {
        let region = self.sdk.region().map_or("of no name (set AWS_REGION)", |region| region.as_ref());
        self.sdk.endpoint_url().map_or_else(|| format!("AWS, region {region}"), str::to_owned)
    }

    async fn letters(&self, consumer: &str) -> Result<DeadLetters> {
        match DeadLetters::find(Client::new(&self.sdk), &self.name, consumer).await {
            Err(error @ DeadLettersError::NoQueue(_)) => {
                bail!("{error}; is it another stack (--stack-name), region or account?")
            }
            found => Ok(found?),
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

async fn list(stack: &Stack) -> Result<()> {
    let mut dead = Vec::new();
    say!("{:<12} {:>8} {:>13}", "queue", "messages", "dead letters");
    for consumer in CONSUMERS {
        let depth = stack.letters(consumer.name).await?.depth().await?;
        say!("{:<12} {:>8} {:>13}{}", consumer.name, depth.queued, depth.dead + depth.hidden, hidden(depth));
        dead.extend((depth.dead + depth.hidden > 0).then_some(consumer.name));
    }
    say!("");
    match dead.first() {
        None => say!("No dead letters."),
        Some(consumer) => {
            say!("look:    florin dead-letters peek {consumer}");
            say!("replay:  florin dead-letters replay {consumer}   (once the cause is mended)");
        }
    }
    Ok(())
}

fn hidden(depth: Depth) -> String {
    if depth.hidden == 0 { String::new() } else { format!("  ({} of them hidden for a moment)", depth.hidden) }
}

async fn peek(stack: &Stack, consumer: &str, limit: u32) -> Result<()> {
    let letters = stack.letters(consumer).await?;
    let seen = letters.peek(limit).await?;
    for letter in &seen {
        show(letter);
    }
    let Depth { dead, hidden, .. } = letters.depth().await?;
    say!("{consumer}: {} shown of about {}; all stay where they are", seen.len(), dead + hidden);
    Ok(())
}

fn show(letter: &DeadLetter) {
    let unknown = || "?".to_owned();
    match letter.event() {
        Ok(event) => {
            // The subject is free text to the parser, and whoever may send to the queue may put anything there.
            let subject = if event.data.id() == event.subject { event.subject } else { excerpt(&event.subject) };
            say!("{}  {}  {subject}", event.id, event.event_type.as_str());
        }
        Err(error) => {
            let kind = letter.attribute("type").unwrap_or_else(|| "without a type".to_owned());
            say!("POISON  {kind}  {error}; no consumer can read it");
            say!("    {} bytes (digits and long words masked): {}", letter.bytes(), letter.excerpt());
        }
    }
    say!(
        "    sent {}, received {} times, this look included; message {}",
        letter.sent_at().map_or_else(unknown, |at| at.to_string()),
        letter.receives().map_or_else(unknown, |receives| receives.to_string()),
        excerpt_of_id(letter.message_id()),
    );
    say!("");
}

/// SQS gives UUIDs; anything else may be anything.
fn excerpt_of_id(id: &str) -> String {
    let is_uuid = id.len() == 36 && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if is_uuid { id.to_owned() } else { excerpt(id) }
}

async fn replay(letters: &DeadLetters, consumer: &str, limit: u32, rate: Option<u32>) -> Result<()> {
    let mut reported = 0;
    let mut last = Replayed::default();
    let work = letters.replay(limit, rate, |done| {
        last = done.clone();
        if done.sent / SIGN_OF_LIFE_EVERY > reported {
            reported = done.sent / SIGN_OF_LIFE_EVERY;
            eprintln!("    … {} replayed", done.sent);
        }
    });
    let outcome = tokio::select! {
        outcome = work => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    let Some((done, end)) = outcome else {
        tell(consumer, &last);
        bail!(
            "interrupted; nothing is lost: what was under way can be seen again after {REPLAY_HIDDEN_S} s, and a \
             message may be in both queues, which is harmless"
        );
    };
    tell(consumer, &done);
    let depth = letters.depth().await?;
    say!("{consumer}: about {} dead letters are left{}", depth.dead + depth.hidden, hidden(depth));
    match end {
        End::Failing(reason) => bail!("gave up: {reason}"),
        _ if done.unsent > 0 => bail!("{} were refused by the queue and are still dead letters", done.unsent),
        End::Limit if depth.dead > 0 => say!("The limit of {limit} is reached; run it again for more."),
        End::Empty | End::Limit => {}
    }
    Ok(())
}

fn tell(consumer: &str, done: &Replayed) {
    say!("{consumer}: {} replayed", done.sent);
    if done.undeleted > 0 {
        say!("    {} of them are still dead letters too: they could not be deleted; harmless", done.undeleted);
    }
    if done.came_back > 0 {
        say!("    {} of them failed again and are dead letters again: see `peek {consumer}`", done.came_back);
    }
}

/// Watches a move that SQS does by itself.
async fn follow(letters: &DeadLetters, consumer: &str) -> Result<()> {
    progress::step("SQS moves the messages by itself; Ctrl-C ends the watching, not the move");
    for _ in 0..LOOKS_MAX {
        if let Some(task) = letters.move_progress().await? {
            if task.ended && task.status != "COMPLETED" {
                let reason = task.failure.as_deref().unwrap_or("no reason given");
                bail!("{consumer}: about {} replayed, then the move ended as {} ({reason})", task.moved, task.status);
            }
            if task.ended {
                say!("{consumer}: about {} replayed; what fails again shows in `list` within minutes", task.moved);
                return Ok(());
            }
            eprintln!("    … about {} replayed", task.moved);
        }
        tokio::time::sleep(Duration::from_secs(LOOK_EVERY_S)).await;
    }
    say!("{consumer}: the move goes on in SQS; `list` shows what is left");
    Ok(())
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
            "x replay analytics --limit 10000 --rate-per-second 500 --stack-name shop",
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

    #[test]
    fn only_a_uuid_is_shown_as_it_is() {
        assert_eq!(excerpt_of_id("13f06694-e2ab-4f44-8472-35ab7c4d7b15"), "13f06694-e2ab-4f44-8472-35ab7c4d7b15");
        assert_eq!(excerpt_of_id("4242 4242 4242 4242"), "#### #### #### ####");
    }
}
