//! The engine and its file against a model that is too simple to be wrong.

use proptest::prelude::*;
use rusqlite::Connection;

use super::{handle::Handle, *};

const BEGIN_MS: u64 = 1_000_000;
const RETENTION_MS: u64 = 60_000;
const RECEIVES_MAX: u64 = 2;
const NAMES: [&str; 2] = ["source", "dead"];

#[derive(Debug, Clone)]
enum Step {
    Send {
        queue: usize,
        delay_ms: u64,
    },
    Receive {
        queue: usize,
        max: usize,
        visibility_ms: u64,
    },
    /// Chooses among all handles ever given out.
    Delete {
        handle: prop::sample::Index,
    },
    Hide {
        handle: prop::sample::Index,
        hidden_ms: u64,
    },
    Purge {
        queue: usize,
    },
    Advance {
        by_ms: u64,
    },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2_usize, prop_oneof![Just(0_u64), 1..5_000_u64])
            .prop_map(|(queue, delay_ms)| Step::Send { queue, delay_ms }),
        6 => (0..2_usize, 1..4_usize, prop_oneof![Just(0_u64), 1..9_000_u64])
            .prop_map(|(queue, max, visibility_ms)| Step::Receive { queue, max, visibility_ms }),
        3 => any::<prop::sample::Index>().prop_map(|handle| Step::Delete { handle }),
        2 => (any::<prop::sample::Index>(), 0..9_000_u64)
            .prop_map(|(handle, hidden_ms)| Step::Hide { handle, hidden_ms }),
        1 => (0..2_usize).prop_map(|queue| Step::Purge { queue }),
        4 => prop_oneof![1..3_000_u64, 50_000..70_000_u64].prop_map(|by_ms| Step::Advance { by_ms }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

/// A message of the model.
#[derive(Debug, Clone)]
struct Simple {
    number: usize,
    queue: usize,
    sent_at_ms: u64,
    visible_at_ms: u64,
    receives_here: u64,
    latest_handle: Option<usize>,
}

#[derive(Debug, Default)]
struct Simplest {
    messages: Vec<Simple>,
    sent: usize,
    /// (queue, number of the message) of each handle.
    handles: Vec<(usize, usize)>,
    purged_at_ms: [Option<u64>; 2],
}

impl Simplest {
    fn settle(&mut self, now_ms: u64) {
        self.messages.retain(|message| message.sent_at_ms + RETENTION_MS > now_ms);
    }

    /// Numbers of the messages received, in order.
    fn receive(&mut self, queue: usize, max: usize, visibility_ms: u64, now_ms: u64) -> Vec<usize> {
        loop {
            let is_visible = |message: &&mut Simple| message.queue == queue && message.visible_at_ms <= now_ms;
            let mut visible: Vec<&mut Simple> = self.messages.iter_mut().filter(is_visible).collect();
            visible.sort_by_key(|message| (message.visible_at_ms, message.number));
            let (mut taken, mut has_dead) = (Vec::new(), false);
            for message in visible.into_iter().take(max) {
                if queue == 0 && message.receives_here >= RECEIVES_MAX {
                    message.queue = 1;
                    message.receives_here = 0;
                    message.visible_at_ms = now_ms;
                    has_dead = true;
                } else {
                    message.receives_here += 1;
                    message.visible_at_ms = now_ms + visibility_ms;
                    message.latest_handle = Some(self.handles.len());
                    self.handles.push((queue, message.number));
                    taken.push(message.number);
                }
            }
            if !taken.is_empty() || !has_dead {
                return taken;
            }
        }
    }

    /// The message that the handle is the latest of, in its queue.
    fn latest(&mut self, handle: usize) -> Option<&mut Simple> {
        let (queue, number) = self.handles[handle];
        let found = self.messages.iter_mut().find(|message| message.number == number && message.queue == queue);
        found.filter(|message| message.latest_handle == Some(handle))
    }

    fn counts(&self, queue: usize, now_ms: u64) -> Counts {
        let count = |keep: &dyn Fn(&Simple) -> bool| {
            let count = self.messages.iter().filter(|message| message.queue == queue && keep(message)).count();
            u64::try_from(count).unwrap()
        };
        Counts {
            visible: count(&|message| message.visible_at_ms <= now_ms),
            in_flight: count(&|message| message.visible_at_ms > now_ms && message.receives_here > 0),
            delayed: count(&|message| message.visible_at_ms > now_ms && message.receives_here == 0),
        }
    }
}

/// The engine with its file.
struct Real {
    folder: TempDir,
    state: State,
    writer: Option<Writer>,
    handles: Vec<Handle>,
}

impl Real {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Self::connect(&folder);
        let kept = rows::load(&connection).unwrap();
        let state = State::new(place(), kept, BEGIN_MS);
        let mut real = Self { folder, state, writer: Some(Writer::start(connection).unwrap()), handles: Vec::new() };
        let mut attributes = BTreeMap::from([("MessageRetentionPeriod".to_owned(), "60".to_owned())]);
        real.state.create_queue("dead", &attributes, BTreeMap::new(), BEGIN_MS).unwrap();
        let policy = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": RECEIVES_MAX }).to_string();
        attributes.insert("RedrivePolicy".to_owned(), policy);
        real.state.create_queue("source", &attributes, BTreeMap::new(), BEGIN_MS).unwrap();
        real.write();
        real
    }

    fn connect(folder: &TempDir) -> Connection {
        store::open(&folder.path().join("queues.sqlite")).unwrap()
    }

    fn write(&mut self) {
        let changes = self.state.take_changes();
        self.writer.as_ref().unwrap().append(changes);
    }

    fn restart(&mut self, now_ms: u64) {
        self.write();
        self.writer = None;
        let connection = Self::connect(&self.folder);
        self.state = State::new(place(), rows::load(&connection).unwrap(), now_ms);
        self.writer = Some(Writer::start(connection).unwrap());
    }
}

fn take_step(step: &Step, real: &mut Real, model: &mut Simplest, now_ms: &mut u64) {
    let now = *now_ms;
    model.settle(now);
    match step {
        Step::Send { queue, delay_ms } => {
            let delay = Some(Duration::from_millis(*delay_ms));
            let message = NewMessage { body: model.sent.to_string(), delay, ..NewMessage::default() };
            real.state.send_all(vec![(NAMES[*queue].to_owned(), message)], now).unwrap();
            model.messages.push(Simple {
                number: model.sent,
                queue: *queue,
                sent_at_ms: now,
                visible_at_ms: now + delay_ms,
                receives_here: 0,
                latest_handle: None,
            });
            model.sent += 1;
        }
        Step::Receive { queue, max, visibility_ms } => {
            let request = Receive {
                queue: NAMES[*queue],
                max: *max,
                visibility_ms: Some(*visibility_ms),
                fault: Some(DeliveryFault::default()),
                ticket: None,
                waits: false,
                is_short: true,
            };
            let Attempt::Taken(taken) = real.state.receive(request, now).unwrap() else { panic!("it does not wait") };
            let bodies: Vec<usize> = taken.iter().map(|taken| taken.content.body.parse().unwrap()).collect();
            real.handles.extend(taken.iter().map(|taken| taken.handle));
            assert_eq!(bodies, model.receive(*queue, *max, *visibility_ms, now));
        }
        Step::Delete { handle } if !real.handles.is_empty() => {
            let handle = handle.index(real.handles.len());
            real.state.delete(NAMES[model.handles[handle].0], real.handles[handle], now).unwrap();
            if let Some(number) = model.latest(handle).map(|message| message.number) {
                model.messages.retain(|message| message.number != number);
            }
        }
        Step::Hide { handle, hidden_ms } if !real.handles.is_empty() => {
            let handle = handle.index(real.handles.len());
            let outcome = real.state.hide(NAMES[model.handles[handle].0], real.handles[handle], *hidden_ms, now);
            let found = model.latest(handle).filter(|message| message.visible_at_ms > now);
            assert_eq!(outcome.is_ok(), found.is_some());
            if let Some(message) = found {
                message.visible_at_ms = now + hidden_ms;
            }
        }
        Step::Purge { queue } => {
            let is_allowed = model.purged_at_ms[*queue].is_none_or(|at_ms| now >= at_ms + 60_000);
            assert_eq!(real.state.purge(NAMES[*queue], now).is_ok(), is_allowed);
            if is_allowed {
                model.purged_at_ms[*queue] = Some(now);
                model.messages.retain(|message| message.queue != *queue);
            }
        }
        Step::Advance { by_ms } => *now_ms += by_ms,
        Step::Restart => real.restart(now),
        Step::Delete { .. } | Step::Hide { .. } => {}
    }
    real.write();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(steps in steps()) {
        let (mut real, mut model, mut now_ms) = (Real::new(), Simplest::default(), BEGIN_MS);
        for step in steps.iter().chain([&Step::Restart]) {
            take_step(step, &mut real, &mut model, &mut now_ms);
            model.settle(now_ms);
            for (queue, name) in NAMES.iter().enumerate() {
                real.state.settle(name, now_ms);
                let counts = real.state.queue(name).unwrap().counts();
                prop_assert_eq!(counts, model.counts(queue, now_ms), "{} {:?}", name, step);
            }
        }
    }
}
