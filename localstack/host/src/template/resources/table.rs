//! Tables: `CreateTable` requests.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{Builder, Type};
use crate::{
    model::Table,
    template::{Result, document::Resource, value::Fields},
};

/// Characters of a table's name.
const NAME_LENGTH_MIN: usize = 3;
const NAME_LENGTH_MAX: usize = 255;
/// Indexes of a table.
const GLOBAL_INDEXES_MAX: usize = 20;
const LOCAL_INDEXES_MAX: usize = 5;
/// Attributes that all indexes of a table together may project by name.
const PROJECTED_MAX: usize = 100;
/// Units of a provisioned throughput.
const UNITS_MAX: u32 = 40_000;
/// What changes nothing on this machine.
const WITHOUT_EFFECT: [&str; 8] = [
    "ContributorInsightsSpecification",
    "DeletionProtectionEnabled",
    "OnDemandThroughput",
    "PointInTimeRecoverySpecification",
    "SSESpecification",
    "TableClass",
    "Tags",
    "WarmThroughput",
];

impl Builder<'_, '_> {
    pub(super) fn table(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        for name in ["StreamSpecification", "KinesisStreamSpecification"] {
            fields.refuse(name, "tables have no streams here")?;
        }
        for name in ["ImportSourceSpecification", "ResourcePolicy"] {
            fields.refuse(name, "tables begin empty and belong to one account here")?;
        }
        let name = self.take_name(resource, fields, NAME_LENGTH_MIN..=NAME_LENGTH_MAX, "-_.")?;
        let attributes = attributes(fields)?;
        let mut used = BTreeSet::new();
        let mut create = json!({
            "TableName": name,
            "AttributeDefinitions": attributes,
            "KeySchema": key_schema(fields, &attributes, &mut used)?,
        });
        let mut set = |key: &str, value: Json| {
            if let Json::Object(create) = &mut create {
                create.insert(key.to_owned(), value);
            }
        };
        let billing = fields.choice("BillingMode", &["PAY_PER_REQUEST", "PROVISIONED"])?;
        let provisioned = billing.as_deref() != Some("PAY_PER_REQUEST");
        set("BillingMode", json!(billing.as_deref().unwrap_or("PROVISIONED")));
        if let Some(throughput) = throughput(fields, provisioned)? {
            set("ProvisionedThroughput", throughput);
        }
        for (list, count_max) in
            [("GlobalSecondaryIndexes", GLOBAL_INDEXES_MAX), ("LocalSecondaryIndexes", LOCAL_INDEXES_MAX)]
        {
            let provisioned = provisioned && list == "GlobalSecondaryIndexes";
            let indexes = indexes(fields, list, &attributes, &mut used, provisioned)?;
            if indexes.len() > count_max {
                return Err(fields.error(format!("{list} must be at most {count_max}, not {}", indexes.len())));
            }
            if !indexes.is_empty() {
                set(list, Json::Array(indexes));
            }
        }
        if let Some(unused) = attribute_names(&attributes).find(|name| !used.contains(*name)) {
            return Err(fields.error(format!("AttributeDefinitions: {unused} is no key of the table or of an index")));
        }
        let ttl_attribute = ttl(fields)?;
        fields.without_effect(&WITHOUT_EFFECT);
        self.stack.tables.push(Table { name, create, ttl_attribute });
        Ok(())
    }
}

fn attributes(fields: &mut Fields) -> Result<Vec<Json>> {
    let mut attributes: Vec<Json> = Vec::new();
    for mut definition in fields.parts("AttributeDefinitions")? {
        let name = definition.required_text("AttributeName")?;
        let kind = definition.choice("AttributeType", &["S", "N", "B"])?;
        let kind = kind.ok_or_else(|| definition.error("AttributeDefinitions.AttributeType is missing"))?;
        if attribute_names(&attributes).any(|other| other == name) {
            return Err(definition.error(format!("AttributeDefinitions: {name} is there twice")));
        }
        definition.finish(Type::Table.name())?;
        attributes.push(json!({ "AttributeName": name, "AttributeType": kind }));
    }
    Ok(attributes)
}

fn attribute_names(attributes: &[Json]) -> impl Iterator<Item = &str> {
    attributes.iter().filter_map(|attribute| attribute.get("AttributeName")?.as_str())
}

/// One hash key, and a range key at most; both must be defined.
fn key_schema(fields: &mut Fields, attributes: &[Json], used: &mut BTreeSet<String>) -> Result<Json> {
    let what = fields.name("KeySchema");
    let elements = fields.parts("KeySchema")?;
    if !(1..=2).contains(&elements.len()) {
        return Err(fields.error(format!("{what} must have one or two keys, not {}", elements.len())));
    }
    let mut schema = Vec::new();
    for (mut element, expected) in elements.into_iter().zip(["HASH", "RANGE"]) {
        let name = element.required_text("AttributeName")?;
        let kind = element.choice("KeyType", &["HASH", "RANGE"])?;
        if kind.as_deref() != Some(expected) {
            return Err(element.error(format!("{what}: the KeyType of {name} must be {expected}")));
        }
        if !attribute_names(attributes).any(|other| other == name) {
            return Err(element.error(format!("{what}: {name} is missing in AttributeDefinitions")));
        }
        element.finish(Type::Table.name())?;
        schema.push(json!({ "AttributeName": name, "KeyType": expected }));
        used.insert(name);
    }
    Ok(Json::Array(schema))
}

fn indexes(
    fields: &mut Fields,
    list: &str,
    attributes: &[Json],
    used: &mut BTreeSet<String>,
    provisioned: bool,
) -> Result<Vec<Json>> {
    let mut indexes = Vec::new();
    let mut names = BTreeSet::new();
    for mut index in fields.parts(list)? {
        let name = index.required_text("IndexName")?;
        if !names.insert(name.clone()) {
            return Err(index.error(format!("{list}: {name} is there twice")));
        }
        let schema = key_schema(&mut index, attributes, used)?;
        let projection = projection(&mut index)?;
        let mut created = json!({ "IndexName": name, "KeySchema": schema, "Projection": projection });
        if let (Some(throughput), Json::Object(created)) = (throughput(&mut index, provisioned)?, &mut created) {
            created.insert("ProvisionedThroughput".to_owned(), throughput);
        }
        index.without_effect(&["ContributorInsightsSpecification", "OnDemandThroughput", "WarmThroughput"]);
        index.finish(Type::Table.name())?;
        indexes.push(created);
    }
    Ok(indexes)
}

fn projection(index: &mut Fields) -> Result<Json> {
    let mut projection =
        index.part("Projection")?.ok_or_else(|| index.error(format!("{} is missing", index.name("Projection"))))?;
    let kind = projection.choice("ProjectionType", &["ALL", "KEYS_ONLY", "INCLUDE"])?;
    let kind = kind.ok_or_else(|| projection.error(format!("{} is missing", projection.name("ProjectionType"))))?;
    let what = projection.name("NonKeyAttributes");
    let named = projection.texts("NonKeyAttributes")?;
    let error = match (&*kind, &named) {
        ("INCLUDE", Some(names)) if (1..=PROJECTED_MAX).contains(&names.len()) => None,
        ("INCLUDE", _) => Some(format!("{what} must name 1 to {PROJECTED_MAX} attributes with INCLUDE")),
        (_, Some(_)) => Some(format!("{what} goes with the ProjectionType INCLUDE only")),
        _ => None,
    };
    if let Some(error) = error {
        return Err(projection.error(error));
    }
    projection.finish(Type::Table.name())?;
    Ok(named.map_or_else(
        || json!({ "ProjectionType": kind }),
        |names| json!({ "ProjectionType": kind, "NonKeyAttributes": names }),
    ))
}

fn throughput(fields: &mut Fields, provisioned: bool) -> Result<Option<Json>> {
    let what = fields.name("ProvisionedThroughput");
    let Some(mut throughput) = fields.part("ProvisionedThroughput")? else {
        let missing = fields.error(format!("{what} is missing: it is needed unless BillingMode is PAY_PER_REQUEST"));
        return if provisioned { Err(missing) } else { Ok(None) };
    };
    if !provisioned {
        return Err(throughput.error(format!("{what} does not go with the BillingMode PAY_PER_REQUEST")));
    }
    let mut units = |name: &str| -> Result<u32> {
        let units = throughput.number(name, 1..=UNITS_MAX)?;
        units.ok_or_else(|| throughput.error(format!("{what}.{name} is missing")))
    };
    let (reads, writes) = (units("ReadCapacityUnits")?, units("WriteCapacityUnits")?);
    throughput.finish(Type::Table.name())?;
    Ok(Some(json!({ "ReadCapacityUnits": reads, "WriteCapacityUnits": writes })))
}

fn ttl(fields: &mut Fields) -> Result<Option<String>> {
    let Some(mut ttl) = fields.part("TimeToLiveSpecification")? else { return Ok(None) };
    let enabled = ttl.flag("Enabled")?;
    let attribute = ttl.text("AttributeName")?;
    ttl.finish(Type::Table.name())?;
    match (enabled, attribute) {
        (None, _) => Err(ttl.error("TimeToLiveSpecification.Enabled is missing")),
        (Some(true), None) => Err(ttl.error("TimeToLiveSpecification.AttributeName is missing")),
        (Some(true), Some(attribute)) => Ok(Some(attribute)),
        (Some(false), _) => Ok(None),
    }
}
