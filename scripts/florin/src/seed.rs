//! Merchants, API keys and webhook endpoints for a stack that has no way yet to sign up.

use anyhow::{Context, Result};
use aws_sdk_dynamodb::Client;
use clap::{Args, Subcommand};
use florin_domain::{
    ids::{ApiKeyId, MerchantId, WebhookEndpointId},
    merchant::{ApiKeyRecord, MERCHANT_SECRET_GENERATION, Merchant},
    permission::Permissions,
    webhook::WebhookEndpoint,
};
use florin_platform::{random, secrets::RootKey};
use florin_store::{merchants::Merchants, webhooks::Webhooks};
use serde::{Deserialize, Serialize};

use crate::{
    local_env::LocalEnv,
    place::{Place, StateDir},
    settings::{Settings, random_key},
    stack,
};

/// The generation of a new endpoint's signing secret.
const FIRST_GENERATION: u32 = 1;
/// What every key of test mode begins with.
const TEST_KEY_PREFIX: &str = "sk_test_";
/// What is kept of a key to tell it from others.
const LAST_CHARACTERS: usize = 4;

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
            let merchant = SeededMerchant::random(name);
            merchant.write(&merchants(&env).await?, root_key).await?;
            say!("id              {}", merchant.id);
            say!("api_key         {}", merchant.api_key);
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
            merchant.write(&table, &settings.root_key).await?;
            written += 1;
        }
    }
    Ok(written)
}

/// A merchant and its first key, in clear: what a person who tries Florin needs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SeededMerchant {
    /// Id.
    pub(crate) id: String,
    /// Its key, which no table holds.
    pub(crate) api_key: String,
    name: String,
}

impl SeededMerchant {
    /// A new merchant with a new key; not written yet.
    pub(crate) fn random(name: &str) -> Self {
        let id = MerchantId::from_random(random::bytes()).to_string();
        Self { id, api_key: random_key(), name: name.to_owned() }
    }

    /// The secret that signs deliveries to the `webhook_url` of its payments.
    pub(crate) fn webhook_secret(&self, root_key: &str) -> Result<String> {
        Ok(read(root_key)?.webhook_secret(&self.id, MERCHANT_SECRET_GENERATION).expose_text())
    }

    async fn write(&self, table: &Merchants, root_key: &str) -> Result<()> {
        let id: MerchantId = self.id.parse()?;
        let last4 = self.api_key.get(self.api_key.len() - LAST_CHARACTERS..).unwrap_or_default().to_owned();
        let key = ApiKeyRecord {
            hash: read(root_key)?.api_key_hash(&self.api_key),
            id: ApiKeyId::from_random(random::bytes()),
            merchant_id: id.clone(),
            prefix: TEST_KEY_PREFIX.to_owned(),
            last4,
            scopes: Permissions::of_keys(),
            revoked: false,
        };
        let merchant =
            Merchant { id, name: self.name.clone(), active: true, secret_generation: MERCHANT_SECRET_GENERATION };
        // The merchant last: its presence says that its key is there too.
        table.put_api_key(&key).await?;
        table.put_merchant(&merchant).await?;
        Ok(())
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

fn read(root_key: &str) -> Result<RootKey> {
    RootKey::from_hex(root_key).context("the root key must be 64 hexadecimal characters")
}
