//! What changes from one template to the next: functions, mappings and schedules that stay as they are go on
//! undisturbed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use futures::future::join_all;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Pools, locked,
    mappings::{Poller, Settings, Source, Target},
    pool::Pool,
    schedules::{Retries, Runner, When},
};
use crate::{model, sns::pattern};

/// How long a message stays hidden when the template does not have its queue: the default of SQS.
const VISIBILITY_DEFAULT: Duration = Duration::from_secs(30);

/// What runs, and what it was made from.
pub(crate) struct Tasks {
    source: Arc<dyn Source>,
    binaries: BTreeMap<String, Binary>,
    mappings: Vec<(Settings, Task)>,
    schedules: Vec<(Planned, Task)>,
    /// Those of earlier templates that finish their last batch.
    ending: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").field("binaries", &self.binaries).finish_non_exhaustive()
    }
}

/// A schedule that is understood, with what it takes from its function.
#[derive(Debug, Clone, PartialEq)]
struct Planned {
    schedule: model::Schedule,
    when: When,
    retries: Retries,
}

/// A task that can be told to stop.
struct Task {
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

/// Which file a binary is. Cargo makes a new one with each build.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Binary {
    path: PathBuf,
    device: u64,
    inode: u64,
    modified: Option<SystemTime>,
}

impl Tasks {
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, binaries: BTreeMap::new(), mappings: Vec::new(), schedules: Vec::new(), ending: Vec::new() }
    }

    /// Whether the stack could be deployed.
    pub(crate) fn check(stack: &model::Stack, binary: &dyn Fn(&str) -> PathBuf) -> anyhow::Result<()> {
        for function in stack.functions.values() {
            Binary::of(function, binary(&function.binary))?;
        }
        mappings_of(stack)?;
        schedules_of(stack).map(|_| ())
    }

    /// Brings everything to what the stack says. Checks all of it before it changes anything.
    pub(crate) async fn deploy(
        &mut self,
        pools: &Arc<Pools>,
        stack: &model::Stack,
        binary: &(dyn Fn(&str) -> PathBuf + Send + Sync),
    ) -> anyhow::Result<()> {
        let mut binaries = BTreeMap::new();
        for (id, function) in &stack.functions {
            binaries.insert(id.clone(), Binary::of(function, binary(&function.binary))?);
        }
        let settings = mappings_of(stack)?;
        let planned = schedules_of(stack)?;
        self.deploy_functions(pools, stack, binaries).await?;
        self.deploy_mappings(pools, settings);
        self.deploy_schedules(pools, planned);
        Ok(())
    }

    async fn deploy_functions(
        &mut self,
        pools: &Arc<Pools>,
        stack: &model::Stack,
        binaries: BTreeMap<String, Binary>,
    ) -> anyhow::Result<()> {
        let names: Vec<&str> = stack.functions.values().map(|function| function.name.as_str()).collect();
        let labels = pools.shared.log.labels(&names);
        let before = locked(&pools.deployed).clone();
        let mut after = BTreeMap::new();
        for ((id, function), label) in stack.functions.iter().zip(labels) {
            let same_binary = self.binaries.get(id) == binaries.get(id);
            if let Some(pool) = before.get(id).filter(|pool| pool.function == *function && same_binary) {
                *locked(&pool.label) = label;
                after.insert(id.clone(), Arc::clone(pool));
                continue;
            }
            let folder = pools.shared.options.folder.join(&function.name);
            if let Some(binary) = binaries.get(id) {
                let (from, folder) = (binary.path.clone(), folder.clone());
                tokio::task::spawn_blocking(move || install(&from, &folder)).await??;
            }
            after.insert(id.clone(), Pool::new(Arc::clone(&pools.shared), function.clone(), folder, label));
        }
        self.binaries = binaries;
        *locked(&pools.deployed) = after.clone();
        for (id, pool) in before {
            if !after.get(&id).is_some_and(|kept| Arc::ptr_eq(kept, &pool)) {
                pool.retire();
                self.ending.push(tokio::spawn(async move { pool.all_ended().await }));
            }
        }
        Ok(())
    }

    fn deploy_mappings(&mut self, pools: &Arc<Pools>, settings: Vec<Settings>) {
        let mut before = std::mem::take(&mut self.mappings);
        for settings in settings {
            let task = match before.iter().position(|(old, _)| *old == settings) {
                Some(at) => before.swap_remove(at).1,
                None => {
                    let target: Arc<dyn Target> = pools.clone();
                    let say = say(pools, &settings.function);
                    let poller = Poller::new(settings.clone(), Arc::clone(&self.source), target, say);
                    Task::spawn(|stop| poller.run(stop))
                }
            };
            self.mappings.push((settings, task));
        }
        self.ending.retain(|handle| !handle.is_finished());
        self.ending.extend(before.into_iter().map(|(_, task)| task.end()));
    }

    fn deploy_schedules(&mut self, pools: &Arc<Pools>, planned: Vec<Planned>) {
        let mut before = std::mem::take(&mut self.schedules);
        for planned in planned {
            let task = match before.iter().position(|(old, _)| *old == planned) {
                Some(at) => before.swap_remove(at).1,
                None => {
                    let Planned { schedule, when, retries } = planned.clone();
                    let say = Arc::from(say(pools, &schedule.function));
                    let target: Arc<dyn Target> = pools.clone();
                    let runner = Runner { schedule, when, retries, target, say };
                    Task::spawn(|stop| runner.run(stop))
                }
            };
            self.schedules.push((planned, task));
        }
        self.ending.extend(before.into_iter().map(|(_, task)| task.end()));
    }

    /// Ends all mappings and schedules, and waits for the last batches.
    pub(crate) async fn stop_mappings_and_schedules(&mut self) {
        let mappings = std::mem::take(&mut self.mappings).into_iter().map(|(_, task)| task);
        let schedules = std::mem::take(&mut self.schedules).into_iter().map(|(_, task)| task);
        join_all(mappings.chain(schedules).map(Task::end)).await;
    }

    /// Waits for what earlier templates left at work.
    pub(crate) async fn earlier_have_ended(&mut self) {
        join_all(std::mem::take(&mut self.ending)).await;
    }
}

impl Task {
    fn spawn<Run: Future<Output = ()> + Send + 'static>(run: impl FnOnce(watch::Receiver<bool>) -> Run) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, handle: tokio::spawn(run(stopped)) }
    }

    fn end(self) -> JoinHandle<()> {
        self.stop.send_replace(true);
        self.handle
    }
}

/// What a mapping or a schedule has to say stands in its function's log.
fn say(pools: &Arc<Pools>, function: &str) -> Box<dyn Fn(&str) + Send + Sync> {
    let (pools, function) = (Arc::clone(pools), function.to_owned());
    Box::new(move |line| {
        if let Some(pool) = pools.find(&function) {
            pool.say(line);
        }
    })
}

fn mappings_of(stack: &model::Stack) -> anyhow::Result<Vec<Settings>> {
    let mut all = Vec::new();
    for mapping in stack.mappings.iter().filter(|mapping| mapping.enabled) {
        let (arn, id) = (&mapping.queue_arn, &mapping.function);
        ensure!(stack.functions.contains_key(id), "the mapping of {arn} names {id}, which is no function");
        for filter in &mapping.filters {
            pattern::check(filter).map_err(|why| anyhow::anyhow!("a filter of the mapping of {arn}: {why}"))?;
        }
        let Some(queue) = arn.rsplit(':').next() else { bail!("{arn} is no ARN of a queue") };
        let visibility = stack.queues.iter().find(|other| other.name == queue).map(|queue| queue.visibility_timeout);
        all.push(Settings {
            queue: queue.to_owned(),
            queue_arn: arn.clone(),
            function: id.clone(),
            batch_size: usize::try_from(mapping.batch_size).unwrap_or(usize::MAX).max(1),
            window: mapping.batching_window,
            concurrency_max: mapping.concurrency_max,
            reports_item_failures: mapping.reports_item_failures,
            filters: mapping.filters.clone(),
            visibility: visibility.unwrap_or(VISIBILITY_DEFAULT),
        });
    }
    Ok(all)
}

fn schedules_of(stack: &model::Stack) -> anyhow::Result<Vec<Planned>> {
    let mut all = Vec::new();
    for schedule in stack.schedules.iter().filter(|schedule| schedule.enabled) {
        let (name, id) = (&schedule.name, &schedule.function);
        let Some(function) = stack.functions.get(id) else {
            bail!("the schedule {name} names {id}, which is no function");
        };
        let when = When::of(&schedule.rate).map_err(|why| anyhow::anyhow!("the schedule {name}: {why}"))?;
        all.push(Planned { schedule: schedule.clone(), when, retries: Retries::of(function) });
    }
    Ok(all)
}

impl Binary {
    fn of(function: &model::Function, path: PathBuf) -> anyhow::Result<Self> {
        let missing = || {
            format!("{}: its binary {} is not at {}: build it first", function.name, function.binary, path.display())
        };
        let metadata = fs::metadata(&path).with_context(missing)?;
        ensure!(metadata.is_file(), missing());
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), modified: metadata.modified().ok(), path })
    }
}

/// Puts the binary into the function's folder: as a link, so that a new build leaves it alone; as a copy when the
/// folder is on another file system.
fn install(binary: &Path, folder: &Path) -> anyhow::Result<()> {
    let bootstrap = folder.join("bootstrap");
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    if bootstrap.exists() {
        fs::remove_file(&bootstrap).with_context(|| format!("{} cannot be replaced", bootstrap.display()))?;
    }
    let linked = fs::hard_link(binary, &bootstrap).or_else(|_| fs::copy(binary, &bootstrap).map(drop));
    linked.with_context(|| format!("{} cannot be put to {}", binary.display(), bootstrap.display()))
}
