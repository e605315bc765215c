//! How much time an invocation has left.

use std::time::Duration;

use lambda_runtime::Context;

use crate::clock::Clock;

/// The time until the invocation's deadline. Some local runtimes send a constant that lies in 1970: a deadline before
/// now is none.
pub fn time_left(context: &Context) -> Option<Duration> {
    let now = u64::try_from(Clock::System.now().ms()).unwrap_or(0);
    context.deadline.checked_sub(now).filter(|left| *left > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_the_past_is_none() {
        let mut context = Context::default();
        context.deadline = 600_000;
        assert_eq!(time_left(&context), None);
        context.deadline = u64::try_from(Clock::System.now().plus_ms(5_000).ms()).unwrap();
        assert!(time_left(&context).is_some_and(|left| left <= Duration::from_secs(5)));
    }
}
