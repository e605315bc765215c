//! What a case works with: clients, and queues and topics of its own that are removed afterwards.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aws_config::BehaviorVersion;
use aws_sdk_sqs::{
    error::ProvideErrorMetadata as _,
    operation::send_message::SendMessageOutput,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use serde_json::{Value, json};

use super::probe::Probe;
use crate::stack::setting;

/// How long a message may take that nothing holds up.
pub const ARRIVAL: Duration = Duration::from_secs(8);

/// Clients of the endpoint under test, and what the case has made there.
#[derive(Clone)]
pub struct Context {
    pub sqs: aws_sdk_sqs::Client,
    pub sns: aws_sdk_sns::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub http: reqwest::Client,
    /// The functions behind mappings and HTTP APIs, or why there are none.
    pub probe: Arc<Result<Probe, String>>,
    prefix: String,
    cases: Arc<AtomicU32>,
    made: Arc<Made>,
}

#[derive(Default)]
struct Made {
    count: AtomicU32,
    queues: Mutex<Vec<String>>,
    topics: Mutex<Vec<String>>,
    tables: Mutex<Vec<String>>,
}

impl Context {
    /// Clients as the environment says: `AWS_ENDPOINT_URL`, region, credentials. AWS itself costs money, so it must be
    /// asked for: `FLORIN_EMULATOR=aws`.
    pub async fn from_env() -> Self {
        if std::env::var("FLORIN_EMULATOR").as_deref() != Ok("aws") {
            setting("AWS_ENDPOINT_URL");
        }
        let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            sqs: aws_sdk_sqs::Client::new(&aws),
            sns: aws_sdk_sns::Client::new(&aws),
            dynamodb: aws_sdk_dynamodb::Client::new(&aws),
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap(),
            probe: Arc::new(Err("it was not started".to_owned())),
            prefix: format!("conf-{:x}", now.as_millis()),
            cases: Arc::default(),
            made: Arc::default(),
        }
    }

    pub fn with_probe(self, probe: Arc<Result<Probe, String>>) -> Self {
        Self { probe, ..self }
    }

    /// The same with queues elsewhere.
    pub fn with_sqs(self, sqs: aws_sdk_sqs::Client) -> Self {
        Self { sqs, ..self }
    }

    /// The same for one case.
    pub fn for_case(&self) -> Self {
        let number = self.cases.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("{}-{number}", self.prefix), made: Arc::default(), ..self.clone() }
    }

    pub fn probe(&self) -> Result<&Probe> {
        self.probe.as_ref().as_ref().map_err(|why| anyhow::anyhow!("there are no functions: {why}"))
    }

    /// A name that nobody else has.
    pub fn name(&self) -> String {
        format!("{}-{}", self.prefix, self.made.count.fetch_add(1, Ordering::Relaxed))
    }

    /// A queue with these attributes; topics may send to it.
    pub async fn queue(&self, attributes: &[(QueueAttributeName, &str)]) -> Result<Queue> {
        let name = self.name();
        let mut request = self.sqs.create_queue().queue_name(&name);
        for (attribute, value) in attributes {
            request = request.attributes(attribute.clone(), *value);
        }
        let url = request.send().await?.queue_url.context("CreateQueue gives no URL")?;
        self.forget_queue_later(&url);
        Ok(Queue { sqs: self.sqs.clone(), url, name })
    }

    /// A queue whose messages go to the other one when they were received this often.
    pub async fn queue_with_dead_letters(
        &self,
        receives_max: u32,
        visibility_s: &str,
        dead_letters: &Queue,
    ) -> Result<Queue> {
        let policy = json!({ "deadLetterTargetArn": dead_letters.arn().await?, "maxReceiveCount": receives_max });
        let visibility = (QueueAttributeName::VisibilityTimeout, visibility_s);
        self.queue(&[visibility, (QueueAttributeName::RedrivePolicy, &policy.to_string())]).await
    }

    pub fn forget_queue_later(&self, url: &str) {
        self.made.queues.lock().unwrap().push(url.to_owned());
    }

    pub fn forget_table_later(&self, name: &str) {
        self.made.tables.lock().unwrap().push(name.to_owned());
    }

    pub fn forget_topic_later(&self, arn: &str) {
        self.made.topics.lock().unwrap().push(arn.to_owned());
    }

    /// A topic; its ARN.
    pub async fn topic(&self) -> Result<String> {
        let created = self.sns.create_topic().name(self.name()).send().await?;
        let arn = created.topic_arn.context("CreateTopic gives no ARN")?;
        self.forget_topic_later(&arn);
        Ok(arn)
    }

    /// Subscribes the queue with these attributes; the subscription's ARN.
    pub async fn subscribe(&self, topic: &str, queue: &Queue, attributes: &[(&str, &str)]) -> Result<String> {
        queue.let_topics_send().await?;
        let mut request = self.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue.arn().await?);
        for (name, value) in attributes {
            request = request.attributes(*name, *value);
        }
        let answer = request.return_subscription_arn(true).send().await?;
        answer.subscription_arn.context("Subscribe gives no ARN")
    }

    /// Removes what the case has made. What cannot be removed stays: the case has its outcome already.
    pub async fn clean_up(&self) {
        let take = |list: &Mutex<Vec<String>>| std::mem::take(&mut *list.lock().unwrap());
        for arn in take(&self.made.topics) {
            drop(self.sns.delete_topic().topic_arn(arn).send().await);
        }
        for url in take(&self.made.queues) {
            drop(self.sqs.delete_queue().queue_url(url).send().await);
        }
        for table in take(&self.made.tables) {
            drop(self.dynamodb.delete_table().table_name(table).send().await);
        }
    }
}

/// A queue.
#[derive(Clone)]
pub struct Queue {
    pub sqs: aws_sdk_sqs::Client,
    pub url: String,
    pub name: String,
}

impl Queue {
    pub async fn arn(&self) -> Result<String> {
        self.attribute(QueueAttributeName::QueueArn).await
    }

    pub async fn attribute(&self, name: QueueAttributeName) -> Result<String> {
        let request = self.sqs.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        let attributes = request.send().await?.attributes.unwrap_or_default();
        attributes.get(&name).cloned().with_context(|| format!("GetQueueAttributes gives no {}", name.as_str()))
    }

    /// AWS asks for it; an emulator that enforces no policies may refuse to keep one.
    async fn let_topics_send(&self) -> Result<()> {
        let statement = json!({ "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
                                "Action": "sqs:SendMessage", "Resource": self.arn().await? });
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let request = self.sqs.set_queue_attributes().queue_url(&self.url);
        match request.attributes(QueueAttributeName::Policy, policy).send().await {
            Err(error) if !error.code().is_some_and(|code| code.ends_with("UnsupportedOperation")) => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub async fn send(&self, body: &str) -> Result<SendMessageOutput> {
        Ok(self.sqs.send_message().queue_url(&self.url).message_body(body).send().await?)
    }

    /// One receive, with every attribute.
    pub async fn receive(&self, max: i32, wait_s: i32) -> Result<Vec<Message>> {
        let request = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(max);
        let request = request.wait_time_seconds(wait_s).message_attribute_names("All");
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        Ok(request.send().await?.messages.unwrap_or_default())
    }

    /// The next message.
    pub async fn one(&self) -> Result<Message> {
        Ok(self.some(1, ARRIVAL).await?.remove(0))
    }

    /// So many messages, within this time.
    pub async fn some(&self, count: usize, within: Duration) -> Result<Vec<Message>> {
        let started = Instant::now();
        let mut messages = Vec::new();
        while messages.len() < count {
            let left = within.saturating_sub(started.elapsed());
            if left.is_zero() {
                bail!("{} of {count} messages came within {within:?}", messages.len());
            }
            let wait_s = i32::try_from(left.as_secs().clamp(1, 5))?;
            let max = i32::try_from((count - messages.len()).min(10))?;
            messages.extend(self.receive(max, wait_s).await?);
        }
        Ok(messages)
    }

    /// Nothing is there, and nothing comes for so long.
    pub async fn stays_empty(&self, seconds: i32) -> Result<()> {
        let messages = self.receive(10, seconds).await?;
        let bodies: Vec<_> = messages.iter().map(|message| message.body().unwrap_or_default()).collect();
        ensure!(bodies.is_empty(), "{bodies:?} came, documented is that nothing does");
        Ok(())
    }

    pub async fn delete(&self, message: &Message) -> Result<()> {
        let handle = message.receipt_handle().context("a message without a receipt handle")?;
        self.sqs.delete_message().queue_url(&self.url).receipt_handle(handle).send().await?;
        Ok(())
    }

    pub async fn change_visibility(&self, message: &Message, seconds: i32) -> Result<()> {
        let handle = message.receipt_handle().context("a message without a receipt handle")?;
        let request = self.sqs.change_message_visibility().queue_url(&self.url).receipt_handle(handle);
        request.visibility_timeout(seconds).send().await?;
        Ok(())
    }

    /// Visible, in flight, delayed.
    pub async fn counts(&self) -> Result<(u64, u64, u64)> {
        let request = self.sqs.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::All);
        let attributes = request.send().await?.attributes.unwrap_or_default();
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        Ok((
            number(QueueAttributeName::ApproximateNumberOfMessages),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        ))
    }
}

/// A system attribute of a message.
pub fn system(message: &Message, name: MessageSystemAttributeName) -> Result<&str> {
    let attributes = message.attributes().with_context(|| format!("a message without {}", name.as_str()))?;
    attributes.get(&name).map(String::as_str).with_context(|| format!("a message without {}", name.as_str()))
}

/// How often the message was received.
pub fn receives(message: &Message) -> Result<u32> {
    Ok(system(message, MessageSystemAttributeName::ApproximateReceiveCount)?.parse()?)
}

/// The message's body as JSON.
pub fn json_of(message: &Message) -> Result<Value> {
    let body = message.body().unwrap_or_default();
    serde_json::from_str(body).with_context(|| format!("the body is {body:?}, not JSON"))
}
