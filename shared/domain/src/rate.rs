//! How many requests a caller may make: a token bucket, kept as one moment (the generic cell rate algorithm, ITU-T
//! I.371), and paid for afterwards, so that it is written once per `CREDIT_REQUESTS_MAX` requests.
//!
//! Every instance serves a few requests on credit and then settles them with the bucket, which all instances share. A
//! settlement that the bucket has no room for is refused, and so are further requests on that instance until it has.
//! Over any time `t` at most `burst + per_second * t + CREDIT_REQUESTS_MAX * instances` requests are served, and a
//! caller that keeps to `per_second` with bursts of `burst - CREDIT_REQUESTS_MAX * instances` is never refused.

use crate::time::Timestamp;

/// Requests that an instance serves before it settles them.
pub const CREDIT_REQUESTS_MAX: u32 = 10;
/// An instance that was refused does not ask again sooner, in milliseconds.
pub const ASK_AGAIN_MS_MIN: i64 = 100;
/// The highest rate that can be set, in requests a second.
pub const PER_SECOND_MAX: u32 = 100_000;
/// The largest burst that can be set, in requests.
pub const BURST_MAX: u32 = 1_000_000;
/// A bucket that is fuller than full by more than this was filled by a clock that is wrong, and counts as idle, in
/// milliseconds.
const CLOCKS_APART_MS_MAX: i64 = 1_000;

const US_PER_MS: i64 = 1_000;
const US_PER_SECOND: i64 = 1_000_000;

/// What is allowed: so many requests a second, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

/// What all instances share: the moment at which the bucket is idle again, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket(pub i64);

/// What became of a settlement. Either way this is the bucket now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The requests are paid for.
    Paid(Bucket),
    /// There is no room for them yet.
    Refused(Bucket),
}

/// How a settlement is written: the bucket as it has to be found, in microseconds, and what it is changed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Below it the bucket is idle.
    pub now_us: i64,
    /// Above it there is no room.
    pub room_us: i64,
    /// Above it the bucket counts as idle: a clock was wrong.
    pub wrong_us: i64,
    /// What the requests add.
    pub cost_us: i64,
}

impl Rate {
    /// A rate; both are at least 1, and bounded.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let sound = (1..=PER_SECOND_MAX).contains(&per_second) && (1..=BURST_MAX).contains(&burst);
        sound.then_some(Self { per_second, burst })
    }

    /// Requests at once after a pause.
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// The time in which the burst grows anew, in whole seconds, rounded up.
    pub const fn window_seconds(self) -> u32 {
        self.burst.div_ceil(self.per_second)
    }

    /// The terms of settling so many requests now.
    pub fn terms(self, requests: u32, now: Timestamp) -> Terms {
        let now_us = now.ms().saturating_mul(US_PER_MS);
        let full_us = now_us.saturating_add(self.us(self.burst));
        let cost_us = self.us(requests);
        let wrong_us = full_us.saturating_add(CLOCKS_APART_MS_MAX * US_PER_MS);
        Terms { now_us, room_us: full_us.saturating_sub(cost_us), wrong_us, cost_us }
    }

    fn credit(self) -> u32 {
        self.burst.min(CREDIT_REQUESTS_MAX)
    }

    /// What so many requests take of the bucket, in microseconds, rounded up.
    fn us(self, requests: u32) -> i64 {
        let (requests, per_second) = (i64::from(requests), i64::from(self.per_second));
        (requests * US_PER_SECOND + per_second - 1) / per_second
    }
}

impl Terms {
    /// Whether the bucket is idle: then it is set to [`Self::after_idle`], or else the cost is added to it.
    pub const fn finds_idle(self, bucket: Bucket) -> bool {
        bucket.0 < self.now_us || bucket.0 > self.wrong_us
    }

    /// Whether the requests fit.
    pub const fn has_room(self, bucket: Bucket) -> bool {
        self.finds_idle(bucket) || bucket.0 <= self.room_us
    }

    /// The bucket after these requests, if it was idle.
    pub const fn after_idle(self) -> Bucket {
        Bucket(self.now_us.saturating_add(self.cost_us))
    }
}

/// What one instance knows of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The bucket, as it was last heard of. It never goes back, so it is at least this full.
    bucket: Bucket,
    /// Requests that were served and not paid for.
    owed: u32,
    refused_until: Timestamp,
}

impl Default for Account {
    fn default() -> Self {
        Self { bucket: Bucket::default(), owed: 0, refused_until: Timestamp::MIN }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is served, and counted.
    Served,
    /// It is refused, without anything being written.
    Refused,
    /// First these requests have to be settled, with a bucket that is at least this full; then ask again.
    Settle(u32, Bucket),
}

/// Where a caller stands, as this instance knows it: what the headers of an answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What is allowed.
    pub rate: Rate,
    /// Requests that may be made at once.
    pub remaining: u32,
    /// When the burst is whole again, or, after a refusal, when to come back, in seconds.
    pub reset_seconds: i64,
}

impl Account {
    /// A request has come.
    pub fn arrive(&mut self, rate: Rate, now: Timestamp) -> Arrival {
        if self.is_refused(rate, now) {
            return Arrival::Refused;
        }
        if self.owed >= rate.credit() {
            return Arrival::Settle(self.owed, self.bucket);
        }
        self.owed += 1;
        Arrival::Served
    }

    /// What is owed was settled, or was not.
    pub fn settled(&mut self, settlement: Settlement, rate: Rate, now: Timestamp) {
        match settlement {
            Settlement::Paid(bucket) => (self.bucket, self.owed) = (bucket, 0),
            Settlement::Refused(bucket) => {
                let room_us = bucket.0 - rate.terms(self.owed, now).room_us;
                let room_ms = (room_us + US_PER_MS - 1) / US_PER_MS;
                // Never so long that the bucket would run over meanwhile.
                let pause_ms = ASK_AGAIN_MS_MIN.min(rate.us(rate.burst) / US_PER_MS / 2);
                self.bucket = bucket;
                self.refused_until = now.plus_ms(room_ms.max(pause_ms));
            }
        }
    }

    /// Forgets what is owed: the bucket cannot be reached, and nobody is refused for that.
    pub fn forgive(&mut self) {
        self.owed = 0;
    }

    /// Where the caller stands.
    pub fn standing(&self, rate: Rate, now: Timestamp) -> Standing {
        if self.is_refused(rate, now) {
            let reset_seconds = (self.refused_until.ms_since(now) + 999) / 1_000;
            return Standing { rate, remaining: 0, reset_seconds };
        }
        let terms = rate.terms(self.owed, now);
        let filled_us = if terms.finds_idle(self.bucket) { 0 } else { self.bucket.0 - terms.now_us };
        let left_us = (terms.room_us - terms.now_us - filled_us).max(0);
        let remaining = left_us.saturating_mul(i64::from(rate.per_second)) / US_PER_SECOND;
        Standing {
            rate,
            remaining: u32::try_from(remaining).unwrap_or(rate.burst).min(rate.burst),
            reset_seconds: (filled_us + terms.cost_us + US_PER_SECOND - 1) / US_PER_SECOND,
        }
    }

    /// A refusal further ahead than any can be was noted by a clock that was wrong.
    fn is_refused(&self, rate: Rate, now: Timestamp) -> bool {
        let longest_ms = rate.us(rate.burst) / US_PER_MS + CLOCKS_APART_MS_MAX;
        (1..=longest_ms).contains(&self.refused_until.ms_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_ms(1_795_251_600_000);

    /// The bucket as the table keeps it, and the accounts of some instances.
    struct World {
        rate: Rate,
        bucket: Bucket,
        accounts: Vec<Account>,
        settlements: usize,
    }

    impl World {
        fn new(rate: Rate, instances: usize) -> Self {
            Self { rate, bucket: Bucket::default(), accounts: vec![Account::default(); instances], settlements: 0 }
        }

        fn request(&mut self, instance: usize, now: Timestamp) -> bool {
            let account = &mut self.accounts[instance];
            let mut arrival = account.arrive(self.rate, now);
            if let Arrival::Settle(owed, known) = arrival {
                assert!(known.0 <= self.bucket.0, "an instance knows no more than there is");
                self.settlements += 1;
                let terms = self.rate.terms(owed, now);
                let settlement = if terms.finds_idle(self.bucket) {
                    self.bucket = terms.after_idle();
                    Settlement::Paid(self.bucket)
                } else if terms.has_room(self.bucket) {
                    self.bucket = Bucket(self.bucket.0 + terms.cost_us);
                    Settlement::Paid(self.bucket)
                } else {
                    Settlement::Refused(self.bucket)
                };
                account.settled(settlement, self.rate, now);
                arrival = account.arrive(self.rate, now);
            }
            arrival == Arrival::Served
        }
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (1..=2_000_u32, 1..=2_000_u32).prop_map(|(per_second, burst)| Rate::new(per_second, burst).unwrap())
    }

    proptest! {
        #[test]
        fn no_time_sees_more_than_burst_and_rate_and_credit(
            rate in rates(),
            instances in 1..=5_usize,
            arrivals in proptest::collection::vec((0..5_usize, 0..20_i64), 1..3_000),
        ) {
            let mut world = World::new(rate, instances);
            let credit = i64::from(CREDIT_REQUESTS_MAX) * i64::try_from(instances).unwrap() * US_PER_SECOND;
            let allowed = rate.us(rate.burst) * i64::from(rate.per_second) + credit;
            // The fullest that any stretch of time up to now has been, in millionths of a request.
            let mut fullest = 0_i64;
            let mut now = START;
            for (instance, gap_ms) in arrivals {
                now = now.plus_ms(gap_ms);
                fullest = (fullest - gap_ms * US_PER_MS * i64::from(rate.per_second)).max(0);
                if world.request(instance % instances, now) {
                    fullest += US_PER_SECOND;
                }
                prop_assert!(fullest <= allowed, "{fullest} > {allowed}");
            }
        }

        #[test]
        fn whoever_keeps_to_the_rate_is_never_refused(
            per_second in 1..=1_000_u32,
            own_burst in 1..=500_u32,
            instances in 1..=5_usize,
            arrivals in proptest::collection::vec((0..5_usize, 0..30_i64), 1..2_000),
        ) {
            let burst = own_burst + CREDIT_REQUESTS_MAX * u32::try_from(instances).unwrap();
            let rate = Rate::new(per_second, burst).unwrap();
            let mut world = World::new(rate, instances);
            let (mut now, mut own) = (START, 0_i64);
            for (instance, gap_ms) in arrivals {
                // The caller's own bucket, which makes it wait; rounded so that it is never faster than the rate.
                let mut gap_ms = gap_ms;
                while own - gap_ms * US_PER_MS + rate.us(1) + 1 > rate.us(own_burst) {
                    gap_ms += 1;
                    if own - gap_ms * US_PER_MS <= 0 {
                        break;
                    }
                }
                now = now.plus_ms(gap_ms);
                own = (own - gap_ms * US_PER_MS).max(0) + rate.us(1) + 1;
                prop_assert!(world.request(instance % instances, now));
            }
        }
    }

    #[test]
    fn a_caller_that_asks_for_too_much_gets_the_rate_all_the_same() {
        for (per_second, burst, instances) in [(500, 1_000, 1), (500, 1_000, 7), (200, 20, 3), (10, 1, 1)] {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut world = World::new(rate, instances);
            let seconds = 60;
            let served = (0..seconds * 2_000)
                .filter(|n| world.request(n % instances, START.plus_ms((n / 2).try_into().unwrap())));
            let served = served.count();
            let least = usize::try_from(per_second).unwrap() * seconds;
            assert!(served >= least, "{served} of {least} requests at {per_second} a second");
        }
    }

    #[test]
    fn one_settlement_pays_for_ten_requests_and_refusals_cost_nothing() {
        let rate = Rate::new(500, 1_000).unwrap();
        let mut world = World::new(rate, 1);
        let served = (0..10_000).filter(|_| world.request(0, START)).count();
        // All at once: the burst, and what an instance serves on credit.
        assert_eq!(served, 1_010);
        assert_eq!(world.settlements, 101, "one for each ten that were paid for, one that was refused");
        let standing = world.accounts[0].standing(rate, START);
        assert_eq!((standing.remaining, standing.reset_seconds), (0, 1));
        assert!(!world.request(0, START.plus_ms(99)));
        assert!(world.request(0, START.plus_ms(101)));
    }

    #[test]
    fn tells_where_a_caller_stands() {
        let rate = Rate::new(5, 20).unwrap();
        let mut world = World::new(rate, 1);
        let standing = |world: &World, ms| {
            let standing = world.accounts[0].standing(rate, START.plus_ms(ms));
            (standing.remaining, standing.reset_seconds)
        };
        assert_eq!(rate.window_seconds(), 4);
        assert_eq!(standing(&world, 0), (20, 0));
        assert!(world.request(0, START));
        assert_eq!(standing(&world, 0), (19, 1));
        assert!((0..14).all(|_| world.request(0, START)));
        assert_eq!(standing(&world, 0), (5, 3));
        assert_eq!(standing(&world, 1_000), (10, 2), "what was paid for comes back at the rate");
        assert_eq!(standing(&world, 60_000), (15, 1), "what is owed does not");
    }

    #[test]
    fn a_clock_that_is_wrong_shuts_nobody_out() {
        let rate = Rate::new(5, 20).unwrap();
        let mut world = World::new(rate, 1);
        let hour_ahead = START.plus_ms(3_600_000);
        assert!((0..30).filter(|_| world.request(0, hour_ahead)).count() == 30);
        assert!(!world.request(0, hour_ahead));
        assert!(world.request(0, START), "neither the account");
        assert!((0..19).all(|_| world.request(0, START)), "nor the bucket is believed");
    }

    #[test]
    fn rates_are_bounded() {
        for (per_second, burst) in [(0, 1), (1, 0), (PER_SECOND_MAX + 1, 1), (1, BURST_MAX + 1)] {
            assert_eq!(Rate::new(per_second, burst), None);
        }
        assert!(Rate::new(PER_SECOND_MAX, BURST_MAX).is_some());
    }
}
