//! What starts functions: queues and the clock.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Builder, Type};
use crate::{
    model::{QueueMapping, Rate, Schedule},
    template::{
        Result, TemplateError,
        document::Resource,
        value::{Fields, Kind, Value},
    },
};

/// Records of a batch.
const BATCH_SIZE_MAX: u32 = 10_000;
const BATCH_SIZE_DEFAULT: u32 = 10;
/// A larger batch needs a window to fill in.
const BATCH_SIZE_WITHOUT_WINDOW_MAX: u32 = 10;
const BATCHING_WINDOW_S_MAX: u32 = 300;
const CONCURRENCY_MIN: u32 = 2;
const CONCURRENCY_MAX: u32 = 1_000;
/// Filters of a mapping.
const FILTERS_MAX: usize = 10;
/// Fields of a `cron` expression.
const CRON_FIELDS: usize = 6;
/// Characters of a schedule's name.
const SCHEDULE_NAME_LENGTH_MAX: usize = 64;
const MAPPING_WITHOUT_EFFECT: [&str; 4] = ["KmsKeyArn", "LoggingConfig", "MetricsConfig", "Tags"];

impl<'a> Builder<'_, 'a> {
    /// The events of every function; queues and functions are known by now.
    pub(super) fn read_events(&mut self) -> Result<()> {
        for resource in self.existing(Type::Function)? {
            let Some(events) = resource.property("Events") else { continue };
            for event in events.value.map("Events").map_err(|error| error.within(&resource.id))? {
                self.resolver.references.clear();
                let id = format!("{}{}", resource.id, event.key);
                let read = |builder: &mut Self| -> Result<()> {
                    if builder.resolver.document.resource(&id).is_some() {
                        let message = format!("SAM makes a resource {id} of the event {}", event.key);
                        return Err(TemplateError::at(event.line, message));
                    }
                    let mut value = builder.resolver.value(&event.value)?;
                    builder.resolver.fill_in_secrets(&mut value)?;
                    let fields = value.fields(&format!("Events.{}", event.key))?;
                    builder.event(resource, &id, event.line, fields)
                };
                read(self).map_err(|error| error.within(&resource.id))?;
                let mut needs = std::mem::take(&mut self.resolver.references);
                needs.push((resource.id.clone(), event.line));
                self.needs.insert(id, needs);
            }
        }
        Ok(())
    }

    fn event(&mut self, resource: &Resource, id: &str, line: usize, mut event: Fields) -> Result<()> {
        let kind = event.required("Type")?;
        let what = event.name("Properties");
        let mut fields = event.required("Properties")?.fields(&what)?;
        match kind.text("Type")? {
            "SQS" => {
                self.mapping(&resource.id, line, "Queue", &mut fields)?;
            }
            scheduled @ ("Schedule" | "ScheduleV2") => {
                let schedule = self.schedule(&resource.id, id, scheduled == "ScheduleV2", &mut fields)?;
                self.stack.schedules.push(schedule);
            }
            "HttpApi" | "Api" => {
                return Err(kind.error("events of HTTP APIs are not supported by this host: use AWS::ApiGatewayV2"));
            }
            other => return Err(kind.error(format!("events of type {other} are not supported by this host"))),
        }
        fields.finish(Type::Function.name())?;
        event.finish(Type::Function.name())
    }

    pub(super) fn mapping_resource(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        let function = fields.required("FunctionName")?;
        let function = self.function_target(&function, "FunctionName")?;
        self.mapping(&function, resource.line, "EventSourceArn", fields)
    }

    fn mapping(&mut self, function: &str, line: usize, source: &str, fields: &mut Fields) -> Result<()> {
        fields.refuse("ProvisionedPollerConfig", "use ScalingConfig")?;
        fields.refuse("DestinationConfig", "queues have dead-letter queues")?;
        let target = fields.required(source)?;
        let queue_arn = self.queue_target(&target, &fields.name(source))?;
        let batch_size = fields.number("BatchSize", 1..=BATCH_SIZE_MAX)?.unwrap_or(BATCH_SIZE_DEFAULT);
        let window_s = fields.number("MaximumBatchingWindowInSeconds", 0..=BATCHING_WINDOW_S_MAX)?.unwrap_or(0);
        if batch_size > BATCH_SIZE_WITHOUT_WINDOW_MAX && window_s == 0 {
            let name = fields.name("MaximumBatchingWindowInSeconds");
            let message = format!("{name} must be at least 1 when BatchSize is above {BATCH_SIZE_WITHOUT_WINDOW_MAX}");
            return Err(fields.error(message));
        }
        let what = fields.name("FunctionResponseTypes");
        let responses = fields.texts("FunctionResponseTypes")?.unwrap_or_default();
        if let Some(other) = responses.iter().find(|response| *response != "ReportBatchItemFailures") {
            return Err(fields.error(format!("{what} must be [ReportBatchItemFailures], not {other}")));
        }
        let mut concurrency_max = None;
        if let Some(mut scaling) = fields.part("ScalingConfig")? {
            concurrency_max = scaling.number("MaximumConcurrency", CONCURRENCY_MIN..=CONCURRENCY_MAX)?;
            scaling.finish(Type::Mapping.name())?;
        }
        let filters = filters(fields)?;
        let enabled = fields.flag("Enabled")?.unwrap_or(true);
        fields.without_effect(&MAPPING_WITHOUT_EFFECT);
        self.check_visibility(function, &queue_arn, &target)?;
        let way = (queue_arn.clone(), function.to_owned());
        if self.mapped.insert(way, function.to_owned()).is_some() {
            return Err(TemplateError::at(line, format!("{queue_arn} feeds {function} already")));
        }
        self.stack.mappings.push(QueueMapping {
            queue_arn,
            function: function.to_owned(),
            batch_size,
            batching_window: Duration::from_secs(u64::from(window_s)),
            concurrency_max,
            reports_item_failures: !responses.is_empty(),
            filters,
            enabled,
        });
        Ok(())
    }

    /// Lambda refuses a queue whose messages come back while the function may still be at work.
    fn check_visibility(&self, function: &str, queue_arn: &str, target: &Value) -> Result<()> {
        let name = queue_arn.rsplit(':').next().unwrap_or_default();
        let queue = self.stack.queues.iter().find(|queue| queue.name == name);
        let (Some(queue), Some(function)) = (queue, self.stack.functions.get(function)) else { return Ok(()) };
        if queue.visibility_timeout < function.timeout {
            return Err(target.error(format!(
                "Queue visibility timeout: {} seconds is less than Function timeout: {} seconds ({name})",
                queue.visibility_timeout.as_secs(),
                function.timeout.as_secs(),
            )));
        }
        Ok(())
    }

    fn schedule(&self, function: &str, id: &str, is_second: bool, fields: &mut Fields) -> Result<Schedule> {
        for name in ["DeadLetterConfig", "RetryPolicy"] {
            fields.refuse(name, "use EventInvokeConfig of the function")?;
        }
        let property = if is_second { "ScheduleExpression" } else { "Schedule" };
        let expression = fields.required(property)?;
        let rate = rate(&expression, &fields.name(property), is_second)?;
        let name = fields.text("Name")?.unwrap_or_else(|| format!("{}-{id}", self.resolver.place.stack_name));
        if name.len() > SCHEDULE_NAME_LENGTH_MAX || name.is_empty() {
            let message = format!("the name {name} must have 1 to {SCHEDULE_NAME_LENGTH_MAX} characters: give a Name");
            return Err(fields.error(message));
        }
        let input = input(fields)?;
        let enabled = enabled(fields)?;
        let arn = if is_second {
            fields.refuse("StartDate", "schedules run from the start")?;
            fields.refuse("EndDate", "schedules have no end")?;
            fields.choice("ScheduleExpressionTimezone", &["UTC"])?;
            let window = fields.part("FlexibleTimeWindow")?;
            if let Some(mut window) = window {
                window.choice("Mode", &["OFF"])?;
                window.finish("ScheduleV2")?;
            }
            let no_effect = ["Description", "GroupName", "KmsKeyArn", "OmitName", "PermissionsBoundary", "RoleArn"];
            fields.without_effect(&no_effect);
            self.resolver.place.arn("scheduler", &format!("schedule/default/{name}"))
        } else {
            fields.without_effect(&["Description", "RoleArn"]);
            self.resolver.place.arn("events", &format!("rule/{name}"))
        };
        Ok(Schedule { name, arn, function: function.to_owned(), rate, input, enabled })
    }

    /// A rule that the clock starts, with functions for targets.
    pub(super) fn rule(&mut self, resource: &'a Resource, fields: &mut Fields) -> Result<()> {
        fields.refuse("EventPattern", "rules that wait for events have nobody to send them here")?;
        fields.refuse("EventBusName", "there are no event buses here")?;
        let name = self.take_name(resource, fields, 1..=SCHEDULE_NAME_LENGTH_MAX, ".-_")?;
        let expression = fields.required("ScheduleExpression")?;
        let rate = rate(&expression, "ScheduleExpression", false)?;
        let enabled = enabled(fields)?;
        for mut target in fields.parts("Targets")? {
            let arn = target.required("Arn")?;
            let function = self.function_target(&arn, "Targets.Arn")?;
            target.required("Id")?;
            let input = input(&mut target)?;
            target.finish(Type::Rule.name())?;
            let (name, arn) = (name.clone(), self.resolver.arn(resource)?);
            self.stack.schedules.push(Schedule { name, arn, function, rate: rate.clone(), input, enabled });
        }
        fields.without_effect(&["Description", "RoleArn", "Tags"]);
        Ok(())
    }
}

/// `Enabled`, or `State` as the services call it.
fn enabled(fields: &mut Fields) -> Result<bool> {
    let flag = fields.flag("Enabled")?;
    let state = fields.choice("State", &["ENABLED", "DISABLED"])?;
    match (flag, state) {
        (Some(_), Some(_)) => Err(fields.error(format!("{} and State exclude one another", fields.name("Enabled")))),
        (Some(flag), None) => Ok(flag),
        (None, state) => Ok(state.as_deref() != Some("DISABLED")),
    }
}

/// `Input`: JSON in a text.
fn input(fields: &mut Fields) -> Result<Option<Json>> {
    let what = fields.name("Input");
    let Some(value) = fields.take("Input") else { return Ok(None) };
    let text = value.text(&what)?;
    serde_json::from_str(text).map(Some).map_err(|error| value.error(format!("{what} is no JSON: {error}")))
}

/// The patterns of `FilterCriteria`, each a JSON object in a text.
fn filters(fields: &mut Fields) -> Result<Vec<Json>> {
    let Some(mut criteria) = fields.part("FilterCriteria")? else { return Ok(Vec::new()) };
    let mut patterns = Vec::new();
    for mut filter in criteria.parts("Filters")? {
        let what = filter.name("Pattern");
        let value = filter.required("Pattern")?;
        let json = match &value.kind {
            Kind::Text { text, .. } => serde_json::from_str(text).ok(),
            _ => None,
        };
        let json = json.filter(Json::is_object);
        patterns.push(json.ok_or_else(|| value.error(format!("{what} must be a JSON object in a text")))?);
        filter.finish(Type::Mapping.name())?;
    }
    if patterns.len() > FILTERS_MAX {
        return Err(criteria.error(format!("{} must be at most {FILTERS_MAX}", criteria.name("Filters"))));
    }
    criteria.finish(Type::Mapping.name())?;
    Ok(patterns)
}

/// `rate(5 minutes)` or `cron(0 12 * * ? *)`.
fn rate(value: &Value, what: &str, is_second: bool) -> Result<Rate> {
    let text = value.text(what)?;
    let inside = |kind: &str| text.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(rate) = inside("rate") {
        return every(rate, is_second)
            .map(Rate::Every)
            .ok_or_else(|| value.error(format!("{what}: {text} is no rate, such as rate(1 minute), rate(5 minutes)")));
    }
    if let Some(cron) = inside("cron") {
        let fields: Vec<&str> = cron.split_whitespace().collect();
        let sound = |field: &&str| field.chars().all(|one| one.is_ascii_alphanumeric() || "*?,-/#".contains(one));
        let one_day_is_open = fields.iter().filter(|field| **field == "?").count() == 1
            && fields.get(2).into_iter().chain(fields.get(4)).any(|field| *field == "?");
        if fields.len() == CRON_FIELDS && fields.iter().all(sound) && one_day_is_open {
            return Ok(Rate::Cron(cron.to_owned()));
        }
        let needs = "six fields, and ? for the day of the month or of the week";
        return Err(value.error(format!("{what}: {text} is no cron expression: it needs {needs}")));
    }
    Err(value.error(format!("{what}: {text} is not supported by this host: rate(…) or cron(…)")))
}

fn every(text: &str, is_second: bool) -> Option<Duration> {
    let (number, unit) = text.split_once(' ')?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let (singular, is_plural) = match unit.strip_suffix('s') {
        Some(unit) => (unit, true),
        None => (unit, false),
    };
    // Rules of EventBridge insist on grammar, schedules do not.
    if !is_second && is_plural != (number > 1) {
        return None;
    }
    let unit_s = match singular {
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit_s).map(Duration::from_secs)
}
