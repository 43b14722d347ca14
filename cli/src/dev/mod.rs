//! `throng dev`: a whole cluster in one process, for people who try it out and for the tests.
//!
//! [`given`] is the cluster that is asked for, by flags or by a [`file`](mod@file) that is followed, [`wishes`] what the buttons of the
//! page add to that, [`operations`] what is to be done once, [`recipe`] what its Pods run with. [`local`] is the runtime: it asks the planner that clusters on
//! Kubernetes have what to do, and does it to the [`fleet`], in which each [`pod`] is a thread with real sockets to the
//! others. [`control`] is what all of these share, [`web`] serves the page, [`pools`] has its figures. [`port`] keeps the public
//! port; [`bots`] fill a room with people who [`talk`], and [`leave`] tidies up.

mod args;
mod bots;
mod child;
mod control;
mod file;
mod fleet;
mod given;
mod leave;
mod local;
mod operations;
mod outside;
mod pod;
mod pools;
mod port;
mod recipe;
mod talk;
mod web;
mod wishes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;
use throng_core::{Millis, Role};
use throng_plan::status::Utc;
use throng_proto::key::PodKey;
use throng_registry::{EtcdOptions, EtcdRegistry, MemoryRegistry, Registry};
use throng_store::MemoryDb;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(crate) use args::DevArgs;
pub(crate) use child::run as run_child;

use crate::{logs, token};
use bots::{Bots, LOBBY};
use control::Control;
use fleet::Fleet;
use given::Given;
use local::Local;
use pod::{Ingredients, Stores};
use port::Port;
use recipe::Recipe;

/// Key of the server API in dev.
pub(crate) const DEV_API_KEY: &str = "throng-dev-api-key";
/// What keys of all runs begin with in a Redis and an etcd.
const NAMESPACE: &str = "throng-dev";
/// The cluster must serve within so long, or it says why not.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Runs until Ctrl-C, or with `--json` until standard input closes.
pub(crate) fn run(args: &DevArgs) -> Result<ExitCode> {
    logs::start("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(start(args));
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    result
}

async fn start(args: &DevArgs) -> Result<ExitCode> {
    let began = Instant::now();
    let mut end = End::listen()?;
    // Before it is read: what is written while Pods start is not missed.
    let stamp = args.file.as_deref().map(file::Stamp::of);
    let given = asked(args)?;
    let recipe = Recipe::new(args);
    let config = recipe.config(args.file.as_ref().map(|_| &given)).map_err(|problem| anyhow!(problem))?;
    let port = Port::take(args.listen)?;
    let listen = port.address();
    // Each run is a cluster of its own in an etcd and a Redis.
    let unique = format!("{}-{}", given.name, uuid::Uuid::new_v4().simple());
    let registry = registry(args, &unique)?;
    tokio::select! {
        biased;
        // Nothing is written yet.
        () = end.asked() => return Ok(ExitCode::SUCCESS),
        answered = outside::answers(args, &*registry, &unique) => answered?,
    }
    let stores = match &args.redis {
        Some(url) => Stores::Redis { url: url.clone(), cluster: unique.clone() },
        None => Stores::Memory(MemoryDb::founded()),
    };
    let pod_key_text = uuid::Uuid::new_v4().to_string();
    let pod_key = PodKey::new(&pod_key_text).context("a generated key is visible ASCII")?;
    let stop = CancellationToken::new();

    let control = Arc::new_cyclic(|control| {
        let page = web::router(control.clone());
        let fleet = Fleet::new(Ingredients {
            registry: Arc::clone(&registry),
            stores,
            pod_key,
            pod_key_text,
            isolate_gateways: args.isolate_gateways,
            listen,
            page,
        });
        Control::new(&given, args.file.as_ref(), Arc::new(config), fleet)
    });
    let local = Local::new(Arc::clone(&control), registry, args.isolate_gateways);
    let planning = tokio::spawn(local.run(stop.clone()));
    let lived = live(args, &control, (listen, began), (given, stamp), (recipe, &mut end)).await;
    // First the planner, or it would replace what ends.
    stop.cancel();
    let _ = planning.await;
    tokio::task::spawn_blocking(move || control.fleet.stop()).await?;
    leave::nothing_behind(args, &unique).await;
    lived.map(|()| ExitCode::SUCCESS)
}

/// From the first Pod until somebody ends it, or nothing starts.
async fn live(
    args: &DevArgs,
    control: &Arc<Control>,
    (listen, began): (SocketAddr, Instant),
    (given, stamp): (Given, Option<file::Stamp>),
    (recipe, end): (Recipe, &mut End),
) -> Result<()> {
    tokio::select! {
        biased;
        () = end.asked() => return Ok(()),
        ready = wait_ready(control) => ready?,
    }
    report(control, args, listen, began.elapsed())?;
    let follow = |(path, stamp)| tokio::spawn(file::watch(path, (given, stamp), recipe, Arc::clone(control)));
    let following = args.file.clone().zip(stamp).map(follow);
    if args.bots > 0 {
        control.fleet.send_bots(Bots::start(args, &format!("ws://{}/connect", near(listen)))?);
    }
    tokio::select! {
        () = end.asked() => {}
        () = closed(args.json) => {}
    }
    eprintln!("ending");
    following.inspect(tokio::task::JoinHandle::abort);
    Ok(())
}

/// The cluster that is asked for. Of a file, what one machine cannot do of it is said.
fn asked(args: &DevArgs) -> Result<Given> {
    let Some(path) = &args.file else {
        return given::by_flags([args.gateways, args.chatrooms, args.messages]).map_err(|problem| anyhow!(problem));
    };
    let given = given::by_file(path, None).map_err(|problem| anyhow!("{}: {problem}", path.display()))?;
    eprintln!("{}: on this machine: {}", path.display(), given.not_here());
    given.flaws.iter().for_each(|flaw| eprintln!("{}: {flaw}", path.display()));
    Ok(given)
}

/// Unix time.
fn now() -> Utc {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Utc(Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

/// In memory, or in the etcd that was named.
fn registry(args: &DevArgs, cluster: &str) -> Result<Arc<dyn Registry>> {
    if args.etcd.is_empty() {
        return Ok(Arc::new(MemoryRegistry::new()));
    }
    let registry = EtcdRegistry::new(EtcdOptions::new(args.etcd.clone(), NAMESPACE, cluster));
    Ok(Arc::new(registry.context("cannot use this etcd")?))
}

/// How this machine reaches itself, where it listens on all of its addresses.
fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn wait_ready(control: &Control) -> Result<()> {
    let began = Instant::now();
    loop {
        let reasons = control.fleet.unready(&control.spec().pools);
        if reasons.is_empty() {
            return Ok(());
        }
        // Nothing that does not start at first will start later.
        if let Some(failure) = control.not_started() {
            bail!(failure);
        }
        if began.elapsed() > READY_WITHIN {
            bail!("not ready within {READY_WITHIN:?}: {}", reasons.join("; "));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The one line of `--json`.
#[derive(Serialize)]
struct Ready<'a> {
    url: String,
    urls: Vec<String>,
    http: String,
    token_secret: &'a str,
    api_key: &'a str,
    took_ms: u128,
    pods: Vec<ReadyPod>,
}

#[derive(Serialize)]
struct ReadyPod {
    name: String,
    role: Role,
    pid: u32,
    http: String,
}

fn report(control: &Control, args: &DevArgs, listen: SocketAddr, took: Duration) -> Result<()> {
    let url = format!("ws://{listen}/connect");
    let http = format!("http://{listen}");
    if args.json {
        let pods = control.fleet.living().into_iter();
        let pods = pods.map(|(name, role, pid, http)| ReadyPod { name, role, pid, http: format!("http://{http}") });
        let ready = Ready {
            urls: vec![url.clone()],
            url,
            http,
            token_secret: token::DEV_SECRET,
            api_key: DEV_API_KEY,
            took_ms: took.as_millis(),
            pods: pods.collect(),
        };
        println!("{}", serde_json::to_string(&ready)?);
        return Ok(());
    }
    let token = token::sign(token::DEV_SECRET, "you", 1, &[], 24 * 3600)?;
    let bots = match (args.bots, args.rate) {
        (0, _) => String::new(),
        (bots, rate) => format!("\n{bots} bots are on their way to the room {LOBBY}, to say {rate} messages/s."),
    };
    let page = if args.isolate_gateways { "none with --isolate-gateways".to_owned() } else { format!("{http}/") };
    let file =
        args.file.as_ref().map_or_else(String::new, |file| format!("\nEdit {} and they follow.", file.display()));
    let living = control.fleet.living();
    let [gateways, chatrooms, messages] = Role::ALL.map(|role| living.iter().filter(|pod| pod.1 == role).count());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let kept = match &args.redis {
        Some(_) => "rooms are kept in Redis until it ends",
        None => "everything is in memory",
    };
    println!(
        "Throng dev is ready ({} ms): {gateways} gateway{}, {chatrooms} chatroom and {messages} message Pod{}.{file}{bots}

  page    {page}
  connect {url}
  token   {token}
  API     curl -H 'Authorization: Bearer {DEV_API_KEY}' {http}/v1/rooms

Chat from another terminal, in the project's folder:
  examples/python/chat.py --url {url} --token {token} --room {LOBBY}

NOT FOR PRODUCTION: fixed keys; {kept}. Ctrl-C ends it and leaves nothing behind.",
        took.as_millis(),
        plural(gateways),
        plural(messages),
    );
    Ok(())
}

/// Who wants a run to end. Heard from the moment that this is made, however far the start is by then: a process that just died
/// would leave its keys behind.
struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resolves at Ctrl-C, or when it is told to terminate.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Resolves when standard input closes, if that counts.
async fn closed(json: bool) {
    if json {
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.ok();
    } else {
        std::future::pending::<()>().await;
    }
}
