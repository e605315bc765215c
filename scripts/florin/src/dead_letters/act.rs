//! Replaying and discarding dead letters: first it is said what would be done, with `--yes` it is done.

use std::{fs, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, value_parser};
use florin_messaging::dead_letters::{
    DeadLetters, Depth, End, Order, RUN_HIDDEN_S, RUN_MESSAGES_MAX, RUN_PER_SECOND_MAX, SELECT_EXAMINED_MAX,
    SELECT_MESSAGES_MAX, Selection, Tally,
};
use florin_platform::{clock::Clock, random};

use super::{Stack, filter::Meant, show::hidden};
use crate::{progress, table};

/// Between two looks at a move that SQS does by itself.
const LOOK_EVERY_S: u64 = 2;
/// Looks at it: for ten minutes. A longer one goes on without us.
const LOOKS_MAX: u32 = 300;
/// A sign of life for every so many messages.
const SIGN_OF_LIFE_EVERY: u32 = 100;

/// What is done with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Back into their queue.
    Replay,
    /// Deleted for good.
    Discard,
}

impl Action {
    const fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Discard => "discarded",
        }
    }
}

/// How a replay or a discard goes.
#[derive(Debug, Args)]
pub(super) struct How {
    #[command(flatten)]
    meant: Meant,
    /// How many at most; a replay of all without it is done by SQS itself where it can
    #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(RUN_MESSAGES_MAX)))]
    limit: Option<u32>,
    /// How many a second at most, so that the consumer keeps up
    #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(RUN_PER_SECOND_MAX)))]
    rate_per_second: Option<u32>,
    /// Does it; without it the command only says what it would do
    #[arg(long)]
    yes: bool,
    /// Who does it, for the audit [default: $USER@host]
    #[arg(long, env = "FLORIN_ACTOR")]
    actor: Option<String>,
}

pub(super) async fn run(stack: &Stack, action: Action, consumer: &str, how: &How) -> Result<()> {
    let letters = stack.letters(consumer).await?;
    let filter = how.meant.filter(Clock::System.now());
    let limit = how.limit.unwrap_or(RUN_MESSAGES_MAX);
    let selection = letters.select(&filter, limit.min(SELECT_MESSAGES_MAX)).await?;
    announce(action, consumer, &selection);
    if selection.seen.is_empty() && !selection.more {
        return Ok(());
    }
    if !how.yes {
        say!("Nothing was done. To do it:  {} --yes", command_line());
        return Ok(());
    }
    let actor = how.actor.clone().unwrap_or_else(user_at_host);
    let run = random::hex128();
    let order = Order { filter: &filter, limit, per_second: how.rate_per_second, actor: &actor, note: None, run: &run };
    // SQS moves all or nothing: a number, or a choice, is ours to make.
    let by_sqs = action == Action::Replay && how.limit.is_none() && filter.is_everything();
    if by_sqs && letters.start_move(&order, &selection).await? {
        return follow(&letters, consumer).await;
    }
    carry_out(&letters, action, consumer, &order).await
}

/// How many of what kind there are.
fn announce(action: Action, consumer: &str, selection: &Selection) {
    let found = selection.seen.len();
    let at_least = if selection.more { "at least " } else { "" };
    say!("{consumer}: {at_least}{found} dead letters to be {}, of {} looked at", action.done(), selection.examined);
    let rows = selection.counts().into_iter();
    let rows: Vec<Vec<String>> = rows.map(|((kind, reason), count)| vec![kind, count.to_string(), reason]).collect();
    if !rows.is_empty() {
        say!("");
        for line in table::lines(&["    type", "messages", "reason of the last failure"], 3, &indented(rows)) {
            say!("{line}");
        }
        say!("");
    }
    if selection.more && selection.examined >= SELECT_EXAMINED_MAX {
        say!("The queue has more than the {SELECT_EXAMINED_MAX} that a look takes.");
    }
}

fn indented(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let indent = |mut row: Vec<String>| {
        if let Some(first) = row.first_mut() {
            first.insert_str(0, "    ");
        }
        row
    };
    rows.into_iter().map(indent).collect()
}

async fn carry_out(letters: &DeadLetters, action: Action, consumer: &str, order: &Order<'_>) -> Result<()> {
    let mut reported = 0;
    let mut last = Tally::default();
    let progress = |tally: &Tally| {
        last = tally.clone();
        if tally.done / SIGN_OF_LIFE_EVERY > reported {
            reported = tally.done / SIGN_OF_LIFE_EVERY;
            eprintln!("    … {} {}", tally.done, action.done());
        }
    };
    let work = async {
        match action {
            Action::Replay => letters.replay(order, progress).await,
            Action::Discard => letters.discard(order, progress).await,
        }
    };
    let outcome = tokio::select! {
        outcome = work => Some(outcome?),
        _ = tokio::signal::ctrl_c() => None,
    };
    let Some((tally, end)) = outcome else {
        tell(action, consumer, &last);
        bail!(
            "interrupted; nothing is lost: what was under way can be seen again after {RUN_HIDDEN_S} s; in a replay a \
             message may be in both queues, which is harmless"
        );
    };
    tell(action, consumer, &tally);
    let depth = letters.depth().await?;
    say!("{consumer}: about {} dead letters are left{}", depth.dead + depth.hidden, hidden(depth));
    match end {
        End::Failing(reason) => bail!("gave up: {reason}"),
        _ if tally.failed > 0 => bail!("{} were refused by the queue and are still dead letters", tally.failed),
        End::Limit if depth.dead > 0 => say!("The limit of {} is reached; run it again for more.", order.limit),
        End::Empty | End::Limit | End::Time => {}
    }
    Ok(())
}

fn tell(action: Action, consumer: &str, tally: &Tally) {
    say!("{consumer}: {} {}", tally.done, action.done());
    if tally.undeleted > 0 {
        say!("    {} of them are still dead letters too: they could not be deleted; harmless", tally.undeleted);
    }
    if tally.came_back > 0 {
        say!("    {} of them failed again and are dead letters again: see `peek {consumer}`", tally.came_back);
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
                let Depth { dead, hidden, .. } = letters.depth().await?;
                say!("{consumer}: about {} replayed, about {} dead letters are left", task.moved, dead + hidden);
                say!("What fails again shows in `list` within minutes.");
                return Ok(());
            }
            eprintln!("    … about {} replayed", task.moved);
        }
        tokio::time::sleep(Duration::from_secs(LOOK_EVERY_S)).await;
    }
    say!("{consumer}: the move goes on in SQS; `list` shows what is left");
    Ok(())
}

/// The command as it was given, for a shell.
fn command_line() -> String {
    let words = std::env::args().skip(1).map(|word| quoted(&word));
    std::iter::once("florin".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn user_at_host() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let file = || fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    let host = variable("HOSTNAME").or_else(file).unwrap_or_else(|| "unknown".to_owned());
    format!("{user}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it() {
        assert_eq!(
            ["webhook", "10m", "", "two words", "it's"].map(quoted),
            ["webhook", "10m", "''", "'two words'", r"'it'\''s'"]
        );
    }
}
