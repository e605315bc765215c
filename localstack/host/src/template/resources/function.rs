//! Functions of SAM: native binaries that cargo builds.

use std::{collections::BTreeMap, time::Duration};

use super::{Builder, Type, http_api::cors};
use crate::{
    model::{Function, FunctionUrl},
    template::{
        Result, TemplateError,
        attributes::function_url_id,
        document::Resource,
        value::{Fields, Kind},
        yaml::Node,
    },
};

/// Characters of a function's name.
const NAME_LENGTH_MAX: usize = 64;
/// MiB of memory.
const MEMORY_MIB: std::ops::RangeInclusive<u32> = 128..=10_240;
/// SAM's and Lambda's default.
const MEMORY_MIB_DEFAULT: u32 = 128;
/// Fifteen minutes.
const TIMEOUT_S_MAX: u32 = 900;
const TIMEOUT_S_DEFAULT: u32 = 3;
/// Environments at once that an account has when nobody raised it.
const CONCURRENCY_MAX: u32 = 1_000;
const ASYNC_RETRIES_MAX: u32 = 2;
const ASYNC_EVENT_AGE_S_MIN: u32 = 60;
/// Six hours, the most and the default.
const ASYNC_EVENT_AGE_S_MAX: u32 = 21_600;
/// Bytes of all names and values of an environment.
const ENVIRONMENT_BYTES_MAX: usize = 4_096;
/// What runs native binaries.
const RUNTIMES: [&str; 2] = ["provided.al2023", "provided.al2"];
/// The cargo-lambda build of SAM.
const BUILD_METHOD: &str = "rust-cargolambda";
/// What the runtime sets by itself; Lambda refuses them, too.
const RESERVED_VARIABLES: [&str; 19] = [
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
];
/// What changes nothing on this machine.
const WITHOUT_EFFECT: [&str; 16] = [
    "AssumeRolePolicyDocument",
    "CodeSigningConfigArn",
    "Description",
    "EphemeralStorage",
    "KmsKeyArn",
    "PermissionsBoundary",
    "Policies",
    "PropagateTags",
    "RecursiveLoop",
    "Role",
    "RolePath",
    "RuntimeManagementConfig",
    "SourceKMSKeyArn",
    "Tags",
    "Tracing",
    "VersionDescription",
];
/// What would change what happens, with the reason for not having it.
const REFUSED: [(&str, &str); 11] = [
    ("AutoPublishAlias", "there are no versions and aliases here"),
    ("DeadLetterConfig", "asynchronous events that failed are only logged"),
    ("DeploymentPreference", "there are no versions and aliases here"),
    ("FileSystemConfigs", "functions have this machine's file system"),
    ("ImageConfig", "functions are native binaries"),
    ("ImageUri", "functions are native binaries"),
    ("InlineCode", "functions are native binaries"),
    ("Layers", "functions are native binaries"),
    ("ProvisionedConcurrencyConfig", "there are no versions and aliases here"),
    ("SnapStart", "functions are native binaries"),
    ("VpcConfig", "functions have this machine's network"),
];

impl Builder<'_, '_> {
    pub(super) fn function(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        for (name, why) in REFUSED {
            fields.refuse(name, why)?;
        }
        let binary = binary(resource)?;
        let name = self.take_name(resource, fields, 1..=NAME_LENGTH_MAX, "-_")?;
        self.code(fields)?;
        fields.choice("Runtime", &RUNTIMES)?.ok_or_else(|| fields.error("Runtime is missing"))?;
        let handler = fields.text("Handler")?.ok_or_else(|| fields.error("Handler is missing"))?;
        let memory_mib = fields.number("MemorySize", MEMORY_MIB)?.unwrap_or(MEMORY_MIB_DEFAULT);
        let timeout = fields.number("Timeout", 1..=TIMEOUT_S_MAX)?.unwrap_or(TIMEOUT_S_DEFAULT);
        let environment = environment(fields)?;
        let reserved_concurrency = fields.number("ReservedConcurrentExecutions", 0..=CONCURRENCY_MAX)?;
        let (async_retries_max, async_event_age_max) = asynchronous(fields)?;
        let (application_log_level, log_group) = logging(fields)?;
        self.function_url(resource, fields)?;
        fields.without_effect(&WITHOUT_EFFECT);
        let function = Function {
            arn: self.resolver.arn(resource)?,
            binary,
            handler,
            memory_mib,
            timeout: Duration::from_secs(u64::from(timeout)),
            environment,
            reserved_concurrency,
            async_retries_max,
            async_event_age_max,
            application_log_level,
            log_group: log_group.unwrap_or_else(|| format!("/aws/lambda/{name}")),
            name,
        };
        self.stack.functions.insert(resource.id.clone(), function);
        Ok(())
    }

    /// Where the code is does not matter, since cargo builds it; that it is said does.
    fn code(&self, fields: &mut Fields) -> Result<()> {
        fields.required("CodeUri")?;
        fields.choice("PackageType", &["Zip"])?;
        if let Some(architectures) = fields.take("Architectures") {
            let list = architectures.list("Architectures")?;
            for architecture in list {
                let text = architecture.text("Architectures")?;
                if !["arm64", "x86_64"].contains(&text) {
                    return Err(architecture.error(format!("Architectures must be arm64 or x86_64, not {text}")));
                }
            }
            if list.len() != 1 {
                return Err(architectures.error(format!("Architectures must name one, not {}", list.len())));
            }
        }
        Ok(())
    }

    fn function_url(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        let Some(mut config) = fields.part("FunctionUrlConfig")? else { return Ok(()) };
        let auth = config.required("AuthType")?;
        if auth.text("FunctionUrlConfig.AuthType")? != "NONE" {
            return Err(auth.error("FunctionUrlConfig.AuthType AWS_IAM is not supported by this host: NONE only"));
        }
        config.choice("InvokeMode", &["BUFFERED"])?;
        let cors = cors(&mut config, "Cors", Type::Function)?;
        config.finish(Type::Function.name())?;
        let id = function_url_id(self.resolver.place, &format!("{}Url", resource.id));
        self.stack.function_urls.push(FunctionUrl { id, function: resource.id.clone(), cors });
        Ok(())
    }
}

/// `Metadata.BuildProperties.Binary`, as `sam build` reads it.
fn binary(resource: &Resource) -> Result<String> {
    let how = format!("write Metadata: {{ BuildMethod: {BUILD_METHOD}, BuildProperties: {{ Binary: NAME }} }}");
    let missing = |line: usize, what: &str| TemplateError::at(line, format!("{what}: {how}"));
    let Some(metadata) = &resource.metadata else { return Err(missing(resource.line, "Metadata is missing")) };
    match metadata.get("BuildMethod") {
        None => return Err(missing(metadata.line, "Metadata.BuildMethod is missing")),
        Some(method) if method.text() != Some(BUILD_METHOD) => {
            return Err(missing(method.line, "Metadata.BuildMethod is another one"));
        }
        Some(_) => {}
    }
    let binary = metadata.get("BuildProperties").and_then(|properties| properties.get("Binary")).and_then(Node::text);
    let binary = binary.ok_or_else(|| missing(metadata.line, "Metadata.BuildProperties.Binary is missing"))?;
    let sound = |one: char| one.is_ascii_alphanumeric() || "-_".contains(one);
    if binary.is_empty() || !binary.chars().all(sound) {
        let message = "Metadata.BuildProperties.Binary must be the name of a cargo binary";
        return Err(TemplateError::at(metadata.line, message));
    }
    Ok(binary.to_owned())
}

fn environment(fields: &mut Fields) -> Result<BTreeMap<String, String>> {
    let Some(mut part) = fields.part("Environment")? else { return Ok(BTreeMap::new()) };
    let Some(variables) = part.take("Variables") else {
        part.finish(Type::Function.name())?;
        return Ok(BTreeMap::new());
    };
    part.finish(Type::Function.name())?;
    let line = variables.line;
    let mut environment = BTreeMap::new();
    for variable in variables.fields("Environment.Variables")?.rest() {
        let name = variable.name;
        let error = |why: &str| Err(TemplateError::at(variable.line, format!("Environment.Variables.{name} {why}")));
        let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic());
        let sound = name.len() >= 2 && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            return error("is set by the runtime: Lambda reserves the name");
        }
        if !begins_well || !sound {
            return error("is no name that Lambda takes: a letter, then letters, digits and underscores");
        }
        let Kind::Text { text, .. } = variable.value.kind else { return error("must be text") };
        if text.contains('\0') {
            return error("holds a zero byte");
        }
        environment.insert(name, text);
    }
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > ENVIRONMENT_BYTES_MAX {
        let message = format!("Environment.Variables take {bytes} bytes; Lambda allows {ENVIRONMENT_BYTES_MAX}");
        return Err(TemplateError::at(line, message));
    }
    Ok(environment)
}

/// Retries, and how old an event may become.
fn asynchronous(fields: &mut Fields) -> Result<(u32, Duration)> {
    let mut retries = None;
    let mut age_s = None;
    if let Some(mut config) = fields.part("EventInvokeConfig")? {
        config.refuse("DestinationConfig", "asynchronous events have no destinations here")?;
        retries = config.number("MaximumRetryAttempts", 0..=ASYNC_RETRIES_MAX)?;
        age_s = config.number("MaximumEventAgeInSeconds", ASYNC_EVENT_AGE_S_MIN..=ASYNC_EVENT_AGE_S_MAX)?;
        config.finish(Type::Function.name())?;
    }
    let age_s = u64::from(age_s.unwrap_or(ASYNC_EVENT_AGE_S_MAX));
    Ok((retries.unwrap_or(ASYNC_RETRIES_MAX), Duration::from_secs(age_s)))
}

/// The level of application logs, which JSON logs have and text logs do not, and the log group.
fn logging(fields: &mut Fields) -> Result<(Option<String>, Option<String>)> {
    let Some(mut config) = fields.part("LoggingConfig")? else { return Ok((None, None)) };
    let format = config.choice("LogFormat", &["JSON", "Text"])?;
    let is_json = format.as_deref() == Some("JSON");
    let level = config.choice("ApplicationLogLevel", &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"])?;
    let system = config.choice("SystemLogLevel", &["DEBUG", "INFO", "WARN"])?;
    if !is_json && (level.is_some() || system.is_some()) {
        return Err(config.error("LoggingConfig: log levels need the LogFormat JSON"));
    }
    let group = config.text("LogGroup")?;
    config.finish(Type::Function.name())?;
    Ok((is_json.then(|| level.unwrap_or_else(|| "INFO".to_owned())), group))
}
