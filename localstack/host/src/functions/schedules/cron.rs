//! `cron(…)` of EventBridge: minutes, hours, day of month, month, day of week, year, in UTC.
//!
//! Rules: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>. `L`, `W` and `#`
//! are refused by name.

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// The last year that EventBridge knows.
const YEAR_MAX: i16 = 2199;

/// A schedule, as the values of each field. `None` takes any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: BTreeSet<i16>,
    hours: BTreeSet<i16>,
    days: Option<BTreeSet<i16>>,
    months: BTreeSet<i16>,
    /// 1 is Sunday.
    weekdays: Option<BTreeSet<i16>>,
    years: BTreeSet<i16>,
}

/// A field: its name, its range, and names for its values.
struct Field {
    name: &'static str,
    min: i16,
    max: i16,
    names: &'static [&'static str],
}

impl Cron {
    /// Reads what stands between the parentheses, or the whole with them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let inner = text.trim().strip_prefix("cron(").and_then(|text| text.strip_suffix(')')).unwrap_or(text);
        let fields: Vec<&str> = inner.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays, years] = fields[..] else {
            return Err(format!("cron has six fields, {text} has {}", fields.len()));
        };
        if (days == "?") == (weekdays == "?") {
            return Err(format!("one of day of month and day of week has to be ?, and only one, in {text}"));
        }
        let field = |name, min, max, names| Field { name, min, max, names };
        let day = |text: &str, field: &Field| if text == "?" { Ok(None) } else { field.values(text).map(Some) };
        Ok(Self {
            minutes: field("minutes", 0, 59, &[]).values(minutes)?,
            hours: field("hours", 0, 23, &[]).values(hours)?,
            days: day(days, &field("day of month", 1, 31, &[]))?,
            months: field("month", 1, 12, &MONTHS).values(months)?,
            weekdays: day(weekdays, &field("day of week", 1, 7, &DAYS))?,
            years: field("year", 1970, YEAR_MAX, &[]).values(years)?,
        })
    }

    /// The first time after this one, if there is one.
    pub(crate) fn after(&self, now: Timestamp) -> Option<Timestamp> {
        // Within the minute that has begun it is too late.
        let now = now.to_zoned(TimeZone::UTC).datetime();
        let (hour, minute) = (i16::from(now.hour()), i16::from(now.minute()));
        let mut day = now.date();
        if self.takes(day)
            && let Some((hour, minute)) = self.times().find(|time| *time > (hour, minute))
        {
            return at(day, hour, minute);
        }
        let (first_hour, first_minute) = self.times().next()?;
        loop {
            day = self.skip(day.tomorrow().ok()?)?;
            if self.takes(day) {
                return at(day, first_hour, first_minute);
            }
        }
    }

    /// This day, or the first of a later month that may have one.
    fn skip(&self, day: Date) -> Option<Date> {
        if self.years.contains(&day.year()) && self.months.contains(&i16::from(day.month())) {
            return Some(day);
        }
        let later = |year: i16| {
            let month = |month: &&i16| year > day.year() || **month >= i16::from(day.month());
            Some((year, *self.months.iter().find(month)?))
        };
        let (year, month) = self.years.range(day.year()..).copied().find_map(later)?;
        let first = Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
        Some(first.max(day))
    }

    fn takes(&self, day: Date) -> bool {
        let any = |values: &Option<BTreeSet<i16>>, value: i8| {
            values.as_ref().is_none_or(|values| values.contains(&i16::from(value)))
        };
        self.years.contains(&day.year())
            && self.months.contains(&i16::from(day.month()))
            && any(&self.days, day.day())
            && any(&self.weekdays, day.weekday().to_sunday_one_offset())
    }

    fn times(&self) -> impl Iterator<Item = (i16, i16)> {
        self.hours.iter().flat_map(|hour| self.minutes.iter().map(move |minute| (*hour, *minute)))
    }
}

fn at(day: Date, hour: i16, minute: i16) -> Option<Timestamp> {
    let time = day.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

impl Field {
    /// All values of a list of values, ranges and steps.
    fn values(&self, text: &str) -> Result<BTreeSet<i16>, String> {
        let mut values = BTreeSet::new();
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (part, None),
            };
            let (from, to) = match (range, range.split_once('-')) {
                ("*", _) => (self.min, self.max),
                (_, Some((from, to))) => (self.value(from)?, self.value(to)?),
                // A step from a value goes on to the end.
                (value, None) if step.is_some() => (self.value(value)?, self.max),
                (value, None) => (self.value(value)?, self.value(value)?),
            };
            let step = match step.map(str::parse::<usize>) {
                None => 1,
                Some(Ok(step)) if step > 0 => step,
                Some(_) => return Err(self.refusal(part)),
            };
            if from > to {
                return Err(self.refusal(part));
            }
            values.extend((from..=to).step_by(step));
        }
        Ok(values)
    }

    fn value(&self, text: &str) -> Result<i16, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(at) => i16::try_from(at).ok().map(|at| at + self.min),
            None => text.parse().ok(),
        };
        value.filter(|value| (self.min..=self.max).contains(value)).ok_or_else(|| self.refusal(text))
    }

    fn refusal(&self, text: &str) -> String {
        let special = text.contains(['L', 'W', '#']) && !self.names.iter().any(|name| text.contains(name));
        match special {
            true => format!("{text} of the {} of cron is not provided by this host", self.name),
            false => format!("{text} is no value for the {} of cron ({} to {})", self.name, self.min, self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, after: &str) -> Option<String> {
        let after: Timestamp = after.parse().unwrap();
        Cron::parse(cron).unwrap().after(after).map(|at| at.to_string())
    }

    fn times(cron: &str, after: &str, count: usize) -> Vec<String> {
        let mut times = vec![after.to_owned()];
        for _ in 0..count {
            times.extend(next(cron, times.last().unwrap()));
        }
        times.split_off(1)
    }

    #[test]
    fn the_examples_of_the_documentation() {
        let days = times("cron(15 12 * * ? *)", "2026-11-21T12:15:00Z", 2);
        assert_eq!(days, ["2026-11-22T12:15:00Z", "2026-11-23T12:15:00Z"]);
        // 2026-11-21 is a Saturday.
        assert_eq!(next("0 18 ? * MON-FRI *", "2026-11-21T12:00:00Z").as_deref(), Some("2026-11-23T18:00:00Z"));
        assert_eq!(
            times("0/5 8-17 ? * MON-FRI *", "2026-11-20T17:50:30Z", 2),
            ["2026-11-20T17:55:00Z", "2026-11-23T08:00:00Z"]
        );
        assert_eq!(next("0 8 1 * ? *", "2026-11-21T12:00:00Z").as_deref(), Some("2026-12-01T08:00:00Z"));
        assert_eq!(
            times("0/15 * * * ? *", "2026-12-31T23:40:00Z", 2),
            ["2026-12-31T23:45:00Z", "2027-01-01T00:00:00Z"]
        );
    }

    #[test]
    fn lists_names_and_years() {
        assert_eq!(
            times("0 0 29 feb ? *", "2026-11-21T12:00:00Z", 2),
            ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
        );
        assert_eq!(next("0 0 1 1 ? 2026", "2026-11-21T12:00:00Z"), None);
        assert_eq!(next("30 4 ? JUN,DEC 1 2027-2028", "2026-11-21T12:00:00Z").as_deref(), Some("2027-06-06T04:30:00Z"));
        assert_eq!(next("0 0 31 2 ? *", "2026-11-21T12:00:00Z"), None);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (cron, why) in [
            ("0 0 L * ? *", "L of the day of month of cron is not provided by this host"),
            ("0 0 ? * 2#1 *", "2#1 of the day of week of cron is not provided by this host"),
            ("0 0 3W * ? *", "3W of the day of month of cron is not provided by this host"),
            ("60 0 * * ? *", "60 is no value for the minutes of cron (0 to 59)"),
            ("5/0 0 * * ? *", "5/0 is no value for the minutes of cron (0 to 59)"),
            ("9-5 0 * * ? *", "9-5 is no value for the minutes of cron (0 to 59)"),
            ("0 0 * * * *", "one of day of month and day of week has to be ?, and only one, in 0 0 * * * *"),
            ("0 0 * * ?", "cron has six fields, 0 0 * * ? has 5"),
        ] {
            assert_eq!(Cron::parse(cron), Err(why.to_owned()));
        }
    }
}
