//! What cases check with.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use aws_sdk_sqs::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// The same as documented.
pub fn same<A: PartialEq<B> + Debug, B: Debug>(what: &str, found: A, documented: B) -> Result<()> {
    ensure!(found == documented, "{what} is {found:?}, documented is {documented:?}");
    Ok(())
}

/// Refused by the caller's fault, under one of these codes.
pub fn refused<T: Debug, E>(answer: Result<T, SdkError<E, HttpResponse>>, codes: &[&str]) -> Result<()>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match answer {
        Ok(answer) => bail!("accepted with {answer:?}, documented is {codes:?}"),
        Err(SdkError::ServiceError(error)) => {
            let (status, code) = (error.raw().status().as_u16(), error.err().code().unwrap_or_default());
            ensure!((400..500).contains(&status), "refused with status {status} {code}, documented is {codes:?}");
            ensure!(codes.contains(&code), "refused by {code}, documented is {codes:?}");
            Ok(())
        }
        Err(error) => bail!("no answer: {}", DisplayErrorContext(error)),
    }
}

/// Between these many milliseconds have passed.
pub fn took(what: &str, since: Instant, at_least_ms: u128, at_most_ms: u128) -> Result<()> {
    let passed = since.elapsed().as_millis();
    ensure!(
        (at_least_ms..=at_most_ms).contains(&passed),
        "{what} took {passed} ms, documented is {at_least_ms} to {at_most_ms}"
    );
    Ok(())
}

/// Asks until the answer is as documented.
pub async fn becomes<T: PartialEq + Debug>(
    what: &str,
    within: Duration,
    documented: T,
    mut ask: impl AsyncFnMut() -> Result<T>,
) -> Result<()> {
    let started = Instant::now();
    loop {
        let found = ask().await?;
        if found == documented {
            return Ok(());
        }
        if started.elapsed() > within {
            bail!("{what} is still {found:?} after {within:?}, documented is {documented:?}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
