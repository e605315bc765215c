//! The merchants of a new local stack, and webhook endpoints, which have no route yet.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::Client;
use clap::{Args, Subcommand};
use florin_domain::{
    card::Mode,
    ids::{ApiKeyId, MerchantId, WebhookEndpointId},
    merchant::{ApiKey, KeyRing, MERCHANT_SECRET_GENERATION, Merchant, NewKey},
    time::Timestamp,
    user::{Email, User},
    webhook::WebhookEndpoint,
};
use florin_platform::{
    clock::Clock,
    password::{self, Password},
    random,
    secrets::RootKey,
};
use florin_store::{
    audit::{Audit, AuditEntry},
    merchants::{Merchants, Newcomer, SignedUp},
    webhooks::Webhooks,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::{
    local_env::LocalEnv,
    place::{Place, StateDir},
    settings::Settings,
    stack,
};

/// The generation of a new endpoint's signing secret.
const FIRST_GENERATION: u32 = 1;

/// What `florin seed` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: StateDir,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Creates a merchant with one test API key and prints its id, key and signing secret
    Merchant {
        /// The name that the platform owner sees
        #[arg(long, default_value = "Test Shop")]
        name: String,
    },
    /// Creates a webhook endpoint and prints its id and signing secret
    Endpoint {
        /// Whose endpoint it is
        #[arg(long)]
        merchant: MerchantId,
        /// Where it listens
        #[arg(long)]
        url: String,
    },
}

/// Runs `florin seed`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let place = Place::find(&options.state)?;
    let env = stack::described(&place)?;
    let root_key = env.required("FLORIN_ROOT_KEY")?;
    match &options.what {
        What::Merchant { name } => {
            let merchant = SeededMerchant::random(name, &format!("owner-{}@shop.example", random::hex128()));
            merchant.write(&env, root_key).await?;
            say!("id              {}", merchant.id);
            say!("api_key         {}", merchant.api_key(root_key)?);
            say!("owner           {}", merchant.email);
            say!("password        {}", merchant.password);
            say!("webhook_secret  {}", merchant.webhook_secret(root_key)?);
        }
        What::Endpoint { merchant, url } => {
            let known = merchants(&env).await?.merchant(merchant).await?;
            known.with_context(|| format!("there is no merchant {merchant}"))?;
            let endpoint = WebhookEndpoint {
                id: WebhookEndpointId::from_random(random::bytes()),
                merchant_id: merchant.clone(),
                url: url.clone(),
                secret_generation: FIRST_GENERATION,
                enabled: true,
            };
            let table = env.required("FLORIN_WEBHOOKS_TABLE")?;
            Webhooks::new(Client::new(&stack::sdk(&env).await?), table).put_endpoint(&endpoint).await?;
            let secret = read(root_key)?.webhook_secret(endpoint.id.as_str(), endpoint.secret_generation);
            say!("id      {}", endpoint.id);
            say!("secret  {}", secret.expose_text());
        }
    }
    Ok(())
}

/// Writes the two merchants of a new stack and says how many were missing; kept data has them already.
pub(crate) async fn first_merchants(env: &LocalEnv, settings: &Settings) -> Result<usize> {
    let table = merchants(env).await?;
    let mut written = 0;
    for merchant in &settings.merchants {
        if table.merchant(&merchant.id.parse()?).await?.is_none() {
            merchant.write(env, &settings.root_key).await?;
            written += 1;
        }
    }
    Ok(written)
}

/// A merchant, its first key and its owner: what a person who tries Florin needs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SeededMerchant {
    /// Id.
    pub(crate) id: String,
    /// The id of its key.
    key_id: String,
    name: String,
    /// With what its owner signs in.
    pub(crate) email: String,
    /// And this, which no table holds.
    pub(crate) password: String,
}

impl SeededMerchant {
    /// A new merchant; not written yet.
    pub(crate) fn random(name: &str, email: &str) -> Self {
        Self {
            id: MerchantId::from_random(random::bytes()).to_string(),
            key_id: ApiKeyId::from_random(random::bytes()).to_string(),
            name: name.to_owned(),
            email: email.to_owned(),
            password: random::hex128(),
        }
    }

    /// Its API key, which no table holds.
    pub(crate) fn api_key(&self, root_key: &str) -> Result<String> {
        let text = read(root_key)?.api_key_text(&self.key_id.parse()?, Mode::Test);
        Ok(text.expose_secret().to_owned())
    }

    /// The secret that signs deliveries to the `webhook_url` of its payments.
    pub(crate) fn webhook_secret(&self, root_key: &str) -> Result<String> {
        Ok(read(root_key)?.webhook_secret(&self.id, MERCHANT_SECRET_GENERATION).expose_text())
    }

    /// Signs it up, as the API does.
    async fn write(&self, env: &LocalEnv, root_key: &str) -> Result<()> {
        let (now, root) = (Clock::System.now(), read(root_key)?);
        let id: MerchantId = self.id.parse()?;
        let text = self.api_key(root_key)?;
        let key = ApiKey::new(self.key_id.parse()?, NewKey::first(), Mode::Test, &text, now);
        let record = key.record(id.clone(), root.api_key_hash(&text));
        let ring = KeyRing { keys: vec![key], version: 1 };
        let email = Email::parse(&self.email).with_context(|| format!("{} is no mail address", self.email))?;
        let owner = User::first(&id, email, "Owner".to_owned(), now);
        let password = Password::choose(&self.password, &self.email)?;
        let password = password::hash(&password, &random::bytes());
        let email_hash = root.email_hash(owner.email.as_str());
        let merchant = Merchant::new(id, self.name.clone(), now);
        let newcomer =
            Newcomer { merchant: &merchant, keys: (&ring, &record), owner: (&owner, &email_hash, &password) };
        let told = audit(env).await?.told(&self.id, &told(&owner, now))?;
        match merchants(env).await?.sign_up(&newcomer, told).await? {
            SignedUp::Done | SignedUp::Before => Ok(()),
            SignedUp::EmailTaken => bail!("{} belongs to a user already", self.email),
        }
    }
}

fn told(owner: &User, now: Timestamp) -> AuditEntry {
    AuditEntry {
        at: now,
        id: random::hex128(),
        actor: owner.id.to_string(),
        action: "merchant.sign_up".to_owned(),
        details: BTreeMap::new(),
    }
}

/// Prints the operator key. The root key comes on standard input, because arguments can be seen by everybody.
pub(crate) fn print_operator_key() -> Result<()> {
    let mut root_key = String::new();
    std::io::stdin().read_line(&mut root_key).context("the root key is expected on standard input")?;
    say!("{}", operator_key(root_key.trim())?);
    Ok(())
}

/// The key with which operators of this stack call `/v1/ops`.
pub(crate) fn operator_key(root_key: &str) -> Result<String> {
    Ok(read(root_key)?.operator_key().expose_text())
}

async fn merchants(env: &LocalEnv) -> Result<Merchants> {
    Ok(Merchants::new(Client::new(&stack::sdk(env).await?), env.required("FLORIN_MERCHANTS_TABLE")?))
}

async fn audit(env: &LocalEnv) -> Result<Audit> {
    Ok(Audit::new(Client::new(&stack::sdk(env).await?), env.required("FLORIN_AUDIT_TABLE")?))
}

fn read(root_key: &str) -> Result<RootKey> {
    RootKey::from_hex(root_key).context("the root key must be 64 hexadecimal characters")
}
