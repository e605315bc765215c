//! Crashing on purpose: every call that leaves a function passes one point, where it gets a number and may meet a
//! fault. A function that is killed there is dropped in the middle of its work, as a process that dies is.

pub mod dynamo;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use crate::seeded::Seeded;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// It has no effect, and its caller learns that it failed.
    ErrorBefore,
    /// It takes effect, but its caller is told that it failed.
    ErrorAfter,
    /// It has no effect, and its caller hears nothing.
    TimeoutBefore,
    /// It takes effect, but its caller hears nothing.
    TimeoutAfter,
    /// The caller dies before it takes effect.
    KillBefore,
    /// It takes effect, and the caller dies before it learns that.
    KillAfter,
    /// DynamoDB refuses it because there is too much to do.
    Throttled,
    /// DynamoDB refuses it because another transaction is at the item.
    TransactionConflict,
    /// There is no connection: it certainly has no effect.
    Unreachable,
    /// It takes effect, its answer is lost, and the SDK makes the same call again.
    Repeated,
}

impl Fault {
    /// Every fault, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
        Self::KillBefore,
        Self::KillAfter,
        Self::Throttled,
        Self::TransactionConflict,
        Self::Unreachable,
        Self::Repeated,
    ];

    /// Its name in reports and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorBefore => "error-before",
            Self::ErrorAfter => "error-after",
            Self::TimeoutBefore => "timeout-before",
            Self::TimeoutAfter => "timeout-after",
            Self::KillBefore => "kill-before",
            Self::KillAfter => "kill-after",
            Self::Throttled => "throttled",
            Self::TransactionConflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::Repeated => "repeated",
        }
    }

    /// The fault of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == name)
    }
}

/// What a call does, which decides how it can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads from a table.
    Read,
    /// Writes one item.
    Write,
    /// Writes several items, all or nothing.
    Transaction,
    /// Publishes events.
    Publish,
    /// Hides messages, or sends them anew with a delay.
    Queue,
    /// Lambda deletes the messages that a function has handled.
    Acknowledge,
    /// Asks the gateway for something.
    Gateway,
    /// Posts to a merchant.
    Post,
}

impl Kind {
    /// What can go wrong.
    pub const fn faults(self) -> &'static [Fault] {
        use Fault::{
            ErrorAfter, ErrorBefore, KillAfter, KillBefore, Repeated, Throttled, TimeoutAfter, TimeoutBefore,
            TransactionConflict, Unreachable,
        };
        match self {
            Self::Read => &[ErrorBefore, ErrorAfter, TimeoutAfter, KillBefore, KillAfter, Throttled],
            Self::Write => &[
                ErrorBefore,
                ErrorAfter,
                TimeoutAfter,
                KillBefore,
                KillAfter,
                Throttled,
                TransactionConflict,
                Repeated,
            ],
            // A transaction that is repeated is known by its token, so nothing happens.
            Self::Transaction => {
                &[ErrorBefore, ErrorAfter, TimeoutAfter, KillBefore, KillAfter, Throttled, TransactionConflict]
            }
            Self::Publish => &[ErrorBefore, ErrorAfter, TimeoutAfter, KillBefore, KillAfter, Repeated],
            Self::Queue => &[ErrorBefore, ErrorAfter, TimeoutAfter, KillBefore, KillAfter],
            // The function has answered already and cannot die of it.
            Self::Acknowledge => &[ErrorBefore, ErrorAfter],
            Self::Gateway => {
                &[ErrorBefore, ErrorAfter, TimeoutBefore, TimeoutAfter, KillBefore, KillAfter, Unreachable]
            }
            Self::Post => &[ErrorBefore, ErrorAfter, TimeoutAfter, KillBefore, KillAfter],
        }
    }
}

/// A call that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// 1 for the first.
    pub number: usize,
    /// Which function made it.
    pub component: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Service and operation.
    pub label: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.number, self.component, self.label)
    }
}

/// Which calls meet a fault.
#[derive(Debug, Clone)]
pub enum Plan {
    /// None.
    Calm,
    /// The call of this number.
    At(usize, Fault),
    /// One in `one_in`, until so many have.
    Random {
        /// Decides.
        seeded: Seeded,
        /// How seldom.
        one_in: usize,
        /// How many.
        left: usize,
    },
}

#[derive(Debug)]
struct State {
    plan: Plan,
    calls: Vec<Call>,
    struck: Vec<(Call, Fault)>,
}

/// The point that every call passes.
#[derive(Debug, Clone)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    killed: Arc<Notify>,
}

impl Faults {
    /// Strikes as planned.
    pub fn new(plan: Plan) -> Self {
        let state = State { plan, calls: Vec::new(), struck: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), killed: Arc::default() }
    }

    /// From now on another plan counts.
    pub fn plan(&self, plan: Plan) {
        self.state.lock().unwrap().plan = plan;
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// The calls that met a fault.
    pub fn struck(&self) -> Vec<(Call, Fault)> {
        self.state.lock().unwrap().struck.clone()
    }

    /// Makes the call, unless it is to go wrong: then its caller learns of it, or dies.
    pub async fn pass<T, F>(
        &self,
        component: &'static str,
        kind: Kind,
        label: &str,
        effect: impl Fn() -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = T>,
    {
        // Calls that are under way at the same time take turns, always in the same order.
        tokio::task::yield_now().await;
        match self.strike(component, kind, label) {
            None => Ok(effect().await),
            Some(Fault::KillBefore) => self.die().await,
            Some(Fault::KillAfter) => {
                effect().await;
                self.die().await
            }
            Some(
                fault @ (Fault::ErrorBefore
                | Fault::TimeoutBefore
                | Fault::Throttled
                | Fault::TransactionConflict
                | Fault::Unreachable),
            ) => Err(fault),
            Some(fault @ (Fault::ErrorAfter | Fault::TimeoutAfter)) => {
                effect().await;
                Err(fault)
            }
            Some(Fault::Repeated) => {
                effect().await;
                Ok(effect().await)
            }
        }
    }

    /// Runs an invocation of a function to its end; nothing if it was killed.
    pub async fn invoke<T>(&self, invocation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            output = invocation => Some(output),
            () = self.killed.notified() => None,
        }
    }

    fn strike(&self, component: &'static str, kind: Kind, label: &str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let call = Call { number: state.calls.len() + 1, component, kind, label: label.to_owned() };
        state.calls.push(call.clone());
        let fault = match &mut state.plan {
            Plan::Calm => None,
            Plan::At(number, fault) => (*number == call.number).then_some(*fault),
            Plan::Random { seeded, one_in, left } => {
                let hits = *left > 0 && seeded.hits(*one_in);
                *left -= usize::from(hits);
                if hits { seeded.one_of(kind.faults()).copied() } else { None }
            }
        };
        state.struck.extend(fault.map(|fault| (call, fault)));
        fault
    }

    /// Whoever waits for this never goes on: `invoke` drops it.
    async fn die<T>(&self) -> T {
        self.killed.notify_one();
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// What a function notices of a fault at its only call, and how often the call takes effect.
    async fn under(fault: Fault) -> (Option<Result<(), Fault>>, u32) {
        let (faults, effects) = (Faults::new(Plan::At(1, fault)), AtomicU32::new(0));
        let call = faults.pass("f", Kind::Write, "x", async || {
            effects.fetch_add(1, Ordering::SeqCst);
        });
        let noticed = faults.invoke(call).await;
        assert_eq!(faults.struck().len(), 1);
        (noticed, effects.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn each_fault_strikes_before_or_after_the_effect() {
        for fault in Fault::ALL {
            let (noticed, effects) = under(fault).await;
            let (expected, times) = match fault {
                Fault::KillBefore => (None, 0),
                Fault::KillAfter => (None, 1),
                Fault::ErrorAfter | Fault::TimeoutAfter => (Some(Err(fault)), 1),
                Fault::Repeated => (Some(Ok(())), 2),
                _ => (Some(Err(fault)), 0),
            };
            assert_eq!((noticed, effects), (expected, times), "{fault:?}");
            assert_eq!(Fault::from_name(fault.as_str()), Some(fault));
        }
    }
}
