//! HTTP APIs: an API, its integrations, routes and stage become one thing.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{Builder, Type};
use crate::{
    model::{Cors, HttpApi, Route, Throttle},
    template::{
        Result, TemplateError,
        attributes::api_id,
        document::Resource,
        value::{Fields, Value},
    },
};

/// Characters of an API's name.
const NAME_LENGTH_MAX: usize = 128;
const TIMEOUT_MS_MIN: u32 = 50;
/// The most and the default.
const TIMEOUT_MS_MAX: u32 = 30_000;
/// What an account has when nobody raised it: requests a second, and at once.
const RATE_DEFAULT: f64 = 10_000.0;
const BURST_DEFAULT: u32 = 5_000;
/// A day: how long a preflight may count.
const MAX_AGE_S_MAX: u32 = 86_400;
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "ANY"];
/// How the URI of an integration begins and ends that names a function's ARN.
const INVOCATION: (&str, &str) = (":lambda:path/2015-03-31/functions/", "/invocations");

/// What belongs to APIs, until all of it is read.
#[derive(Default)]
pub(super) struct Parts {
    /// By id.
    apis: BTreeMap<String, Api>,
    /// In the order of the template.
    order: Vec<String>,
    /// By id.
    integrations: BTreeMap<String, Integration>,
}

struct Api {
    logical_id: String,
    line: usize,
    name: String,
    cors: Option<Cors>,
    routes: Vec<Route>,
    stage: Option<(String, Option<Throttle>)>,
}

struct Integration {
    api: String,
    function: String,
    timeout: Duration,
}

impl Builder<'_, '_> {
    pub(super) fn api(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        for name in ["BasePath", "Body", "BodyS3Location", "FailOnWarnings"] {
            fields.refuse(name, "write the routes as AWS::ApiGatewayV2::Route")?;
        }
        for name in ["CredentialsArn", "RouteKey", "Target"] {
            fields.refuse(name, "write route and integration as resources of their own")?;
        }
        fields.refuse_flag("DisableExecuteApiEndpoint", "an API has no other address here")?;
        let protocol = fields.required("ProtocolType")?;
        if protocol.text("ProtocolType")? != "HTTP" {
            return Err(protocol.error("ProtocolType WEBSOCKET is not supported by this host: HTTP only"));
        }
        let name = fields.required("Name")?;
        let text = name.text("Name")?;
        if !(1..=NAME_LENGTH_MAX).contains(&text.len()) {
            return Err(name.error(format!("Name must have 1 to {NAME_LENGTH_MAX} characters")));
        }
        let cors = cors(fields, "CorsConfiguration", Type::Api)?;
        fields.without_effect(&[
            "ApiKeySelectionExpression",
            "Description",
            "DisableSchemaValidation",
            "IpAddressType",
            "RouteSelectionExpression",
            "Tags",
            "Version",
        ]);
        let id = api_id(self.resolver.place, &resource.id);
        self.parts.order.push(id.clone());
        self.parts.apis.insert(
            id,
            Api {
                logical_id: resource.id.clone(),
                line: resource.line,
                name: text.to_owned(),
                cors,
                routes: Vec::new(),
                stage: None,
            },
        );
        Ok(())
    }

    pub(super) fn integration(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        for name in ["IntegrationSubtype", "RequestParameters", "ResponseParameters", "TlsConfig", "ConnectionId"] {
            fields.refuse(name, "requests go to functions as they are")?;
        }
        let api = self.api_of(fields)?;
        let kind = fields.required("IntegrationType")?;
        if kind.text("IntegrationType")? != "AWS_PROXY" {
            let other = kind.text("IntegrationType")?;
            return Err(kind.error(format!("IntegrationType {other} is not supported by this host: AWS_PROXY only")));
        }
        let version = fields.take("PayloadFormatVersion");
        let is_second = version.as_ref().is_some_and(|version| version.text("").is_ok_and(|text| text == "2.0"));
        if !is_second {
            let line = version.map_or(resource.line, |version| version.line);
            let message = "PayloadFormatVersion must be \"2.0\": 1.0, the default, is not supported by this host";
            return Err(TemplateError::at(line, message));
        }
        let uri = fields.required("IntegrationUri")?;
        let function = self.integrated_function(&uri)?;
        fields.choice("ConnectionType", &["INTERNET"])?;
        fields.choice("IntegrationMethod", &["POST"])?;
        let timeout_ms = fields.number("TimeoutInMillis", TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX)?.unwrap_or(TIMEOUT_MS_MAX);
        fields.without_effect(&["CredentialsArn", "Description", "PassthroughBehavior"]);
        let id = self.resolver.identity(resource, None, resource.line)?;
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        self.parts.integrations.insert(id, Integration { api, function, timeout });
        Ok(())
    }

    pub(super) fn route(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        for name in ["AuthorizationScopes", "AuthorizerId"] {
            fields.refuse(name, "routes have no authorizers here")?;
        }
        fields.refuse_flag("ApiKeyRequired", "it belongs to WebSocket APIs")?;
        let authorization = fields.take("AuthorizationType");
        if let Some(value) = authorization.filter(|value| value.text("").is_ok_and(|text| text != "NONE")) {
            let other = value.text("AuthorizationType")?;
            return Err(value.error(format!("AuthorizationType {other} is not supported by this host: NONE only")));
        }
        let api = self.api_of(fields)?;
        let key_value = fields.required("RouteKey")?;
        let key = key_value.text("RouteKey")?.to_owned();
        check_key(&key).map_err(|why| key_value.error(format!("RouteKey {key} {why}")))?;
        let target = fields.required("Target")?;
        let integration = target.text("Target")?.strip_prefix("integrations/");
        let integration = integration.and_then(|id| self.parts.integrations.get(id));
        let integration = integration.filter(|integration| integration.api == api).ok_or_else(|| {
            target.error("Target must be integrations/ID, with the Ref of an integration of the same API")
        })?;
        fields.without_effect(&["OperationName"]);
        let Some(api) = self.parts.apis.get_mut(&api) else { return Ok(()) };
        if api.routes.iter().any(|route| route.key == key) {
            return Err(TemplateError::at(resource.line, format!("RouteKey {key} is there twice for this API")));
        }
        let (function, timeout) = (integration.function.clone(), integration.timeout);
        api.routes.push(Route { key, function, timeout });
        Ok(())
    }

    pub(super) fn stage(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        fields.refuse("DeploymentId", "AutoDeploy: true takes what the template says")?;
        fields.refuse("RouteSettings", "use DefaultRouteSettings, which hold for all routes")?;
        fields.refuse("StageVariables", "stages have no variables here")?;
        fields.refuse("ClientCertificateId", "it belongs to WebSocket APIs")?;
        let api = self.api_of(fields)?;
        let name_value = fields.required("StageName")?;
        let name = name_value.text("StageName")?.to_owned();
        let sound = |one: char| one.is_ascii_alphanumeric() || "-_".contains(one);
        if name != "$default" && (name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(sound)) {
            return Err(name_value.error(format!("StageName {name} must be $default, or letters, digits, - and _")));
        }
        if fields.flag("AutoDeploy")? != Some(true) {
            return Err(fields.error("AutoDeploy must be true: this host serves what the template says"));
        }
        let throttle = throttle(fields)?;
        fields.without_effect(&["AccessLogSettings", "AccessPolicyId", "Description", "Tags"]);
        let Some(api) = self.parts.apis.get_mut(&api) else { return Ok(()) };
        if let Some((other, _)) = &api.stage {
            let message = format!("the API has a stage {other} already: one stage is what this host supports");
            return Err(TemplateError::at(resource.line, message));
        }
        api.stage = Some((name, throttle));
        Ok(())
    }

    /// Puts the parts together.
    pub(super) fn finish_apis(&mut self) -> Result<()> {
        for id in std::mem::take(&mut self.parts.order) {
            let Some(mut api) = self.parts.apis.remove(&id) else { continue };
            let Some((stage, throttle)) = api.stage else {
                let message = "the API has no AWS::ApiGatewayV2::Stage: nobody could call it";
                return Err(TemplateError::at(api.line, message).within(&api.logical_id));
            };
            api.routes.sort_by_cached_key(|route| precedence(&route.key));
            let Api { name, routes, cors, .. } = api;
            self.stack.apis.push(HttpApi { id, name, routes, stage, throttle, cors });
        }
        Ok(())
    }

    fn api_of(&self, fields: &mut Fields) -> Result<String> {
        let value = fields.required("ApiId")?;
        let id = value.text("ApiId")?;
        if self.parts.apis.contains_key(id) {
            return Ok(id.to_owned());
        }
        Err(value.error(format!("ApiId: {id} is no AWS::ApiGatewayV2::Api of this template")))
    }

    /// The function behind a URI: its ARN, or the path under which API Gateway invokes it.
    fn integrated_function(&self, uri: &Value) -> Result<String> {
        let text = uri.text("IntegrationUri")?;
        let arn = text.split_once(INVOCATION.0).and_then(|(_, rest)| rest.strip_suffix(INVOCATION.1)).unwrap_or(text);
        let function = self.functions.get(arn).filter(|_| arn.starts_with("arn:")).cloned();
        function.ok_or_else(|| uri.error(format!("IntegrationUri: {text} is no function of this template")))
    }
}

fn throttle(fields: &mut Fields) -> Result<Option<Throttle>> {
    let Some(mut settings) = fields.part("DefaultRouteSettings")? else { return Ok(None) };
    let what = settings.name("ThrottlingRateLimit");
    let mut rate = None;
    if let Some(value) = settings.take("ThrottlingRateLimit") {
        let text = value.text(&what)?;
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        let number = number.filter(|_| text.starts_with(|first: char| first.is_ascii_digit()));
        rate = Some(number.ok_or_else(|| value.error(format!("{what} must be a number from 0, not {text}")))?);
    }
    let burst = settings.number("ThrottlingBurstLimit", 0..=u32::MAX)?;
    settings.without_effect(&["DataTraceEnabled", "DetailedMetricsEnabled", "LoggingLevel"]);
    settings.finish(Type::Stage.name())?;
    Ok((rate.is_some() || burst.is_some())
        .then(|| Throttle { rate: rate.unwrap_or(RATE_DEFAULT), burst: burst.unwrap_or(BURST_DEFAULT) }))
}

/// Answers to browsers, of an HTTP API or a function URL.
pub(super) fn cors(fields: &mut Fields, property: &str, kind: Type) -> Result<Option<Cors>> {
    let Some(mut part) = fields.part(property)? else { return Ok(None) };
    let max_age = part.number("MaxAge", 0..=MAX_AGE_S_MAX)?;
    let cors = Cors {
        allow_origins: part.texts("AllowOrigins")?.unwrap_or_default(),
        allow_methods: part.texts("AllowMethods")?.unwrap_or_default(),
        allow_headers: part.texts("AllowHeaders")?.unwrap_or_default(),
        expose_headers: part.texts("ExposeHeaders")?.unwrap_or_default(),
        allow_credentials: part.flag("AllowCredentials")?.unwrap_or(false),
        max_age: max_age.map(|seconds| Duration::from_secs(u64::from(seconds))),
    };
    if kind == Type::Api && cors.allow_credentials && cors.allow_origins.iter().any(|origin| origin == "*") {
        return Err(part.error(format!("{property}: AllowCredentials does not go with the origin *")));
    }
    part.finish(kind.name())?;
    Ok(Some(cors))
}

/// `$default`, or a method and a path.
fn check_key(key: &str) -> std::result::Result<(), &'static str> {
    if key == "$default" {
        return Ok(());
    }
    let Some((method, path)) = key.split_once(' ') else { return Err("must be $default, or METHOD /path") };
    if !METHODS.contains(&method) {
        return Err("begins with no method that API Gateway knows");
    }
    let Some(path) = path.strip_prefix('/') else { return Err("must have a path that begins with /") };
    let segments: Vec<&str> = path.split('/').collect();
    for (position, segment) in segments.iter().enumerate() {
        let variable = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        let name = variable.map(|name| name.strip_suffix('+').unwrap_or(name));
        let sound = |name: &str| !name.is_empty() && !name.contains(['{', '}', '+', ' ']);
        match name {
            Some(name) if !sound(name) => return Err("has a variable without a name"),
            Some(_) if segment.ends_with("+}") && position + 1 < segments.len() => {
                return Err("has something behind a variable that takes the rest of the path");
            }
            None if segment.contains(['{', '}', ' ']) => return Err("has a segment that is half a variable"),
            _ => {}
        }
    }
    Ok(())
}

/// API Gateway prefers text to variables, those to the rest of a path, a method to `ANY`, and everything to `$default`.
fn precedence(key: &str) -> (bool, Vec<u8>, bool, Reverse<usize>, String) {
    let Some((method, path)) = key.split_once(' ') else { return (true, Vec::new(), true, Reverse(0), key.to_owned()) };
    let rank = |segment: &str| match segment {
        variable if variable.ends_with("+}") => 2,
        variable if variable.starts_with('{') => 1,
        _ => 0,
    };
    let ranks: Vec<u8> = path.split('/').skip(1).map(rank).collect();
    let segments = Reverse(ranks.len());
    (false, ranks, method == "ANY", segments, key.to_owned())
}
