//! Listings in Stripe's shape. <https://docs.stripe.com/api/pagination>

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use florin_store::gateway::{Kind, Record};
use serde_json::{Value, json};

use crate::{Simulator, failure::Failure, id, params::Params};

/// The parameters that every listing takes.
pub(crate) const PARAMETERS: &[&str] = &["limit", "starting_after", "ending_before", "created", "created["];

const LIMIT_MAX: i64 = 100;
const LIMIT_DEFAULT: i64 = 10;

/// How many records a listing with a filter looks through, in chunks of [`CHUNK_RECORDS`].
const CHUNKS_MAX: usize = 100;
const CHUNK_RECORDS: usize = 101;

/// Unix seconds up to the year 3000.
const SECONDS_MAX: i64 = 32_503_680_000;

/// What is listed.
pub(crate) struct Listing<'a> {
    pub(crate) kind: Kind,
    pub(crate) prefix: &'a str,
    pub(crate) url: &'a str,
}

/// Which ids, and from which end.
struct Window {
    first: String,
    last: String,
    newest_first: bool,
    /// The cursor, which is itself not part of the page.
    without: Option<String>,
}

impl Simulator {
    /// The page that `params` ask for, of the records that `show` makes something of.
    pub(crate) async fn page(
        &self,
        listing: &Listing<'_>,
        params: &Params,
        show: impl Fn(&Record) -> Option<Value> + Send + Sync,
    ) -> Result<Response, Failure> {
        let limit = params.integer("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
        let limit = usize::try_from(limit).unwrap_or_default();
        let mut window = self.window(listing, params).await?;
        let mut data = Vec::new();
        let mut is_cut_short = true;
        for _ in 0..CHUNKS_MAX {
            let range = (window.first.as_str(), window.last.as_str());
            let chunk = self.table.list(listing.kind, range, window.newest_first, CHUNK_RECORDS).await?;
            let without = window.without.as_deref();
            data.extend(chunk.iter().filter(|record| Some(record.id.as_str()) != without).filter_map(&show));
            // One more than the page has says whether there is another page.
            let Some(end) = chunk.last().filter(|_| chunk.len() == CHUNK_RECORDS && data.len() <= limit) else {
                is_cut_short = false;
                break;
            };
            window.go_on_from(&end.id);
        }
        // Whoever looks for one record must not take it for absent because this gave up.
        let has_more = data.len() > limit || is_cut_short;
        data.truncate(limit);
        if !window.newest_first {
            data.reverse();
        }
        Ok(Json(json!({ "object": "list", "url": listing.url, "has_more": has_more, "data": data })).into_response())
    }

    async fn window(&self, listing: &Listing<'_>, params: &Params) -> Result<Window, Failure> {
        let prefix = listing.prefix;
        let since =
            bound(params, "created[gte]", 0)?.max(bound(params, "created[gt]", 1)?).max(bound(params, "created", 0)?);
        let until = [("created[lte]", 1), ("created[lt]", 0), ("created", 1)];
        let mut last = id::last(prefix);
        for (name, plus) in until {
            if let Some(end) = bound(params, name, plus)? {
                // The last millisecond before the next second.
                last = last.min(id::last_at(prefix, end.saturating_mul(1_000).saturating_sub(1)));
            }
        }
        let first = id::first_at(prefix, since.unwrap_or_default().saturating_mul(1_000));
        let mut window = Window { first, last, newest_first: true, without: None };
        match (
            self.cursor(listing, params, "starting_after").await?,
            self.cursor(listing, params, "ending_before").await?,
        ) {
            (None, None) => {}
            (Some(cursor), None) => window.go_on_from(&cursor),
            (None, Some(cursor)) => {
                window.newest_first = false;
                window.go_on_from(&cursor);
            }
            (Some(_), Some(_)) => {
                return Err(Failure::invalid("Only one of starting_after and ending_before is possible."));
            }
        }
        Ok(window)
    }

    /// An id that the page begins or ends at, which has to exist.
    async fn cursor(&self, listing: &Listing<'_>, params: &Params, name: &str) -> Result<Option<String>, Failure> {
        let Some(cursor) = params.text(name) else {
            return Ok(None);
        };
        let exists = id::is_plausible(cursor, listing.prefix) && self.table.get(listing.kind, cursor).await?.is_some();
        if !exists {
            return Err(Failure::parameter(name, "resource_missing", "No such object to start or end at."));
        }
        Ok(Some(cursor.to_owned()))
    }
}

impl Window {
    /// Leaves out everything up to `cursor`.
    fn go_on_from(&mut self, cursor: &str) {
        if self.newest_first {
            self.last = std::mem::take(&mut self.last).min(cursor.to_owned());
        } else {
            self.first = std::mem::take(&mut self.first).max(cursor.to_owned());
        }
        self.without = Some(cursor.to_owned());
    }
}

fn bound(params: &Params, name: &str, plus: i64) -> Result<Option<i64>, Failure> {
    Ok(params.integer(name, 0, SECONDS_MAX)?.map(|seconds| seconds.saturating_add(plus)))
}
