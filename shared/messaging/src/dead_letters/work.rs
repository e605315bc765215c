//! Going through a dead-letter queue: looking, replaying, discarding.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    DeadLetter, DeadLetters, DeadLettersError, Filter, MESSAGES_PER_RECEIVE_MAX, RUN_HIDDEN_S, RUN_MESSAGES_MAX,
    SELECT_EXAMINED_MAX, SELECT_HIDDEN_S, SELECT_MESSAGES_MAX, Seen, trail::Trail,
};
use crate::visibility::Change;

/// Failed sends and deletes after which a run gives up: it is not one message, it is the queue.
const FAILURES_MAX: u32 = 10;
/// Receives in a row that bring nothing but what this run has seen already.
const FRUITLESS_RECEIVES_MAX: u32 = 50;

/// What a look has found.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Those that are meant.
    pub seen: Vec<Seen>,
    /// How many were looked at.
    pub examined: u32,
    /// Whether there may be more that are meant.
    pub more: bool,
}

impl Selection {
    /// How many there are of each type and reason.
    pub fn counts(&self) -> BTreeMap<(String, String), u32> {
        let mut counts = BTreeMap::new();
        for seen in &self.seen {
            *counts.entry((seen.letter.type_name(), seen.reason().to_owned())).or_default() += 1;
        }
        counts
    }
}

/// What is to be done, for the audit too.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Which dead letters.
    pub filter: &'a Filter,
    /// How many at most, `RUN_MESSAGES_MAX` in any case.
    pub limit: u32,
    /// How many a second at most.
    pub per_second: Option<u32>,
    /// Who orders it.
    pub actor: &'a str,
    /// Why.
    pub note: Option<&'a str>,
    /// Names this run in the audit; random.
    pub run: &'a str,
}

/// What a run has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Replayed: sent to the consumer's queue. Discarded: deleted.
    pub done: u32,
    /// Sent, but not deleted from the dead-letter queue: they are there twice, which is harmless.
    pub undeleted: u32,
    /// Not sent, or not discarded: still in the dead-letter queue, and nowhere else.
    pub failed: u32,
    /// Sent, failed again and back in the dead-letter queue: they stay there.
    pub came_back: u32,
    /// Not meant.
    pub passed_over: u32,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing that is meant is left, except what came back.
    Empty,
    /// As many as were asked for.
    Limit,
    /// The time is over.
    Time,
    /// Too many calls failed; the reason of the last.
    Failing(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing that is meant is left"),
            Self::Limit => f.write_str("the limit is reached"),
            Self::Time => f.write_str("the time is over"),
            Self::Failing(reason) => write!(f, "gave up ({reason})"),
        }
    }
}

impl DeadLetters {
    /// Looks at dead letters and leaves them where they are.
    pub async fn select(&self, filter: &Filter, at_most: u32) -> Result<Selection, DeadLettersError> {
        let at_most = usize::try_from(at_most.min(SELECT_MESSAGES_MAX)).unwrap_or(0);
        let mut scan = Scan::new(self, SELECT_HIDDEN_S);
        let mut selection = Selection { more: true, ..Selection::default() };
        let mut outcome = Ok(());
        while selection.seen.len() < at_most && scan.examined() < SELECT_EXAMINED_MAX && !scan.is_late() {
            match scan.next().await {
                Ok(seen) if seen.is_empty() => {
                    selection.more = scan.is_late();
                    break;
                }
                Ok(seen) => selection.seen.extend(seen.into_iter().filter(|seen| filter.admits(seen))),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        selection.more |= selection.seen.len() > at_most;
        selection.seen.truncate(at_most);
        selection.examined = scan.examined();
        scan.show_again().await;
        outcome.map(|()| selection)
    }

    /// Puts dead letters back; `progress` hears of every batch.
    ///
    /// What fails again while this runs comes back to the dead-letter queue; it is left there, or a single poison
    /// message would circle until the limit.
    pub async fn replay(
        &self,
        order: &Order<'_>,
        mut progress: impl FnMut(&Tally),
    ) -> Result<(Tally, End), DeadLettersError> {
        self.run(Action::Replay, order, |tally, _| progress(tally)).await
    }

    /// Deletes dead letters for good; `progress` hears of every batch. The audit keeps what they were about, and none
    /// is deleted before it does.
    pub async fn discard(
        &self,
        order: &Order<'_>,
        mut progress: impl FnMut(&Tally),
    ) -> Result<(Tally, End), DeadLettersError> {
        self.run(Action::Discard, order, |tally, _| progress(tally)).await
    }

    /// `replay` or `discard`; `progress` hears of every batch, and what became of each message in it.
    pub async fn run(
        &self,
        action: Action,
        order: &Order<'_>,
        progress: impl FnMut(&Tally, &[(Seen, Fate)]),
    ) -> Result<(Tally, End), DeadLettersError> {
        Run::new(self, order, action).carry_out(progress).await
    }
}

/// Goes through a dead-letter queue once. What it has received stays hidden until the end, or it would be received over
/// and over.
struct Scan<'a> {
    letters: &'a DeadLetters,
    hidden_s: i32,
    started: Instant,
    /// Everything received.
    known: HashSet<String>,
    /// The newest receipt handles of what is still there, by message id.
    held: HashMap<String, String>,
}

impl<'a> Scan<'a> {
    fn new(letters: &'a DeadLetters, hidden_s: i32) -> Self {
        Self { letters, hidden_s, started: Instant::now(), known: HashSet::new(), held: HashMap::new() }
    }

    fn examined(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap_or(u32::MAX)
    }

    fn is_late(&self) -> bool {
        self.letters.time_max.is_some_and(|time_max| self.started.elapsed() >= time_max)
    }

    /// The next dead letters, none twice; nothing once all have been seen, or late.
    async fn next(&mut self) -> Result<Vec<Seen>, DeadLettersError> {
        for _ in 0..FRUITLESS_RECEIVES_MAX {
            if self.is_late() {
                break;
            }
            let received = self.letters.receive(MESSAGES_PER_RECEIVE_MAX, self.hidden_s).await?;
            if received.is_empty() {
                break;
            }
            let mut new = Vec::new();
            for letter in received {
                self.held.insert(letter.message_id().to_owned(), letter.receipt_handle.clone());
                if self.known.insert(letter.message_id().to_owned()) {
                    new.push(letter);
                }
            }
            if !new.is_empty() {
                return self.letters.with_reasons(new).await;
            }
        }
        Ok(Vec::new())
    }

    fn gone(&mut self, letter: &DeadLetter) {
        self.held.remove(letter.message_id());
    }

    async fn show_again(self) {
        let changes = self.held.into_values().map(|receipt_handle| Change { receipt_handle, seconds: 0 });
        self.letters.show_again(changes.collect()).await;
    }
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Puts dead letters back into their queue.
    Replay,
    /// Deletes them for good.
    Discard,
}

/// What became of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is in the consumer's queue under this id, and no dead letter any more.
    Sent(String),
    /// It is in the consumer's queue under this id, and still a dead letter.
    Undeleted(String, DeadLettersError),
    /// It is deleted.
    Discarded,
    /// It is where it was.
    Failed(DeadLettersError),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(_) => f.write_str("sent"),
            Self::Undeleted(_, error) => write!(f, "sent, and still a dead letter: {error}"),
            Self::Discarded => f.write_str("deleted"),
            Self::Failed(error) => write!(f, "still a dead letter: {error}"),
        }
    }
}

impl Fate {
    /// Why it is still a dead letter.
    pub const fn error(&self) -> Option<&DeadLettersError> {
        match self {
            Self::Undeleted(_, error) | Self::Failed(error) => Some(error),
            Self::Sent(_) | Self::Discarded => None,
        }
    }
}

struct Run<'a> {
    order: &'a Order<'a>,
    action: Action,
    scan: Scan<'a>,
    trail: Trail<'a>,
    tally: Tally,
    /// Ids of what this run sent.
    sent: HashSet<String>,
    /// What is meant and waits for its turn.
    pending: VecDeque<Seen>,
}

impl<'a> Run<'a> {
    fn new(letters: &'a DeadLetters, order: &'a Order<'a>, action: Action) -> Self {
        let name = match action {
            Action::Replay => "replay",
            Action::Discard => "discard",
        };
        Self {
            order,
            action,
            scan: Scan::new(letters, RUN_HIDDEN_S),
            trail: Trail::new(letters, order, name),
            tally: Tally::default(),
            sent: HashSet::new(),
            pending: VecDeque::new(),
        }
    }

    async fn carry_out(
        mut self,
        progress: impl FnMut(&Tally, &[(Seen, Fate)]),
    ) -> Result<(Tally, End), DeadLettersError> {
        self.trail.begin().await?;
        let end = self.drain(progress).await.unwrap_or_else(|error| End::Failing(error.to_string()));
        self.scan.show_again().await;
        let Tally { done, undeleted, failed, came_back, passed_over } = self.tally;
        let outcome = format!(
            "{end}: {done} done, {undeleted} of them undeleted, {failed} failed, {came_back} came back, \
             {passed_over} passed over"
        );
        self.trail.end(outcome).await?;
        Ok((self.tally, end))
    }

    async fn drain(&mut self, mut progress: impl FnMut(&Tally, &[(Seen, Fate)])) -> Result<End, DeadLettersError> {
        let limit = self.order.limit.min(RUN_MESSAGES_MAX);
        let started = Instant::now();
        loop {
            let tried = self.tally.done + self.tally.failed;
            let wanted = limit.saturating_sub(tried).min(self.order.per_second.unwrap_or(MESSAGES_PER_RECEIVE_MAX));
            if wanted == 0 {
                return Ok(End::Limit);
            }
            if self.pending.is_empty() && !self.look_for_more().await? {
                return Ok(if self.scan.is_late() { End::Time } else { End::Empty });
            }
            if let Some(rate) = self.order.per_second {
                tokio::time::sleep_until(started + Duration::from_millis(u64::from(tried) * 1_000 / u64::from(rate)))
                    .await;
            }
            let batch = usize::try_from(wanted).unwrap_or(0).min(self.pending.len());
            let batch: Vec<Seen> = self.pending.drain(..batch).collect();
            let fates = self.work_on(batch).await?;
            progress(&self.tally, &fates);
            if let Some(error) = fates.iter().rev().find_map(|(_, fate)| fate.error())
                && self.tally.failed + self.tally.undeleted >= FAILURES_MAX
            {
                return Err(error.clone());
            }
        }
    }

    /// Receives until something is meant. `false` once everything has been seen.
    async fn look_for_more(&mut self) -> Result<bool, DeadLettersError> {
        while self.pending.is_empty() && self.scan.examined() < RUN_MESSAGES_MAX {
            let seen = self.scan.next().await?;
            if seen.is_empty() {
                return Ok(false);
            }
            for seen in seen {
                if self.sent.contains(seen.letter.message_id()) {
                    self.tally.came_back += 1;
                } else if self.order.filter.admits(&seen) {
                    self.pending.push_back(seen);
                } else {
                    self.tally.passed_over += 1;
                }
            }
        }
        Ok(!self.pending.is_empty())
    }

    /// Works on letters side by side.
    async fn work_on(&mut self, batch: Vec<Seen>) -> Result<Vec<(Seen, Fate)>, DeadLettersError> {
        if self.action == Action::Discard {
            // What a deleted message was about is in the audit only.
            self.trail.messages(batch.iter().map(|seen| (seen, "to be deleted".to_owned()))).await?;
        }
        let (letters, action) = (self.scan.letters, self.action);
        let fates = futures::future::join_all(batch.iter().map(|seen| letters.act(action, &seen.letter))).await;
        let fates: Vec<(Seen, Fate)> = batch.into_iter().zip(fates).collect();
        for (seen, fate) in &fates {
            self.count(&seen.letter, fate);
        }
        // That it was to be deleted has been said.
        let untold = fates.iter().filter(|(_, fate)| *fate != Fate::Discarded);
        self.trail.messages(untold.map(|(seen, fate)| (seen, fate.to_string()))).await?;
        Ok(fates)
    }

    fn count(&mut self, letter: &DeadLetter, fate: &Fate) {
        match fate {
            Fate::Sent(id) => {
                self.tally.done += 1;
                self.scan.gone(letter);
                self.sent.insert(id.clone());
            }
            Fate::Undeleted(id, _) => {
                self.tally.done += 1;
                self.tally.undeleted += 1;
                self.sent.insert(id.clone());
            }
            Fate::Discarded => {
                self.tally.done += 1;
                self.scan.gone(letter);
            }
            Fate::Failed(_) => self.tally.failed += 1,
        }
    }
}

impl DeadLetters {
    async fn act(&self, action: Action, letter: &DeadLetter) -> Fate {
        match action {
            Action::Replay => match self.send(letter).await {
                // Only now: a crash before this line duplicates the message, and loses nothing.
                Ok(id) => match self.delete(letter).await {
                    Ok(()) => Fate::Sent(id),
                    Err(error) => Fate::Undeleted(id, error),
                },
                Err(error) => Fate::Failed(error),
            },
            Action::Discard => match self.delete(letter).await {
                Ok(()) => Fate::Discarded,
                Err(error) => Fate::Failed(error),
            },
        }
    }
}
