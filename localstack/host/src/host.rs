//! The whole: opens the data, reads the template, starts everything, applies changes while it runs.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, TryLockError},
    io::{ErrorKind, Write},
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    counters::Counters,
    deliveries::DeliveryFaults,
    dynamodb::Dynamo,
    faults::Faults,
    front::Front,
    functions::{self, Functions},
    http_api::HttpApis,
    log::{self, HOST},
    model::{Place, Queue, Stack},
    sns::Topics,
    sqs::Queues,
    template,
};

/// Between two looks at the template and the binaries, when they are watched.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The SAM template.
    pub template: PathBuf,
    /// Values of its parameters, by name.
    pub parameters: BTreeMap<String, String>,
    /// The folder with the functions' binaries, by cargo's names.
    pub binaries: PathBuf,
    /// The folder that keeps tables, queues and topics.
    pub data: PathBuf,
    /// Whether to forget what it keeps.
    pub fresh: bool,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// `AWS::StackName`.
    pub stack_name: String,
    /// `AWS::Region`.
    pub region: String,
    /// Whether functions are stopped while they have nothing to do.
    pub freeze: bool,
    /// Whether log lines are coloured.
    pub colour: bool,
    /// Variables that functions get on top of the template's.
    pub extra_environment: Vec<(String, String)>,
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    options: Options,
    place: Place,
    front: Arc<Front>,
    stop_serving: watch::Sender<bool>,
    serving: JoinHandle<()>,
    outputs: BTreeMap<String, String>,
    /// The data belongs to one host at a time; the lock ends with the process, however it ends.
    _lock: File,
}

impl Host {
    /// Starts everything. What is returned answers already.
    ///
    /// # Errors
    /// A template, a binary, a port or data that cannot be used, by name.
    pub async fn start(options: Options) -> Result<Self> {
        make_folder(&options.data)?;
        let lock = lock(&options.data)?;
        if options.fresh {
            functions::end_leftovers(&options.data.join("functions"));
            empty(&options.data)?;
        }
        // The port first: it is what a second start by mistake fails at.
        let address = (Ipv4Addr::LOCALHOST, options.port);
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("port {} on 127.0.0.1 is not free", options.port))?;
        let place = Place {
            stack_name: options.stack_name.clone(),
            region: options.region.clone(),
            endpoint: format!("http://{}", listener.local_addr()?),
        };
        let stack = read_template(&options, &place)?;

        let (faults, counters) = (Arc::new(Faults::default()), Arc::new(Counters::default()));
        let dynamo = Dynamo::open(&options.data.join("tables.db")).await?;
        let queues = Queues::open(&options.data.join("queues.db"), place.clone())?;
        let rules = Arc::clone(&faults);
        queues.set_delivery_faults(DeliveryFaults(Arc::new(move |queue, caller| rules.delivery(queue, caller))));
        let topics = Topics::open(&options.data.join("topics.db"), place.clone(), queues.clone())?;
        let settings = functions_options(&options, &place);
        let functions = Functions::start(settings, queues.clone(), Arc::clone(&counters), Arc::clone(&faults)).await?;
        let apis = HttpApis::new(place.clone(), functions.clone());
        let front = Arc::new(Front { dynamo, queues, topics, apis, functions, faults, counters });
        let (stop_serving, stopping) = watch::channel(false);
        let serving = tokio::spawn(Arc::clone(&front).serve(listener, stopping));
        let mut host = Self { options, place, front, stop_serving, serving, outputs: BTreeMap::new(), _lock: lock };
        host.apply(&stack).await?;
        host.front.functions.warm_up();
        Ok(host)
    }

    /// The address of everything.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.place.endpoint
    }

    /// The stack's outputs.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// Tells whoever waits for it that everything answers: `{"endpoint":…,"pid":…,"outputs":…}`, in one step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_ready_file(&self, path: &Path) -> Result<()> {
        let ready =
            json!({ "endpoint": self.place.endpoint, "pid": std::process::id(), "outputs": self.outputs }).to_string();
        let new = path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(ready.as_bytes())?;
        fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Applies changes of the template and of the binaries, until the end. A template that cannot be read is told, and
    /// what runs goes on.
    pub async fn watch(&mut self) {
        let mut applied = self.stamp();
        let mut seen = applied.clone();
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let now = self.stamp();
            // A file that is still being written changes from look to look.
            let settled = now == seen;
            seen.clone_from(&now);
            if now == applied || !settled {
                continue;
            }
            applied = now;
            match self.reload().await {
                Ok(()) => log::line(HOST, "reloaded the template and what had changed"),
                Err(error) => log::line(HOST, &format!("not reloaded: {error:#}")),
            }
        }
    }

    /// Reads the template again and applies what has changed.
    ///
    /// # Errors
    /// What is wrong with the template or a binary; what runs goes on.
    pub async fn reload(&mut self) -> Result<()> {
        let stack = read_template(&self.options, &self.place)?;
        self.apply(&stack).await
    }

    /// Ends everything in order: invocations first, then what they call.
    pub async fn stop(self) {
        self.front.functions.stop().await;
        self.stop_serving.send_replace(true);
        if self.serving.await.is_err() {
            log::line(HOST, "the front ended by itself");
        }
        self.front.queues.flush().await;
    }

    async fn apply(&mut self, stack: &Stack) -> Result<()> {
        // What can be refused is refused before anything is changed.
        let binaries = self.options.binaries.clone();
        let binary = move |name: &str| binaries.join(name);
        self.front.functions.check(stack, &binary)?;
        for table in &stack.tables {
            self.front.dynamo.declare(table)?;
        }
        for queue in dead_letters_first(&stack.queues) {
            self.front.queues.declare(queue).await?;
        }
        self.front.topics.declare(&stack.topics, &stack.subscriptions)?;
        self.front.apis.declare(&stack.apis, &stack.function_urls);
        self.front.functions.deploy(stack, &binary).await?;
        self.outputs.clone_from(&stack.outputs);
        Ok(())
    }

    /// When the template and each binary were last written.
    fn stamp(&self) -> Vec<Option<SystemTime>> {
        let written = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let binaries = fs::read_dir(&self.options.binaries).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> =
            binaries.map(|entry| entry.path()).filter(|path| path.extension().is_none() && path.is_file()).collect();
        files.sort_unstable();
        files.push(self.options.template.clone());
        files.iter().map(|path| written(path)).collect()
    }
}

/// A queue is checked against the policy of its dead-letter queue, which must be that of this template.
fn dead_letters_first(queues: &[Queue]) -> Vec<&Queue> {
    let target = |queue: &Queue| {
        let arn = queue.redrive.as_ref().map(|redrive| &redrive.dead_letter_arn)?;
        queues.iter().position(|other| arn.rsplit(':').next() == Some(&other.name))
    };
    // How many dead-letter queues stand behind it; no chain is longer than there are queues.
    let depth = |queue: &Queue| {
        let mut next = target(queue);
        let mut depth = 0;
        while let Some(behind) = next.and_then(|at| queues.get(at)).filter(|_| depth < queues.len()) {
            depth += 1;
            next = target(behind);
        }
        depth
    };
    let mut ordered: Vec<&Queue> = queues.iter().collect();
    ordered.sort_by_key(|queue| depth(queue));
    ordered
}

fn functions_options(options: &Options, place: &Place) -> functions::Options {
    functions::Options {
        endpoint: place.endpoint.clone(),
        region: place.region.clone(),
        folder: options.data.join("functions"),
        freeze: options.freeze,
        colour: options.colour,
        extra_environment: options.extra_environment.clone(),
    }
}

fn read_template(options: &Options, place: &Place) -> Result<Stack> {
    let path = options.template.display();
    let text = fs::read_to_string(&options.template).with_context(|| format!("cannot read {path}"))?;
    let root = secret_root(&options.data)?;
    let mut secret = |logical_id: &str, length: usize| derive(&root, logical_id, length);
    template::read(&text, &options.parameters, place, &mut secret).with_context(|| path.to_string())
}

/// What generated secrets are derived from: they stay the same as long as the data is kept.
fn secret_root(data: &Path) -> Result<Vec<u8>> {
    let path = data.join("secrets");
    match fs::read(&path) {
        Ok(root) => Ok(root),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut root = vec![0; 32];
            getrandom::fill(&mut root).context("no randomness")?;
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&root)?;
            Ok(root)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Hexadecimal characters that depend on the root and the logical id alone.
fn derive(root: &[u8], logical_id: &str, length: usize) -> String {
    let block =
        |number: usize| Sha256::new().chain_update(root).chain_update(format!("{number} {logical_id}")).finalize();
    let bytes = (0..length.div_ceil(64)).flat_map(block);
    let text: String = bytes.map(|byte| format!("{byte:02x}")).collect();
    text.chars().take(length).collect()
}

fn make_folder(path: &Path) -> Result<()> {
    // The data holds whatever the functions store: nobody else looks in.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

fn lock(data: &Path) -> Result<File> {
    let file = File::create(data.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another host runs on the data in {}", data.display()),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the data"),
    }
}

/// Removes everything but the lock, which is held.
fn empty(data: &Path) -> Result<()> {
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if path.ends_with("lock") {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}
