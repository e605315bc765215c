//! Secrets that the template generates, and the texts that refer to their values.

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{Builder, Type};
use crate::{
    model::Secret,
    template::{
        Result, TemplateError,
        attributes::secret_arn,
        document::Resource,
        intrinsics::Resolver,
        value::{Fields, Kind, Value},
    },
};

/// Characters of a secret's name.
const NAME_LENGTH_MAX: usize = 512;
/// Characters of a generated secret.
const PASSWORD_LENGTH_MAX: u32 = 4_096;
/// What Secrets Manager makes when nothing is said.
const PASSWORD_LENGTH_DEFAULT: u32 = 32;
/// Characters of randomness that a value is derived from: 256 bits in hexadecimal.
const SEED_LENGTH: usize = 64;
/// Derivations until one has a character of each kind.
const TRIES_MAX: u32 = 4_096;
/// How a reference to a secret's value begins.
const REFERENCE: &str = "{{resolve:";

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

impl Builder<'_, '_> {
    pub(super) fn secret(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        fields.refuse("SecretString", "use GenerateSecretString, or a parameter with NoEcho")?;
        fields.refuse("ReplicaRegions", "there is one region here")?;
        let name = self.take_name(resource, fields, 1..=NAME_LENGTH_MAX, "/_+=.@-")?;
        let generate = fields.part("GenerateSecretString")?;
        let generate = generate.ok_or_else(|| fields.error("GenerateSecretString is missing"))?;
        Recipe::read(generate)?;
        fields.without_effect(&["Description", "KmsKeyId", "Tags", "Type"]);
        let arn = secret_arn(self.resolver.place, &resource.id, &name);
        self.stack.secrets.push(Secret { logical_id: resource.id.clone(), arn });
        Ok(())
    }
}

impl Resolver<'_> {
    /// Puts the values of secrets in the place of references to them.
    pub(in crate::template) fn fill_in_secrets(&mut self, value: &mut Value) -> Result<()> {
        let line = value.line;
        match &mut value.kind {
            Kind::Text { text, .. } if text.contains(REFERENCE) => {
                let filled = self.filled_in(text, line)?;
                value.kind = Kind::Text { text: filled, plain: false };
                Ok(())
            }
            Kind::Text { .. } => Ok(()),
            Kind::List(list) => list.iter_mut().try_for_each(|item| self.fill_in_secrets(item)),
            Kind::Map(fields) => fields.iter_mut().try_for_each(|field| self.fill_in_secrets(&mut field.value)),
        }
    }

    fn filled_in(&mut self, text: &str, line: usize) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(REFERENCE) {
            filled.push_str(before);
            let (reference, after) = after
                .split_once("}}")
                .ok_or_else(|| TemplateError::at(line, format!("a {REFERENCE} is not closed by }}}}")))?;
            filled.push_str(&self.referred(reference, line)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// `secretsmanager:SECRET`, then perhaps `:SecretString`, `:KEY`, `:STAGE`, `:VERSION`.
    fn referred(&mut self, reference: &str, line: usize) -> Result<String> {
        let Some(("secretsmanager", reference)) = reference.split_once(':') else {
            let service = reference.split(':').next().unwrap_or_default();
            let message =
                format!("dynamic references to {service} are not supported by this host: secretsmanager only");
            return Err(TemplateError::at(line, message));
        };
        let (id, tail) = self.secret_named(reference, line)?;
        let value = self.secret_value(&id, line)?;
        let parts: Vec<&str> = tail.split(':').skip(1).collect();
        let (kind, key, versions) = match parts.as_slice() {
            [] => ("SecretString", "", &[][..]),
            [kind] => (*kind, "", &[][..]),
            [kind, key, versions @ ..] => (*kind, *key, versions),
        };
        if kind != "SecretString" || versions.iter().any(|version| !["", "AWSCURRENT"].contains(version)) {
            let message = "a dynamic reference gives the SecretString, in its current version, and nothing else";
            return Err(TemplateError::at(line, message));
        }
        if key.is_empty() {
            return Ok(value);
        }
        let json: Option<Json> = serde_json::from_str(&value).ok();
        let found = json.as_ref().and_then(|json| json.get(key)).and_then(Json::as_str).map(ToOwned::to_owned);
        found.ok_or_else(|| TemplateError::at(line, format!("the secret {id} has no key {key} with a text")))
    }

    /// The logical id of the secret whose ARN or name a reference begins with, and what follows.
    fn secret_named<'t>(&mut self, reference: &'t str, line: usize) -> Result<(String, &'t str)> {
        let document = self.document;
        for resource in document.resources.iter().filter(|resource| resource.kind == Type::Secret) {
            if !self.exists(resource)? {
                continue;
            }
            let name = self.physical_name(resource)?;
            for known in [secret_arn(self.place, &resource.id, &name), name] {
                if let Some(tail) = reference.strip_prefix(&known)
                    && (tail.is_empty() || tail.starts_with(':'))
                {
                    return Ok((resource.id.clone(), tail));
                }
            }
        }
        Err(TemplateError::at(line, format!("a dynamic reference names no secret of this template: {reference}")))
    }

    fn secret_value(&mut self, id: &str, line: usize) -> Result<String> {
        let missing = || TemplateError::at(line, format!("the secret {id} has no GenerateSecretString"));
        let document = self.document;
        let entry = document.resource(id).and_then(|resource| resource.property("GenerateSecretString"));
        let entry = entry.ok_or_else(missing)?;
        let generate = self.value(&entry.value).and_then(|value| value.fields("GenerateSecretString"));
        let recipe = generate.and_then(Recipe::read).map_err(|error| error.within(id))?;
        let value = recipe.value(&mut |length| (self.secret)(id, length));
        let value = value.ok_or_else(|| {
            TemplateError::at(entry.line, "no value has the characters that GenerateSecretString asks for").within(id)
        })?;
        self.hidden.push(value.clone());
        recipe.in_template(value, entry.line).map_err(|error| error.within(id))
    }
}

/// What `GenerateSecretString` asks for.
#[derive(Debug)]
struct Recipe {
    length: usize,
    /// Allowed characters by kind; no kind is empty.
    kinds: Vec<String>,
    each_kind: bool,
    /// `SecretStringTemplate` and `GenerateStringKey`.
    template: Option<(String, String)>,
}

impl Recipe {
    fn read(mut fields: Fields) -> Result<Self> {
        let length = fields.number("PasswordLength", 1..=PASSWORD_LENGTH_MAX)?.unwrap_or(PASSWORD_LENGTH_DEFAULT);
        let excluded = fields.text("ExcludeCharacters")?.unwrap_or_default();
        let mut kinds = Vec::new();
        for (name, characters) in [
            ("ExcludeLowercase", LOWERCASE),
            ("ExcludeNumbers", NUMBERS),
            ("ExcludePunctuation", PUNCTUATION),
            ("ExcludeUppercase", UPPERCASE),
        ] {
            if !fields.flag(name)?.unwrap_or(false) {
                kinds.push(characters);
            }
        }
        if fields.flag("IncludeSpace")?.unwrap_or(false) {
            kinds.push(" ");
        }
        let kinds = kinds.into_iter().map(|kind| kind.chars().filter(|one| !excluded.contains(*one)).collect());
        let kinds: Vec<String> = kinds.filter(|kind: &String| !kind.is_empty()).collect();
        let each_kind = fields.flag("RequireEachIncludedType")?.unwrap_or(true);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if kinds.is_empty() {
            return Err(fields.error("GenerateSecretString leaves no character to choose from"));
        }
        if each_kind && length < kinds.len() {
            let message = format!("PasswordLength is too small for a character of each of {} kinds", kinds.len());
            return Err(fields.error(message));
        }
        let template = match (fields.text("SecretStringTemplate")?, fields.text("GenerateStringKey")?) {
            (Some(template), Some(key)) => Some((template, key)),
            (None, None) => None,
            _ => return Err(fields.error("SecretStringTemplate and GenerateStringKey go together")),
        };
        fields.finish(Type::Secret.name())?;
        Ok(Self { length, kinds, each_kind, template })
    }

    /// The value: what the source gives, if it happens to fit, and otherwise what is derived from it.
    fn value(&self, source: &mut dyn FnMut(usize) -> String) -> Option<String> {
        let given = source(self.length);
        if self.fits(&given) {
            return Some(given);
        }
        let seed = source(SEED_LENGTH);
        (0..TRIES_MAX).map(|attempt| self.derived(&seed, attempt)).find(|value| self.fits(value))
    }

    fn fits(&self, value: &str) -> bool {
        value.chars().count() == self.length
            && value.chars().all(|one| self.kinds.iter().any(|kind| kind.contains(one)))
            && (!self.each_kind || self.kinds.iter().all(|kind| value.chars().any(|one| kind.contains(one))))
    }

    /// Characters chosen by the digests of a counter; bytes that would favour some characters are passed over.
    fn derived(&self, seed: &str, attempt: u32) -> String {
        let alphabet: Vec<char> = self.kinds.iter().flat_map(|kind| kind.chars()).collect();
        let fair = 256 - 256 % alphabet.len().clamp(1, 256);
        let bytes = (0_u32..).flat_map(|block| Sha256::digest(format!("{seed}/{attempt}/{block}")).to_vec());
        let characters = bytes.map(usize::from).filter(|byte| *byte < fair);
        let characters = characters.filter_map(|byte| alphabet.get(byte % alphabet.len().max(1)));
        characters.take(self.length).collect()
    }

    fn in_template(&self, value: String, line: usize) -> Result<String> {
        let Some((template, key)) = &self.template else { return Ok(value) };
        let json: Option<Json> = serde_json::from_str(template).ok();
        let Some(Json::Object(mut object)) = json else {
            return Err(TemplateError::at(line, "SecretStringTemplate must be a JSON object"));
        };
        object.insert(key.clone(), Json::String(value));
        Ok(Json::Object(object).to_string())
    }
}
