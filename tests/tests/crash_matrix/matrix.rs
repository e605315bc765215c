//! Every point of the matrix: a scenario, how the queues behave, and which call goes wrong how.

use std::{collections::VecDeque, fmt, panic::AssertUnwindSafe, str::FromStr, sync::Mutex};

use florin_domain::mutation::Mutation;
use florin_testing::{
    bus::Manners,
    faults::{Call, Fault, Plan},
    seeded::Seeded,
};
use futures::FutureExt;

use crate::{
    invariants::violations,
    scenarios::{SCENARIOS, Scenario},
    world::{Outside, Weather, World},
};

/// Threads that try points, each with a runtime and a receiver of its own.
const WORKERS: usize = 2;
/// So many points outside the core are tried by the bounded run.
pub(crate) const SAMPLE_POINTS: usize = 150;
/// A function that makes the same call again and again, as the sweeper does with its shards, is in the core with the
/// first so many.
pub(crate) const SAME_CALLS_IN_CORE: usize = 2;

/// How the queues behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// Each message once, in order.
    Plain,
    /// Each message twice.
    Twice,
    /// In an order that this number decides.
    Shuffled(u64),
    /// A message that nobody can read in each batch.
    Poison,
    /// All queues emptied after so many batches.
    Purge(usize),
}

impl Mode {
    /// Every mode in which each scenario is told without a fault.
    pub(crate) const ALL: [Self; 10] = [
        Self::Plain,
        Self::Twice,
        Self::Shuffled(1),
        Self::Shuffled(2),
        Self::Shuffled(3),
        Self::Poison,
        Self::Purge(0),
        Self::Purge(1),
        Self::Purge(2),
        Self::Purge(3),
    ];

    /// The modes in which every call goes wrong.
    pub(crate) const WITH_FAULTS: [Self; 4] = [Self::Plain, Self::Twice, Self::Shuffled(1), Self::Poison];

    fn weather(self, plan: Plan) -> Weather {
        let mut weather = Weather::new(plan, Manners::default());
        match self {
            Self::Plain => {}
            Self::Twice => weather.manners.duplicates = true,
            // The order of single messages would be no order.
            Self::Shuffled(seed) => {
                weather.manners = Manners { duplicates: true, order: Some(Seeded::new(seed)), poison: false };
            }
            Self::Poison => weather.manners.poison = true,
            Self::Purge(batches) => weather.purge_after = Some(batches),
        }
        weather
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Twice => f.write_str("twice"),
            Self::Shuffled(seed) => write!(f, "shuffled-{seed}"),
            Self::Poison => f.write_str("poison"),
            Self::Purge(batches) => write!(f, "purge-{batches}"),
        }
    }
}

impl FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
        match text.split_once('-').unwrap_or((text, "0")) {
            ("plain", _) => Ok(Self::Plain),
            ("twice", _) => Ok(Self::Twice),
            ("poison", _) => Ok(Self::Poison),
            ("shuffled", seed) => number(seed).map(Self::Shuffled),
            ("purge", batches) => number(batches).map(|batches| Self::Purge(usize::try_from(batches).unwrap())),
            _ => Err(format!("{text} is no mode")),
        }
    }
}

/// A point.
#[derive(Clone)]
pub(crate) struct Point {
    pub(crate) scenario: &'static Scenario,
    pub(crate) mode: Mode,
    /// The call that goes wrong, and how.
    pub(crate) strike: Option<(usize, Fault)>,
    /// The call as the run without a fault knows it.
    pub(crate) call: Option<Call>,
    /// How many calls like it came before.
    pub(crate) same_before: usize,
    /// How the product is wrong.
    pub(crate) mutation: Option<Mutation>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scenario.name, self.mode)?;
        self.strike.map_or(Ok(()), |(number, fault)| write!(f, "/{number}/{}", fault.as_str()))
    }
}

impl FromStr for Point {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let name = parts.next().unwrap_or_default();
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        let scenario = scenario.ok_or_else(|| format!("{name} is no scenario"))?;
        let mode = parts.next().unwrap_or("plain").parse()?;
        let strike = match (parts.next(), parts.next()) {
            (Some(number), Some(fault)) => Some((
                number.parse().map_err(|_| format!("{number} is no number"))?,
                Fault::from_name(fault).ok_or_else(|| format!("{fault} is no fault"))?,
            )),
            _ => None,
        };
        Ok(Self { scenario, mode, strike, call: None, same_before: 0, mutation: None })
    }
}

/// What came of a point.
pub(crate) struct Outcome {
    pub(crate) point: Point,
    /// Empty if it survived.
    pub(crate) violations: Vec<String>,
    pub(crate) calls: Vec<Call>,
}

impl Outcome {
    pub(crate) fn survived(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Tells the point's story, lets everything happen, and checks what must hold.
pub(crate) async fn run(point: Point, outside: &Outside) -> Outcome {
    #[cfg(feature = "mutations")]
    florin_domain::mutation::mutate(point.mutation);
    let plan = point.strike.map_or(Plan::Calm, |(number, fault)| Plan::At(number, fault));
    let mut world = World::start(outside, point.mode.weather(plan)).await;
    let mut told = async || {
        (point.scenario.story)(&mut world).await;
        world.drain().await.err()
    };
    let unquiet = match AssertUnwindSafe(told()).catch_unwind().await {
        Ok(unquiet) => unquiet,
        Err(panic) => Some(format!("panicked: {}", panic_text(&*panic))),
    };
    let calls = world.faults.calls();
    let mut violations: Vec<String> = unquiet.into_iter().collect();
    violations.extend(not_struck(&point, &world));
    if violations.is_empty() {
        violations = self::violations(&mut world).await;
    }
    Outcome { point, violations, calls }
}

/// A point whose call never came, or was another, tried nothing.
fn not_struck(point: &Point, world: &World) -> Option<String> {
    // A product that is wrong goes other ways.
    let (number, fault) = point.strike.filter(|_| point.mutation.is_none())?;
    match world.faults.struck().as_slice() {
        [(call, struck)] if call.number == number && *struck == fault => {
            let expected = point.call.as_ref().filter(|expected| *expected != call)?;
            Some(format!("the run does not repeat itself: {call} in place of {expected}"))
        }
        other => Some(format!("call {number} was not reached: {other:?}")),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// Tries all points, on all workers; in the order of the points.
pub(crate) fn try_all(points: Vec<Point>) -> Vec<Outcome> {
    try_until(points, |_| false)
}

/// Tries points until one comes out so.
pub(crate) fn try_until(points: Vec<Point>, enough: impl Fn(&Outcome) -> bool + Sync) -> Vec<Outcome> {
    let queue: Mutex<VecDeque<(usize, Point)>> = Mutex::new(points.into_iter().enumerate().collect());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let outside = Outside::start().await;
                    loop {
                        let Some((place, point)) = queue.lock().unwrap().pop_front() else { break };
                        let outcome = run(point, &outside).await;
                        if enough(&outcome) {
                            queue.lock().unwrap().clear();
                        }
                        outcomes.lock().unwrap().push((place, outcome));
                    }
                });
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Every fault at every call of these stories in these modes.
pub(crate) fn points(scenarios: &[&'static Scenario], modes: &[Mode]) -> Vec<Point> {
    let calm = scenarios.iter().flat_map(|scenario| {
        modes.iter().map(|mode| Point {
            scenario,
            mode: *mode,
            strike: None,
            call: None,
            same_before: 0,
            mutation: None,
        })
    });
    let struck = |outcome: Outcome| {
        let Outcome { point, violations, calls } = outcome;
        assert!(violations.is_empty(), "{point} does not hold without a fault: {violations:#?}");
        let like = |call: &Call| (call.component, call.label.clone());
        let before: Vec<usize> = calls
            .iter()
            .map(|call| calls.iter().filter(|other| other.number < call.number && like(other) == like(call)).count())
            .collect();
        calls.into_iter().zip(before).flat_map(move |(call, same_before)| {
            let point = point.clone();
            call.kind.faults().iter().map(move |fault| Point {
                strike: Some((call.number, *fault)),
                call: Some(call.clone()),
                same_before,
                ..point.clone()
            })
        })
    };
    try_all(calm.collect()).into_iter().flat_map(struck).collect()
}
